"""Plugins are found by entry point; their settings are typed and misspellings named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from chain_adapter import registry
from chain_adapter.chain import API, Asset, Chain, Gate
from chain_adapter.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Fees:
    cap: int = 5


@dataclass(frozen=True)
class Settings:
    OBSOLETE = {"confirms": "write confirmations under [chains.X]"}  # noqa: RUF012

    chain_id: int
    traces: Literal["auto", "off"] = "auto"
    timeout_s: float = 2.0
    genesis: str | None = None
    headers: Mapping[str, str] | None = None
    tags: tuple[str, ...] = ()
    fees: Fees = Fees()


class Toy:
    name = "toy"
    api = API
    settings = Settings

    def open(
        self, settings: Any, assets: Mapping[str, Asset], endpoint: str | None, gate: Gate
    ) -> Chain:
        raise NotImplementedError


def test_a_full_table_becomes_the_record() -> None:
    table = {
        "endpoints": ["http://a"],
        "chain_id": 7,
        "traces": "off",
        "timeout_s": 3,
        "genesis": "0xab",
        "headers": {"x": "y"},
        "tags": ["a", "b"],
        "fees": {"cap": 9},
    }
    made = registry.settings_of(Toy(), table, "chains.x.node")
    assert made == Settings(7, "off", 3.0, "0xab", {"x": "y"}, ("a", "b"), Fees(9))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"chain_id": 1, "trace": "off"}, "unknown key 'trace'; did you mean 'traces'"),
        ({"traces": "off"}, "chain_id is missing"),
        ({"chain_id": "1"}, r"chain_id: expected int, got str"),
        ({"chain_id": True}, r"chain_id: expected int, got bool"),
        ({"chain_id": 1, "traces": "on"}, "one of 'auto', 'off', not 'on'"),
        ({"chain_id": 1, "tags": "a"}, "give a list"),
        ({"chain_id": 1, "tags": ["a", 3]}, r"tags\[1\]: expected str"),
        ({"chain_id": 1, "fees": {"cup": 1}}, r"node.fees: unknown key 'cup'.*'cap'"),
        ({"chain_id": 1, "confirms": 3}, "confirms is obsolete: write confirmations"),
        ({"chain_id": 1, "timeout_s": "2"}, "expected float, got str"),
    ],
)
def test_a_wrong_table_is_refused_by_name(table: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        registry.settings_of(Toy(), table, "chains.x.node")


def test_endpoints() -> None:
    assert registry.endpoints_of({"endpoints": ["a", "b"]}, "w") == ("a", "b")
    wrong: list[dict[str, Any]] = [{}, {"endpoints": []}, {"endpoints": "a"}, {"endpoints": [1]}]
    for bad in wrong:
        with pytest.raises(ConfigError, match=r"w\.endpoints"):
            registry.endpoints_of(bad, "w")
    with pytest.raises(ConfigError, match="twice"):
        registry.endpoints_of({"endpoints": ["a", "a"]}, "w")


def _distribution(at: Path, name: str, lines: str, module: str) -> None:
    info = at / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[chain_adapter.chains]\n{lines}\n")
    (at / f"{name.replace('-', '_')}.py").write_text(module)


PLUGIN = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Settings:
    endpoints: tuple[str, ...] = ()
class Plugin:
    name, api, settings = {name!r}, {api}, Settings
    def open(self, settings, assets, endpoint, gate): ...
"""


def test_installed_plugins_and_their_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _distribution(tmp_path, "t-good", "tgood = t_good:Plugin", PLUGIN.format(name="tgood", api=API))
    _distribution(tmp_path, "t-new", "tnew = t_new:Plugin", PLUGIN.format(name="tnew", api=API + 1))
    _distribution(tmp_path, "t-liar", "tliar = t_liar:Plugin", PLUGIN.format(name="x", api=API))
    _distribution(tmp_path, "t-broken", "tbroken = t_broken:Plugin", "import no_such_module_9")
    _distribution(tmp_path, "t-empty", "tempty = t_empty:Plugin", "Plugin = object()")
    _distribution(tmp_path, "t-twin", "tgood2 = t_twin:A", PLUGIN.format(name="a", api=API))
    _distribution(tmp_path, "t-twix", "tgood2 = t_twix:A", PLUGIN.format(name="a", api=API))
    monkeypatch.syspath_prepend(str(tmp_path))
    usable = registry.plugins()
    assert usable["tgood"].name == "tgood"
    assert not {"tnew", "tliar", "tbroken", "tempty", "tgood2"} & set(usable)
    found = {one.name: one for one in registry.installed()}
    assert (found["tgood"].distribution, found["tgood"].version) == ("t-good", "1.2")
    for name, words in {
        "tnew": "upgrade chain-adapter",
        "tliar": "calls itself 'x'",
        "tbroken": "no_such_module_9",
        "tempty": "is no Plugin",
        "tgood2": "t-twin and t-twix",
    }.items():
        with pytest.raises(ConfigError, match=words):
            registry.plugin(name)
    with pytest.raises(ConfigError, match="did you mean 'tgood'"):
        registry.plugin("tgod", "chains.x.plugin")
