"""The tutorial's code and the generated skeleton pass the contract they are shown with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from chain_adapter.errors import ConfigError
from chain_adapter.testing import CHECKS, new_plugin

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "writing-a-plugin.md"
_BLOCK = re.compile(r"<!-- file: (\S+) -->\n```python\n(.*?)```", re.S)


def _pytest(folder: Path) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", f"--rootdir={folder}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(folder)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files() -> dict[str, str]:
    made: dict[str, str] = {}
    for name, code in _BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        made[name] = f"{made[name]}\n\n{code}" if name in made else code
    return made


def test_the_tutorial_passes_the_suite(tmp_path: Path) -> None:
    files = _files()
    assert set(files) == {
        "village_node.py",
        "village_chain.py",
        "village_devnet.py",
        "test_village.py",
    }
    for name, code in files.items():
        (tmp_path / name).write_text(code, encoding="utf-8")
    shown = _pytest(tmp_path)
    passed = re.search(r"(\d+) passed", shown)
    assert passed
    assert int(passed[1]) >= len(CHECKS) - 6
    assert "failed" not in shown


def test_every_python_block_is_run() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("```python") == len(_BLOCK.findall(text)) == 10


def test_a_new_plugin_passes_what_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "mars"
    files = {str(path.relative_to(folder)) for path in new_plugin("mars", folder)}
    assert files == {
        "README.md",
        "pyproject.toml",
        "chain_adapter_mars/__init__.py",
        "chain_adapter_mars/chain.py",
        "chain_adapter_mars/codec.py",
        "chain_adapter_mars/node.py",
        "chain_adapter_mars/py.typed",
        "tests/test_contract.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["chain_adapter.chains"]
    assert points == {"mars": "chain_adapter_mars.chain:plugin"}
    assert not any("$" in path.read_text() for path in folder.rglob("*") if path.is_file())
    assert re.search(r"\b9 passed", _pytest(folder))


@pytest.mark.parametrize("name", ["", "a", "Mars", "9lives", "my-chain", "class", "../x", "a" * 40])
def test_a_bad_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="plugin name"):
        new_plugin(name, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        new_plugin("mars", tmp_path)
    with pytest.raises(ConfigError, match="nothing is overwritten"):
        new_plugin("mars", tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
