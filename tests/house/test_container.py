"""The Dockerfile and what carries it out where no Docker runs are one thing."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.house.tree import ROOT

DOCKERFILE = ROOT / "Dockerfile"


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "dockerfile_steps", ROOT / "scripts" / "dockerfile_steps.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_run_lines_are_script_files(steps: ModuleType) -> None:
    """What an image is made of is a file that a chroot can run too, and a reviewer can read."""
    runs = [rest for _, instruction, rest in steps.lines_of(DOCKERFILE) if instruction == "RUN"]
    assert len(runs) == 2
    for run in runs:
        name = Path(run.split()[1]).name
        assert run.startswith("sh /"), run
        assert (ROOT / "scripts" / "container" / name).is_file(), run


def test_image_runs_as_nobody_of_note(steps: ModuleType) -> None:
    said = {instruction: rest for _, instruction, rest in steps.lines_of(DOCKERFILE)}
    user, group = said["USER"].split(":")
    assert user == group
    assert f"id={user}" in (ROOT / "scripts" / "container" / "account.sh").read_text()
    assert said["ENTRYPOINT"] == '["chain-adapter"]'
    assert "HEALTHCHECK" in said


def test_image_holds_no_secret() -> None:
    text = DOCKERFILE.read_text()
    assert not re.search(r"^(ENV|ARG) \S*(KEY|PASS|SECRET|TOKEN|MNEMONIC)", text, re.M | re.I)


@pytest.mark.parametrize(
    ("name", "goes"),
    [
        ("chain_adapter/chain.py", True),
        ("plugins/evm/pyproject.toml", True),
        ("requirements-run.lock", True),
        ("chain_adapter/__pycache__/chain.cpython-311.pyc", False),
        ("plugins/evm/tests/test_chain.py", False),
        ("state/keystore.json", False),
        ("party_a_private.pem", False),
        (".git/config", False),
        ("requirements.lock", False),
        ("scripts/setup.sh", False),
    ],
)
def test_only_the_program_goes_to_the_builder(steps: ModuleType, name: str, goes: bool) -> None:
    assert steps.let_through(ROOT / ".dockerignore", name) is goes


def test_unknown_instruction_is_refused(steps: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ADD x /x\n")
    with pytest.raises(steps.StepFailed, match="before FROM"):
        steps.build(tmp_path / "Dockerfile", tmp_path / "none.tar", tmp_path)


def test_continued_lines_are_one(steps: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("# c\nRUN a \\\n  # within\n  b\nUSER 1:1\n")
    assert [rest for _, _, rest in steps.lines_of(tmp_path / "Dockerfile")] == ["a b", "1:1"]
