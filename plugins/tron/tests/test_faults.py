"""Nodes that are wrong, late, busy or lying: every one ends as `Unavailable`, `NotOnChain` or a
`Rejected` that proves nothing, and none as a deposit.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from chain_adapter.chain import (
    Asset,
    BlockRef,
    Head,
    NotOnChain,
    Payment,
    Rejected,
    Unavailable,
    WrongNetwork,
)
from chain_adapter_tron.chain import TronChain
from chain_adapter_tron.devnet.devnet import TronDevnet
from chain_adapter_tron.node import display_name, with_port
from plugins.tron.tests.parts import (
    Opener,
    Relay,
    read,
    shown,
    stranger,
    wallet,
    watching,
)

OURS = stranger(1)
NOW, SOLID = "wallet/getnowblock", "walletsolidity/getnowblock"
WINDOW, INFOS = "wallet/getblockbylimitnext", "wallet/gettransactioninfobyblocknum"
NUM = "wallet/getblockbynum"
SEND = "wallet/broadcasthex"


def always(answer: Any) -> Any:
    return lambda _body, _answer: answer


async def paid(devnet: TronDevnet) -> None:
    await devnet.pay("TRX", OURS, 5)
    await devnet.pay("USDT", OURS, 6)
    await devnet.mine()


# --- answers that are none ------------------------------------------------------------------------

ODD: dict[str, Any] = {
    "nothing": {},
    "a list": [],
    "an error": {"Error": "class java.lang.NullPointerException : null"},
    "another shape": {"block": 7, "blockID": ["x"], "id": {}},
}
BROKEN = {
    "HTML": web.Response(text="<html>busy</html>", content_type="text/html"),
    "half a JSON": web.Response(text='{"blockID": "00', content_type="application/json"),
    "nothing at all": web.Response(text=""),
    "429": web.Response(status=429, text="{}"),
    "503": web.Response(status=503, text="{}"),
    "404": web.Response(status=404, text="404 Not Found"),
    "a redirect": web.Response(status=302, text=""),
}


@pytest.mark.parametrize("path", [NOW, SOLID, WINDOW, INFOS, NUM])
@pytest.mark.parametrize("what", [*ODD, *BROKEN])
async def test_an_odd_answer_is_unavailable(
    devnet: TronDevnet, relay: Relay, opener: Opener, path: str, what: str
) -> None:
    chain = opener(relay.url, devnet.assets)
    await paid(devnet)
    head = (await chain.head()).ref.height
    assert len(shown(await read(chain, watching(OURS), last=head))) == 2
    if what in ODD:
        relay.bend[path] = always(ODD[what])
    else:
        relay.replace[path] = BROKEN[what]
    fresh = opener(relay.url, devnet.assets)
    with pytest.raises(Unavailable) as told:
        if path in (NOW, SOLID):
            await fresh.head()
        elif path == NUM:
            await fresh.identity()
        else:
            await read(chain, watching(OURS), last=head)
    assert relay.url not in str(told.value) and "127.0.0.1" in str(told.value)


async def test_a_node_that_answers_nothing_to_everything(canned: Relay, opener: Opener) -> None:
    calls = (
        "getaccount", "triggerconstantcontract", "getaccountresource", "getchainparameters",
        "getassetissuebyid", "gettransactioninfobyid",
    )  # fmt: skip
    for path in (NOW, SOLID, WINDOW, INFOS, NUM, SEND, *(f"wallet/{call}" for call in calls)):
        canned.answers[path] = lambda _body: {}
    assets = {"TRX": Asset("TRX", None, 6), "TEN": Asset("TEN", "1000001", 6)}
    chain = opener(canned.url, assets)
    payer = wallet(1)
    for work in (
        chain.identity(), chain.head(), read(chain, watching(OURS), last=3),
        chain.balance(OURS, "TRX"),
        chain.build(payer.intent(Payment("TRX", OURS, 5))),
    ):  # fmt: skip
        with pytest.raises(Unavailable):
            await work
    assert await chain.locate("00" * 32) is None


async def test_the_key_is_sent_and_never_shown(
    devnet: TronDevnet, relay: Relay, opener: Opener, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("a-secret-key\n")
    chain = opener(relay.url, devnet.assets, api_key_file=str(key))
    await chain.head()
    assert relay.headers[-1]["TRON-PRO-API-KEY"] == "a-secret-key"
    relay.replace[NOW] = web.Response(status=403, text="{}")
    with pytest.raises(Unavailable) as told:
        await chain.head()
    assert "a-secret-key" not in str(told.value)
    missing = opener(relay.url, devnet.assets, api_key_file=str(tmp_path / "none"))
    with pytest.raises(Unavailable, match="api_key_file"):
        await missing.head()


def test_endpoints_are_named_without_their_secrets() -> None:
    assert display_name("https://user:word@host.example:8090/key/abc") == "host.example:8090"
    assert with_port("http://u:p@h:8090/x", 8091) == "http://u:p@h:8091/x"
    assert with_port("http://[::1]:8090", 8091) == "http://[::1]:8091"
    assert with_port("http://h", None) == "http://h"


async def test_the_solidified_interface_may_have_its_own_port(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    port = int(relay.url.rpartition(":")[2])
    chain = opener(devnet.url, devnet.assets, solidity_port=port)
    await chain.head()
    assert [path for path, _ in relay.asked] == [SOLID]


# --- heads ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [-15, 0, 3, 500])
async def test_a_solidified_head_behind_or_ahead(
    devnet: TronDevnet, relay: Relay, opener: Opener, ahead: int
) -> None:
    """It never makes more final than the head, and never less than before."""
    chain = opener(relay.url, devnet.assets)
    first = await chain.head()

    def bend(_: dict[str, Any], answer: Any) -> Any:
        answer["block_header"]["raw_data"]["number"] += ahead
        return answer

    relay.bend[SOLID] = bend
    head = await chain.head()
    assert head.final_height is not None and first.final_height is not None
    assert first.final_height <= head.final_height <= head.ref.height


async def test_a_head_that_lags_behind_itself(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    await chain.head()
    old = devnet.ledger.head
    await devnet.mine(3)
    await chain.head()
    await read(chain, watching(OURS))
    from chain_adapter_tron.devnet.views import block_json

    relay.bend[NOW] = always(block_json(old, visible=False))
    with pytest.raises(Unavailable, match="moved back"):
        await chain.head()


async def test_a_head_goes_back_when_the_chain_does(devnet: TronDevnet, chain: TronChain) -> None:
    before = await chain.head()
    await devnet.reorg(2)
    after = await chain.head(before)
    assert after.ref.height == before.ref.height and after.ref.hash != before.ref.hash


async def test_heads_without_their_transactions(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets, brief_heads=True)
    await paid(devnet)
    head = await chain.head()
    assert head == await opener(devnet.url, devnet.assets).head()
    assert len(shown(await read(chain, watching(OURS)))) == 2
    assert relay.count(NOW) == relay.count(SOLID) == 0


async def test_a_head_waits_for_news(devnet: TronDevnet, chain: TronChain) -> None:
    before = await chain.head()
    waiting = asyncio.create_task(chain.head(Head(before.ref, before.final_height)))
    await asyncio.sleep(0)
    await devnet.mine()
    assert (await waiting).ref.height == before.ref.height + 1


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("another number", lambda block: block["block_header"]["raw_data"].update(number=7)),
        ("an id of another height", lambda block: block.update(blockID="00" * 32)),
        ("a short id", lambda block: block.update(blockID=block["blockID"][:20])),
    ],
)
async def test_a_block_that_contradicts_itself(
    devnet: TronDevnet, relay: Relay, opener: Opener, what: str, change: Any
) -> None:
    def window(_: dict[str, Any], answer: Any) -> Any:
        for block in answer.get("block", []):
            change(block)
        return answer

    def one(_: dict[str, Any], answer: Any) -> Any:
        change(answer)
        return answer

    chain = opener(relay.url, devnet.assets)
    head = (await chain.head()).ref.height
    relay.bend[WINDOW], relay.bend[NUM] = window, one
    for method in ("window", "solid"):
        with pytest.raises(Unavailable):
            await read(chain, watching(OURS), last=head, method=method)


async def test_identities(devnet: TronDevnet, opener: Opener) -> None:
    genesis = devnet.node["genesis"]
    good = opener(devnet.url, devnet.assets, genesis=genesis.upper())
    assert await good.identity() == f"tron:{genesis}"
    with pytest.raises(WrongNetwork):
        await opener(devnet.url, devnet.assets, genesis="11" * 32).identity()


async def test_configured_tokens_are_held_against_the_chain(
    devnet: TronDevnet, opener: Opener
) -> None:
    wrong = {
        "decimals": {"USDT": Asset("USDT", devnet.contracts["TestUSDT"], 18)},
        "no contract": {"USDT": Asset("USDT", stranger(8), 6)},
        "TRC-10 decimals": {"TEN": Asset("TEN", "1000001", 0)},
    }
    for assets in wrong.values():
        chain = opener(devnet.url, {"TRX": devnet.assets["TRX"], **assets})
        with pytest.raises(Rejected):
            await read(chain, watching(OURS), last=3)


# --- lag and forks --------------------------------------------------------------------------------


async def test_results_that_are_not_there_yet(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    """A node that has the block and not yet its results, none or not all of them."""
    chain = opener(relay.url, devnet.assets)
    await paid(devnet)
    head = (await chain.head()).ref.height
    for answer in ([], None):
        relay.bend[INFOS] = lambda _body, told, answer=answer: told[:-1] if answer is None else []
        with pytest.raises(Unavailable, match="results"):
            await read(chain, watching(OURS), last=head)


async def test_an_empty_block_has_no_transactions(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    chain = opener(relay.url, devnet.assets)
    start = (await chain.head()).ref
    await devnet.mine(3)
    await read(chain, watching(OURS), after=start)
    assert relay.count(INFOS) == 0, "nothing to ask about an empty block"


async def test_a_lost_tip_is_told(devnet: TronDevnet, chain: TronChain) -> None:
    await devnet.mine(3)
    tip = (await chain.head()).ref
    await devnet.reorg(2)
    await devnet.mine()
    with pytest.raises(NotOnChain):
        await read(chain, watching(OURS), after=tip)
    await read(chain, watching(OURS), after=BlockRef(tip.height - 2, ""))


async def test_a_missing_block_is_unavailable_after_what_there_is(
    devnet: TronDevnet, chain: TronChain
) -> None:
    head = (await chain.head()).ref
    for method in ("window", "solid"):
        seen = []
        with pytest.raises(Unavailable, match="lacks block"):
            async for block in chain.blocks(
                BlockRef(head.height - 2, ""), head.height + 5, watching(OURS), method
            ):
                seen.append(block)
        assert [block.ref.height for block in seen] == [head.height - 1, head.height]


async def test_a_chain_that_changes_while_it_is_read(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    """The second window is of another fork than the first."""
    chain = opener(relay.url, devnet.assets, batch=5, window=1)
    head = (await chain.head()).ref.height

    def bend(body: dict[str, Any], answer: Any) -> Any:
        if body["startNum"] == 6:
            answer["block"][0]["block_header"]["raw_data"]["parentHash"] = "00" * 32
        return answer

    relay.bend[WINDOW] = bend
    seen = []
    with pytest.raises(Unavailable, match="changed its mind"):
        async for block in chain.blocks(BlockRef(0, ""), head, watching(OURS)):
            seen.append(block)
    assert len(seen) == 5


async def test_roots_are_held_where_they_are_demanded(
    devnet: TronDevnet, relay: Relay, opener: Opener
) -> None:
    await paid(devnet)
    strict = opener(relay.url, devnet.assets, roots="required")
    head = (await strict.head()).ref.height
    assert len(shown(await read(strict, watching(OURS), last=head))) == 2

    def hide(_: dict[str, Any], answer: Any) -> Any:
        for block in answer.get("block", []):
            block["transactions"] = block.get("transactions", [])[:-1]
        return answer

    relay.bend[WINDOW] = hide
    with pytest.raises(Unavailable, match="another root"):
        await read(strict, watching(OURS), last=head)
