"""Rules of the house that a linter does not know."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.tree import CORE, PLUGINS, ROOT, files, imports, product_files, python_files, shown
from tests.house.tree import tree_of as parsed

MAX_LINES = 400
LONG_ON_PURPOSE: dict[str, str] = {
    "chain_adapter/store/schema.py": "every table and constraint on one page, to be read at once",
    "chain_adapter/demo/scenario.py": "the round is told from top to bottom",
    "scripts/flips.py": "one row for each assumption, with what its opposite may do",
    "tests/keys/test_process.py": "one process, from its start to its end",
}
"""file -> why it is better in one piece than in two."""

FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}

TEXT = {
    "", ".cfg", ".css", ".html", ".in", ".ini", ".js", ".json", ".lock", ".md", ".mjs", ".py",
    ".sh", ".sol", ".sql", ".svg", ".toml", ".txt", ".yaml", ".yml",
}  # fmt: skip


def text_files() -> list[Path]:
    return [path for path in files() if path.suffix in TEXT]


def matches(pattern: str, paths: list[Path], flags: int = 0) -> list[str]:
    found: list[str] = []
    compiled = re.compile(pattern, flags)
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if compiled.search(line):
                found.append(f"{shown(path)}:{number}: {line.strip()[:100]}")
    return found


def test_files_are_short() -> None:
    long = {
        shown(path): lines
        for path in python_files()
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert set(long) <= set(LONG_ON_PURPOSE), long
    assert set(LONG_ON_PURPOSE) <= set(long), "take short files off LONG_ON_PURPOSE"


def test_names_say_what_is_inside() -> None:
    vague = [
        shown(path)
        for path in python_files()
        if FORBIDDEN_NAMES & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
    ]
    assert not vague


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(t, ast.Name) and t.id in {"Exception", "BaseException"} for t in types)


def _passes_it_on(handler: ast.ExceptHandler) -> bool:
    """Cleans up and raises again, or hands the error itself to whoever waits for the answer."""
    last = handler.body[-1]
    if isinstance(last, ast.Return) and last.value is not None:
        return any(
            isinstance(node, ast.Name) and node.id == handler.name for node in ast.walk(last.value)
        )
    if isinstance(last, ast.Raise) and (last.exc is None or ast.unparse(last.exc) == handler.name):
        return True
    handed = f".set_exception({handler.name})"
    return any(
        isinstance(node, ast.Call) and ast.unparse(node).endswith(handed)
        for node in ast.walk(handler)
    )


def test_everything_is_caught_in_one_place() -> None:
    """An unknown error ends a round of a worker, and nothing else swallows it."""
    loop = CORE / "workers" / "loop.py"
    wrong: list[str] = []
    for path in product_files():
        if path == loop:
            continue
        for node in ast.walk(parsed(path)):
            if not (isinstance(node, ast.ExceptHandler) and _catches_everything(node)):
                continue
            if _passes_it_on(node):
                continue
            wrong.append(f"{shown(path)}:{node.lineno}")
    assert not wrong, "\n".join(wrong)


def test_one_endless_loop() -> None:
    """`while True` of a worker stands in workers/loop.py, with the backoff and the supervision."""
    wrong = [
        f"{shown(path)}:{node.lineno}"
        for path in product_files()
        if path.is_relative_to(CORE / "workers") and path.name != "loop.py"
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.While)
        and isinstance(node.test, ast.Constant)
        and node.test.value is True
        and any(isinstance(inner, ast.Await) for inner in ast.walk(node))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_mocks() -> None:
    wrong = [
        f"{shown(path)}:{line}: {module}"
        for path in python_files()
        for line, module in imports(path)
        if module.startswith("unittest.mock") or module.split(".")[0] in {"mock", "pytest_mock"}
    ]
    assert not wrong, "\n".join(wrong)


def test_tests_do_not_sleep() -> None:
    """A test waits for a condition or turns a virtual clock; it never hopes that time is enough."""
    wrong: list[str] = []
    for path in python_files():
        if "tests" not in path.relative_to(ROOT).parts:
            continue
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            zero = (
                name == "asyncio.sleep"
                and isinstance(node.args[0], ast.Constant)
                and node.args[0].value == 0
            )
            if name in {"time.sleep", "asyncio.sleep", "sleep"} and not zero:
                wrong.append(f"{shown(path)}:{node.lineno}: {ast.unparse(node)}")
    assert not wrong, "\n".join(wrong)


def test_core_speaks_of_no_chain() -> None:
    """What only one chain has belongs into its plugin."""
    core = [path for path in text_files() if path.is_relative_to(CORE)]
    assert not matches(r"tron|trx|trc-?(10|20)", core, re.IGNORECASE)


def test_money_is_never_float() -> None:
    """No float literal or `float(...)` on a line that speaks of an amount, a fee or a balance."""
    wrong = matches(
        r"(amount|fee|balance|units)\w*\s*[:=]\s*float|float\(\w*(amount|fee|balance|units)",
        product_files(),
    )
    assert not wrong, "\n".join(wrong)


def test_nothing_outside_the_repository_is_named() -> None:
    here = Path(__file__).resolve()
    paths = [path for path in text_files() if path.resolve() != here]
    assert not matches(r"\.\./shared|(?<![\w/.])/work/|/tmp/brief", paths)


def test_every_module_says_what_it_is() -> None:
    silent = [
        shown(path)
        for path in product_files()
        if parsed(path).body and ast.get_docstring(parsed(path)) is None
    ]
    assert not silent


def test_plugins_have_the_shape_of_a_third_partys() -> None:
    for project in sorted(PLUGINS.glob("*/pyproject.toml")):
        package = project.parent / f"chain_adapter_{project.parent.name}"
        assert (package / "chain.py").is_file(), package
        assert (package / "py.typed").is_file(), package
