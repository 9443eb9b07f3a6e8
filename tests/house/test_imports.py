"""Imports point one way, so that a part can be read, tested and replaced alone."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.house.tree import CORE, PLUGINS, imports, product_files, python_files, shown, tree_of

LEAVES = {"errors", "money", "chain", "clock"}
"""Small pages that every part may read."""

ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "clock": set(),
    "chain": set(),
    "money": {"errors"},
    "core": set(),
    "store": {"core"},
    "platform_api": set(),
    "callbacks": {"platform_api"},
    "telemetry": set(),
    "registry": set(),
    "config": {"registry"},
    "guard": {"registry", "telemetry", "config"},
    "keys": {"platform_api", "registry", "core", "config", "telemetry"},
    "workers": {"core", "store", "platform_api", "keys", "guard", "telemetry", "config"},
    "console": {"core", "store", "telemetry", "config", "workers"},
    "sandbox": {"platform_api", "callbacks", "registry"},
    "probe": {"platform_api", "config", "registry"},
    "testing": {"registry", "core", "guard", "sandbox"},
}
"""part -> the parts it may import, beside itself and the leaves. Whatever composes the others
(`COMPOSERS`) may import all, and is imported by none of them."""

COMPOSERS = {
    "assembly",
    "cli",
    "daemon",
    "oversight",
    "commands",
    "demo",
    "check",
    "scan",
    "signing",
    "status",
    "why",
    "__main__",
}

IMPURE = {
    "aiohttp", "asyncio", "httpx", "io", "logging", "os", "pathlib", "psycopg", "random",
    "requests", "secrets", "shutil", "socket", "sqlalchemy", "sqlite3", "structlog", "subprocess",
    "tempfile", "threading", "time", "urllib", "web3",
}  # fmt: skip


def part_of(path: Path) -> str:
    first = path.relative_to(CORE).parts[0]
    return first.removesuffix(".py")


def parts_imported(path: Path) -> set[tuple[int, str]]:
    return {
        (line, module.split(".")[1])
        for line, module in imports(path)
        if module.startswith("chain_adapter.") and not module.endswith(".__version__")
    }


def test_imports_point_one_way() -> None:
    wrong: list[str] = []
    for path in python_files(CORE):
        part = part_of(path)
        if part in COMPOSERS | {"__init__"}:
            continue
        if part not in ALLOWED:
            wrong.append(f"{shown(path)}: part {part!r} has no line in ALLOWED; give it one")
            continue
        leaves = set() if part in LEAVES else LEAVES
        for line, other in sorted(parts_imported(path)):
            if other not in ALLOWED[part] | leaves | {part}:
                wrong.append(f"{shown(path)}:{line}: {part} must not import {other}")
    assert not wrong, "\n".join(wrong)


def test_allowed_has_no_cycle() -> None:
    def reach(part: str, seen: tuple[str, ...]) -> None:
        assert part not in seen, " -> ".join((*seen, part))
        for other in ALLOWED[part]:
            reach(other, (*seen, part))

    for part in ALLOWED:
        reach(part, ())


def test_every_line_is_of_a_real_part() -> None:
    planned = {"callbacks", "telemetry", "console", "guard", "keys", "sandbox", "workers"}
    there = {part_of(path) for path in python_files(CORE)}
    assert set(ALLOWED) - planned <= there


def test_core_is_pure() -> None:
    """Decisions are functions of values: no I/O, no clock, no await, no chance."""
    wrong: list[str] = []
    for path in python_files(CORE / "core"):
        wrong += [
            f"{shown(path)}:{line}: imports {module}"
            for line, module in imports(path)
            if module.split(".")[0] in IMPURE
        ]
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
                wrong.append(f"{shown(path)}:{node.lineno}: is asynchronous")
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                if name in {"open", "print", "input"} or name.endswith((".now", ".utcnow")):
                    wrong.append(f"{shown(path)}:{node.lineno}: calls {name}")
    assert not wrong, "\n".join(wrong)


def test_plugins_know_the_interface_only() -> None:
    wrong: list[str] = []
    for path in python_files(PLUGINS):
        allowed = {"chain_adapter.chain"}
        if "tests" in path.parts:
            allowed |= {"chain_adapter.testing", "chain_adapter.registry"}
        for line, module in imports(path):
            if not (module == "chain_adapter" or module.startswith("chain_adapter.")):
                continue
            if module == "chain_adapter" or module in allowed:
                continue
            if not any(module.startswith(f"{name}.") for name in allowed):
                wrong.append(f"{shown(path)}:{line}: imports {module}")
    # `from chain_adapter import chain` is listed as two names, of which the second decides.
    assert not wrong, "\n".join(wrong)


def test_core_knows_no_plugin() -> None:
    """Plugins are found by their entry points; a name in the core would be a favour to one."""
    wrong = [
        f"{shown(path)}:{line}: imports {module}"
        for path in python_files(CORE)
        for line, module in imports(path)
        if module.startswith("chain_adapter_")
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_heavy_in_the_core() -> None:
    """A chain's own libraries come with its plugin, so that an operator installs what is needed."""
    chain_libraries = {"web3", "eth_abi", "eth_account", "tronpy", "bitcoin", "solana"}
    wrong = [
        f"{shown(path)}:{line}: imports {module}"
        for path in python_files(CORE)
        for line, module in imports(path)
        if module.split(".")[0] in chain_libraries
    ]
    assert not wrong, "\n".join(wrong)


def test_product_never_imports_tests() -> None:
    wrong = [
        f"{shown(path)}:{line}: imports {module}"
        for path in product_files()
        for line, module in imports(path)
        if module.split(".")[0] in {"tests", "pytest", "hypothesis", "aioresponses"}
        and not path.is_relative_to(CORE / "testing")
    ]
    assert not wrong, "\n".join(wrong)
