"""What is installed is what is locked, and the traps among the dependencies stay shut."""

from __future__ import annotations

import json
import re
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.house.tree import ROOT, shown

LOCKS = [ROOT / "requirements.lock", ROOT / "requirements-run.lock"]
PROJECTS = [ROOT / "pyproject.toml", *sorted((ROOT / "plugins").glob("*/pyproject.toml"))]


def locked(path: Path) -> dict[str, set[str]]:
    """name -> versions; more than one where they differ by Python version."""
    found: dict[str, set[str]] = {}
    for name, pinned in re.findall(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", path.read_text(), re.M):
        found.setdefault(canonicalize_name(name), set()).add(pinned)
    return found


@pytest.mark.parametrize(
    ("name", "at_least", "below"),
    [
        # web3 8 needs eth-abi 6, tronpy 0.6 forbids it: pip then takes tronpy 0.0.1 without a word.
        ("web3", "7.16", "8"),
        ("tronpy", "0.6.2", "0.7"),
        ("eth-abi", "5.2", "6"),
        # PKCS#1 v1.5 decryption with a sentinel is not to be relied on before.
        ("pycryptodome", "3.24", "4"),
        # 3.14 is a security release.
        ("aiohttp", "3.14", "4"),
        # 4 is another library, and not finished.
        ("apscheduler", "3.11", "4"),
        # tests/fixtures.py mends exactly this one.
        ("aioresponses", "0.7.9", "0.7.10"),
        ("sqlalchemy", "2.0.40", "2.1"),
    ],
)
def test_versions_that_matter(name: str, at_least: str, below: str) -> None:
    assert Version(at_least) <= Version(version(name)) < Version(below)


def test_installed_is_what_is_locked() -> None:
    lock = locked(LOCKS[0])
    different = {
        name: (installed, versions)
        for name, versions in lock.items()
        if (installed := _installed(name)) is not None and installed not in versions
    }
    assert not different, "run `make setup`"


def _installed(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError

    try:
        return version(name)
    except PackageNotFoundError:
        return None  # of another Python version or system


def test_container_runs_what_is_tested() -> None:
    everything, run = locked(LOCKS[0]), locked(LOCKS[1])
    assert run
    assert {name: everything.get(name) for name in run} == run


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_locks_name_no_host(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"https?://|--(extra-)?index-url|--find-links|--trusted-host| @ ", text)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_hashes(path: Path) -> None:
    entries = re.split(r"^(?=[A-Za-z0-9])", path.read_text(), flags=re.M)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)


def test_node_lock_names_no_host_and_has_hashes() -> None:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    for name, entry in lock["packages"].items():
        if name:
            assert entry["integrity"].startswith("sha512-"), name
        assert not {"resolved", "funding"} & set(entry), name
    # "//" stands in hashes too: a host is what follows a scheme.
    assert "://" not in json.dumps(lock)
    assert "omit-lockfile-registry-resolved=true" in (ROOT / ".npmrc").read_text()


def test_node_packages_are_pinned() -> None:
    package = json.loads((ROOT / "package.json").read_text())
    for name, wanted in package["dependencies"].items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", wanted), name


@pytest.mark.parametrize("path", PROJECTS, ids=shown)
def test_lock_satisfies_the_projects(path: Path) -> None:
    lock = locked(LOCKS[1])
    for text in tomllib.loads(path.read_text())["project"]["dependencies"]:
        wanted = Requirement(text)
        name = canonicalize_name(wanted.name)
        if name.startswith("chain-adapter"):
            continue
        assert name in lock, f"{text} is not in requirements-run.in; then `make lock`"
        assert all(wanted.specifier.contains(pinned) for pinned in lock[name]), text


def test_plugins_are_found_by_their_entry_points() -> None:
    found = {entry.name: entry.value for entry in entry_points(group="chain_adapter.chains")}
    assert found.get("reference") == "chain_adapter.sandbox.reference:plugin"
    for project in PROJECTS[1:]:
        declared = tomllib.loads(project.read_text())["project"]["entry-points"]
        for name, value in declared["chain_adapter.chains"].items():
            assert found.get(name) == value, "run `make setup`"


def test_core_and_plugins_have_one_version() -> None:
    versions = {tomllib.loads(path.read_text())["project"]["version"] for path in PROJECTS}
    assert len(versions) == 1
