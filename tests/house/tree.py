"""What the tests about this repository look at: its own files and their imports."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "chain_adapter"
PLUGINS = ROOT / "plugins"


@cache
def files() -> tuple[Path, ...]:
    """Every file of the repository, those not yet committed included, ignored ones not."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    found = (ROOT / name for name in listed.stdout.split("\0") if name)
    return tuple(sorted(path for path in found if path.is_file()))


def python_files(*under: Path) -> list[Path]:
    return [
        path
        for path in files()
        if path.suffix == ".py" and (not under or any(path.is_relative_to(u) for u in under))
    ]


def product_files() -> list[Path]:
    """The Python of the core and of the plugins, without tests."""
    return [path for path in python_files(CORE, PLUGINS) if "tests" not in path.parts]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> list[tuple[int, str]]:
    """(line, absolute module name) of every import; `from a import b` counts as `a` and `a.b`."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                package = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
                source = ".".join([*package, source] if source else package)
            found.append((node.lineno, source))
            found += [(node.lineno, f"{source}.{alias.name}") for alias in node.names]
    return found
