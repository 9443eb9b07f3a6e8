"""Checks of what is pure: the plugin's constants, addresses, asset keys."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

from chain_adapter.chain import API, Chain, Family, InvalidAddress
from chain_adapter.errors import ConfigError
from chain_adapter.registry import settings_of
from chain_adapter.testing.bench import Bench, Failed, ensure
from chain_adapter.testing.check import check


@check("interface: plugin", live=True)
async def the_plugin_says_what_it_is(bench: Bench) -> None:
    """Name, interface version, frozen settings without unknown keys, and a ChainInfo that fits the
    configured assets."""
    ensure(bench.plugin.api == API, f"written for interface {bench.plugin.api}, this is {API}")
    settings = bench.plugin.settings
    ensure(dataclasses.is_dataclass(settings), "settings are no dataclass")
    ensure(settings.__dataclass_params__.frozen, "settings are not frozen")
    try:
        settings_of(bench.plugin, {"no-such-key": 1}, "node")
    except ConfigError:
        pass
    else:
        raise Failed("an unknown key of the settings is accepted")
    info = bench.info
    ensure(info == bench.pure.info, "info depends on the endpoint")
    ensure(info.native in bench.assets, f"native {info.native!r} is not configured")
    ensure(bench.assets[info.native].contract is None, "the main coin has a contract")
    ensure(info.fee_asset in bench.assets, f"fee asset {info.fee_asset!r} is not configured")
    ensure(info.methods and all(one.kinds for one in info.methods), "a method that sees nothing")
    names = [one.name for one in info.methods]
    ensure(len(set(names)) == len(names), f"methods {names}")
    ensure(info.confirmations > 0 and info.reorg_limit > 0, "depths are above zero")
    ensure(info.family is not Family.MEMO or info.memos, "a memo chain carries memos")


@check("interface: names", live=True)
async def addresses_have_one_spelling(bench: Bench) -> None:
    """`address_of` gives the canonical spelling, `parse_address` keeps it; two keys have two
    addresses and two address keys; with and without an endpoint the same."""
    spellings: set[str] = set()
    keys: set[bytes] = set()
    for _ in range(20):
        actor = bench.actor()
        for chain in (bench.chain, bench.pure):
            address = chain.address_of(actor.public_key)
            ensure(address == actor.address, f"{address} and {actor.address} are one key")
            ensure(chain.parse_address(address) == address, f"{address} is spelled otherwise")
            ensure(chain.address_key(address) == actor.key, f"{address}: another key")
        ensure(actor.key, f"{actor.address}: no key")
        spellings.add(actor.address)
        keys.add(actor.key)
    ensure(len(spellings) == len(keys) == 20, "two keys share an address")


@check("interface: names; W-24", live=True)
async def what_is_parsed_stays_parsed(bench: Bench) -> None:
    """Any spelling that is accepted parses to a canonical one, which parses to itself and has a
    key: a text is stored in one form only."""
    for text in _spellings(bench.actor().address, bench.rng):
        try:
            canonical = bench.pure.parse_address(text)
        except InvalidAddress:
            continue
        ensure(bench.pure.parse_address(canonical) == canonical, f"{text!r} -> {canonical!r}")
        ensure(bench.pure.address_key(canonical), f"{canonical!r} has no key")


@check("laws 2.3; W-24", live=True)
async def garbage_is_no_address(bench: Bench) -> None:
    """A text that is no address raises `InvalidAddress`, and nothing else ever."""
    address = bench.actor().address
    refuse(bench.pure, "")
    for text in garbage(address, bench.rng):
        refuse(bench.pure, text)
    # One digit wrong: a checksum finds it, or the text is another address, never this one.
    for i in range(1, len(address)):
        for digit in "q7":
            text = address[:i] + digit + address[i + 1 :]
            if text == address:
                continue
            try:
                other = bench.pure.parse_address(text)
            except InvalidAddress:
                continue
            ensure(other != address, f"{text!r} passes for {address!r}")


def refuse(chain: Chain, text: str) -> None:
    """`Failed` unless `text` is refused."""
    try:
        made = chain.parse_address(text)
    except InvalidAddress:
        return
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise Failed(f"{text!r} lets a {type(error).__name__} through") from error
    raise Failed(f"{text!r} is taken for the address {made!r}")


def garbage(address: str, rng: random.Random) -> Iterator[str]:
    """Texts that no chain may take, made from an address."""
    yield from ("", " ", "0x", "\x00", "é" * 20, "0x" + "g" * 40)
    yield from (address + " ", " " + address, address + "\n", "\t" + address, address + "\x00")
    yield from (address[:-1], address[:-4], address + address, address + "0", address[1:])
    yield from (address + "?dt=1", f"<{address}>", f"{address},{address}", f"scheme:{address}:x")
    # Letters that look alike, and digits that Python's int() would take.
    yield address.replace("a", "а").replace("e", "е").replace("1", "１") + "а"
    yield "".join(chr(0x660 + int(c)) if c.isdigit() else c for c in address) + "٣"
    for _ in range(20):
        yield "".join(chr(rng.randrange(1, 0x3000)) for _ in range(rng.randrange(1, 60)))


def _spellings(address: str, rng: random.Random) -> Iterator[str]:
    head = address[:2]
    yield from (address, address.lower(), address.upper(), head + address[2:].upper())
    yield from (address.swapcase(), address.title(), address.removeprefix("0x"))
    for _ in range(30):
        yield "".join(c.upper() if rng.random() < 0.5 else c.lower() for c in address)


@check("laws 3.1", live=True)
async def assets_have_keys_of_their_own(bench: Bench) -> None:
    """The key of the main coin is empty; each token has another one, and all Chains agree."""
    keys = {name: bench.chain.asset_key(name) for name in bench.assets}
    ensure(keys[bench.native] == b"", f"the main coin's key is {keys[bench.native]!r}")
    ensure(len(set(keys.values())) == len(keys), f"two assets share a key: {keys}")
    ensure(all(keys[name] for name in bench.tokens), "a token without a key")
    again = {name: bench.pure.asset_key(name) for name in bench.assets}
    ensure(keys == again, "the keys depend on the endpoint")
