"""The configuration: what is refused and how it is named, what follows from what, its documents."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from chain_adapter.chain import Proof
from chain_adapter.config import Config, FirstOrders, Profile, load, loads, reference
from chain_adapter.config.settings import settings_of
from chain_adapter.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]

LOCAL = """
[database]
url = "sqlite:///state/adapter.db"
[platform]
url = "http://127.0.0.1:9100"
app_id = "abc"
private_key_file = "a.pem"
platform_key_file = "b.pem"
[keys]
keystore = "state/keystore.json"
passphrase_file = "state/passphrase"
[console]
listen = "127.0.0.1:9200"
[chains.devnet]
plugin = "evm"
confirmations = 3
poll_interval_s = 0.2
[chains.devnet.node]
endpoints = ["http://127.0.0.1:8545"]
traces = "auto"
ratio = 0.5
[chains.devnet.assets.ETH]
decimals = 18
[chains.devnet.assets.USDT]
contract = "0x01"
decimals = 6
min_deposit = "0.25"
balance_proof = "required"
"""


def read(text: str) -> Config:
    return loads(text, Path("/etc/chain-adapter"))


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert caught.value.exit_status == 2
    return str(caught.value)


def changed(old: str, new: str) -> str:
    assert LOCAL.count(old) == 1, old
    return LOCAL.replace(old, new)


# --- what it gives --------------------------------------------------------------------------------


def test_values_are_final() -> None:
    config = read(LOCAL)
    chain, token = config.chain("devnet"), config.chain("devnet").asset("USDT")
    assert config.require_database().sqlite_file == Path("/etc/chain-adapter/state/adapter.db")
    assert config.require_keys().keystore == Path("/etc/chain-adapter/state/keystore.json")
    assert (config.console.listen.host, config.console.listen.port) == ("127.0.0.1", 9200)
    assert (chain.poll_interval_s, chain.confirmations) == (0.2, 3)
    assert (token.min_deposit, token.balance_proof) == (250_000, Proof.REQUIRED)
    assert (token.symbol, token.platform_decimals) == ("USDT", 6)
    assert chain.native.name == "ETH"
    assert chain.fee_cap == 10**17
    assert chain.node["ratio"] == 0.5
    assert type(chain.node["ratio"]) is float
    assert chain.plugin_assets()["USDT"].contract == "0x01"


def test_defaults_of_a_platform_on_loopback() -> None:
    config = read(LOCAL)
    assert config.profile is Profile.DEVELOPMENT
    assert config.first_orders is FirstOrders.PAY
    assert {one.platform_confirmations for one in config.chain("devnet").assets.values()} == {3}


REMOTE = changed("http://127.0.0.1:9100", "https://platform.example")


def test_defaults_of_any_other_platform() -> None:
    config = read(REMOTE.replace('app_id = "abc"', 'app_id = "abc"\nplatform_confirmations = 7'))
    assert config.profile is Profile.PRODUCTION
    assert config.first_orders is FirstOrders.HOLD
    assert {one.platform_confirmations for one in config.chain("devnet").assets.values()} == {7}


def test_platform_confirmations_have_no_default_elsewhere() -> None:
    assert "platform.platform_confirmations is missing" in refusal(REMOTE)


def test_platform_confirmations_of_an_asset_win() -> None:
    text = REMOTE.replace("confirmations = 3", "confirmations = 3\nplatform_confirmations = 9")
    text = text.replace("decimals = 6", "decimals = 6\nplatform_confirmations = 20")
    assets = read(text).chain("devnet").assets
    assert (assets["ETH"].platform_confirmations, assets["USDT"].platform_confirmations) == (9, 20)


@pytest.mark.parametrize(
    ("where", "symbol", "limit"),
    [
        ("[platform]", "ETH", 30.0),
        ("[chains.devnet]", "ETH", 30.0),
        ("[chains.devnet.assets.USDT]", "ETH", 86400.0),
        ("[chains.devnet.assets.USDT]", "USDT", 30.0),
    ],
)
def test_hold_limit_is_handed_down(where: str, symbol: str, limit: float) -> None:
    config = read(changed(where, f"{where}\nhold_limit = 30"))
    assert config.chain("devnet").asset(symbol).hold_limit_s == limit


@pytest.mark.parametrize(
    ("given", "seconds"),
    [('"24h"', 86400.0), ('"90s"', 90.0), ('"1.5m"', 90.0), ("12", 12.0), ("0.5", 0.5)],
)
def test_durations(given: str, seconds: float) -> None:
    assert read(f"hold_limit = {given}\n{LOCAL}").chain("devnet").native.hold_limit_s == seconds


def test_a_hold_limit_may_be_never() -> None:
    assert read(f'hold_limit = "never"\n{LOCAL}').chain("devnet").native.hold_limit_s is None


def test_scan_needs_only_database_and_chain(tmp_path: Path) -> None:
    file = tmp_path / "adapter.toml"
    start = LOCAL.index("[chains.devnet]")
    file.write_text('[database]\nurl = "sqlite:///books.db"\n' + LOCAL[start:])
    config = load(file)
    assert config.require_database().sqlite_file == tmp_path / "books.db"
    assert config.chain("devnet").confirmations == 3
    for ask in (config.require_platform, config.require_keys):
        with pytest.raises(ConfigError, match=r"this command needs a \[(platform|keys)\] section"):
            ask()


def test_absolute_sqlite_path() -> None:
    config = read(changed("sqlite:///state/adapter.db", "sqlite:////var/lib/adapter.db"))
    assert config.require_database().url == "sqlite:////var/lib/adapter.db"


def test_a_database_password_is_not_shown() -> None:
    config = read(changed("sqlite:///state/adapter.db", "postgresql://me:hunter2@db:5432/books"))
    assert config.require_database().shown_url == "postgresql://me@db:5432/books"
    assert "hunter2" not in repr(config)


def test_decimals_are_exact_down_to_the_last_unit() -> None:
    text = changed('min_deposit = "0.25"', 'min_deposit = "9007199254740993.000001"')
    assert read(text).chain("devnet").asset("USDT").min_deposit == 9007199254740993000001


def test_the_fee_cap_of_a_coin_with_few_decimals() -> None:
    assert read(changed("decimals = 18", "decimals = 6")).chain("devnet").fee_cap == 200_000_000


# --- what it refuses ------------------------------------------------------------------------------

BAD: list[tuple[str, str, str, str]] = [
    # id, text to replace, replacement, what the refusal says
    ("misspelt", "confirmations = 3", "confirmation = 3",
     "chains.devnet.confirmation: is an unknown key: did you mean confirmations?"),
    ("misspelt section", "[console]", "[consol]",
     "consol: is an unknown key: did you mean console?"),
    ("misspelt asset key", "min_deposit", "min_deposits",
     "chains.devnet.assets.USDT.min_deposits: is an unknown key: did you mean min_deposit?"),
    ("key of another section", 'keystore = "state/keystore.json"',
     'keystore = "state/keystore.json"\nconfirmations = 3', "it stands at [chains.NAME]"),
    ("obsolete", "platform_key_file", "public_key_file",
     "platform.public_key_file: is no key here: it is written platform_key_file"),
    ("moved", "poll_interval_s = 0.2", 'endpoints = ["http://127.0.0.1:1"]',
     "chains.devnet.endpoints: is no key here: it stands under [chains.NAME.node]"),
    ("secret in the file", 'private_key_file = "a.pem"', 'private_key = "MIIEv"',
     "secrets stand in files: use private_key_file"),
    ("number as text", "confirmations = 3", 'confirmations = "3"',
     "chains.devnet.confirmations: must be a whole number without quotes, not text"),
    ("boolean as number", "confirmations = 3", "confirmations = true",
     "chains.devnet.confirmations: must be a whole number without quotes, not a boolean"),
    ("fraction as integer", "confirmations = 3", "confirmations = 3.0",
     "must be a whole number without quotes, not a decimal number"),
    ("zero confirmations", "confirmations = 3", "confirmations = 0", "must be from 1 to 1000000"),
    ("text as number", 'app_id = "abc"', "app_id = 7", "platform.app_id: must be text in quotes"),
    ("empty text", 'app_id = "abc"', 'app_id = " "', "platform.app_id: must not be empty"),
    ("no such choice", '"required"', '"always"', 'must be one of "when_possible", "required"'),
    ("bad duration", "confirmations = 3", 'hold_limit = "1 day"',
     'chains.devnet.hold_limit: must be a number of seconds or text such as'),
    ("negative seconds", "poll_interval_s = 0.2", "poll_interval_s = -1",
     "must be above 0 seconds"),
    ("infinite seconds", "poll_interval_s = 0.2", "poll_interval_s = inf", "must be above 0"),
    ("missing key", 'app_id = "abc"', "", "[platform] lacks app_id"),
    ("missing decimals", "decimals = 18", "", "[chains.devnet.assets.ETH] lacks decimals"),
    ("missing plugin", 'plugin = "evm"', "", '[chains.devnet] lacks plugin'),
    ("table as list", "[console]", "[[console]]", "console: must be a table, not a list"),
    ("listen without port", "127.0.0.1:9200", "127.0.0.1", "console.listen: must be HOST:PORT"),
    ("port too large", "127.0.0.1:9200", "127.0.0.1:92000", "console.listen: must be HOST:PORT"),
    ("no URL", "http://127.0.0.1:9100", "127.0.0.1:9100", "platform.url: must be a URL"),
    ("URL with a password", "http://127.0.0.1:91", "http://me:pw@127.0.0.1:91",
     "must not hold a user or password"),
    ("other database", "sqlite:///state", "mysql:///state", 'must begin with "sqlite:///"'),
    ("two slashes", "sqlite:///state", "sqlite://state", "three slashes before a relative path"),
    ("in memory", "sqlite:///state/adapter.db", "sqlite:///:memory:", "books in memory"),
    ("too many decimals", '"0.25"', '"0.0000001"',
     "chains.devnet.assets.USDT.min_deposit: amount '0.0000001' has more than 6 decimals"),
    ("negative minimum", '"0.25"', '"-1"', "is negative"),
    ("no number", '"0.25"', '"a lot"', "is not a decimal number"),
    ("two main coins", 'contract = "0x01"', "", "there is ETH and USDT"),
    ("no main coin", "[chains.devnet.assets.ETH]\ndecimals = 18", "", "there is none"),
    ("contract twice", "[chains.devnet.assets.ETH]",
     '[chains.devnet.assets.DAI]\ncontract = "0X01"\ndecimals = 18\n[chains.devnet.assets.ETH]',
     "is the contract of DAI as well"),
    ("symbol twice", 'contract = "0x01"', 'contract = "0x01"\nsymbol = "ETH"',
     "the platform's symbol ETH is taken by chains.devnet.assets.ETH"),
    ("bad chain name", "[chains.devnet]", '[chains."dev net"]', "a chain's name has 1 to 32"),
    ("pool upside down", "[chains.devnet.node]",
     "[chains.devnet.pool]\nlow = 50\nhigh = 20\n[chains.devnet.node]", "low = 50 is above high"),
    ("pool too large", "[chains.devnet.node]",
     "[chains.devnet.pool]\nhigh = 5000\n[chains.devnet.node]",
     "chains.devnet.pool.high: must be from 1 to 4999"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "says"), [one[1:] for one in BAD],
                         ids=[one[0] for one in BAD])  # fmt: skip
def test_refused_with_the_right_words(old: str, new: str, says: str) -> None:
    assert says in refusal(changed(old, new))


def test_one_symbol_under_two_chains() -> None:
    other = '[chains.other]\nplugin = "evm"\n[chains.other.assets.ETH]\ndecimals = 18\n'
    assert "chains.other.assets.ETH: the platform's symbol ETH is taken by" in refusal(
        LOCAL + other
    )
    renamed = other + 'symbol = "ETH2"\n'
    assert set(read(LOCAL + renamed).symbols()) == {"ETH", "ETH2", "USDT"}


def test_a_key_handed_down_with_two_values() -> None:
    text = 'first_orders = "pay"\n' + changed(
        'app_id = "abc"', 'app_id = "abc"\nfirst_orders="hold"'
    )
    assert "platform.first_orders: stands at the top of the file too" in refusal(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f'profile = "production"\n{LOCAL}', "platform.url: is http in profile production"),
        (
            REMOTE.replace('"abc"', '"8ee3794a0000"\nplatform_confirmations = 7'),
            "platform.app_id: is the published one",
        ),
        (
            changed("127.0.0.1:9100", "baas.example").replace(
                '"abc"', '"abc"\nplatform_confirmations = 7'
            ),
            "platform.url: is http in profile production",
        ),
    ],
    ids=["http", "published app_id", "http is production unless said"],
)
def test_production_refuses(text: str, says: str) -> None:
    assert says in refusal(text)
    assert read(f'profile = "development"\n{text.removeprefix(PRODUCTION)}').platform


PRODUCTION = 'profile = "production"\n'


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file"):
        load(tmp_path / "nowhere.toml")


@pytest.mark.parametrize("raw", [b"a = ", b"\xff\xfe", b"a = 1\na = 2\n"])
def test_a_damaged_file_is_named(tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "adapter.toml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"adapter\.toml: is not"):
        load(file)


def test_no_refusal_shows_a_value_that_may_be_secret() -> None:
    assert "hunter2" not in refusal(
        changed("sqlite:///state/adapter.db", "mysql://me:hunter2@db/x")
    )
    assert "hunter2" not in refusal(
        changed("http://127.0.0.1:91", "http://me:hunter2@127.0.0.1:91")
    )


# --- its documents --------------------------------------------------------------------------------


def test_documents_are_current() -> None:
    again = "run python -m chain_adapter.config.reference"
    assert (ROOT / reference.DOCUMENT).read_text() == reference.document(), again
    assert (ROOT / reference.EXAMPLE).read_text() == reference.example(), again


def test_the_example_loads_and_shows_every_key() -> None:
    config = load(ROOT / reference.EXAMPLE)
    assert set(config.symbols()) == {"ETH", "USDT"}
    text = (ROOT / reference.EXAMPLE).read_text()
    for _, _, record, _ in reference.TABLES:
        for key in settings_of(record):
            assert f"\n{key} = " in text or f"\n# {key} = " in text, key


def test_the_example_holds_when_every_default_is_said() -> None:
    """Each commented line is valid where it stands: uncommenting teaches nothing wrong."""
    lines = (ROOT / reference.EXAMPLE).read_text().splitlines()
    keys = {key for _, _, record, _ in reference.TABLES for key in settings_of(record)}
    keys -= {"contract"}  # the example's first asset is the main coin
    said = [
        line[2:] if line.startswith("# ") and line[2:].split(" = ")[0] in keys else line
        for line in lines
    ]
    text = "\n".join(said).replace('profile = "production"', 'profile = "development"')
    text = text.replace('symbol = "USDT"', 'symbol = "ETH"')
    assert tomllib.loads(text)["chains"]["main"]["memo_max"] == 64
    default, spelt = load(ROOT / reference.EXAMPLE), loads(text, ROOT / "config")
    assert spelt.console == default.console
    assert spelt.log == default.log
    assert spelt.chain("main").pool == default.chain("main").pool
    assert spelt.chain("main").fee_cap == default.chain("main").fee_cap
