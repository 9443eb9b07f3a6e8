"""Asking the chain, and asking the platform's own records, before a deposit is credited."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from chain_adapter.callbacks import (
    CallbackRefused,
    ChainVerifier,
    Deposited,
    MerchantClient,
    NotNow,
    OnChain,
    RecordVerifier,
)
from chain_adapter.callbacks.blocks import from_text, to_text
from chain_adapter.chain import Chain
from chain_adapter.sandbox.reference import Flavour, ReferenceDevnet, ReferencePlugin
from chain_adapter.testing.clock import VirtualClock
from tests.callbacks.conftest import Post, Serve, Shop
from tests.callbacks.ends import form, merchant, notice, paid, platform, raw, sealed


@asynccontextmanager
async def gate(method: str) -> AsyncIterator[None]:
    yield


async def opened(flavour: Flavour) -> tuple[ReferenceDevnet, Chain]:
    plugin = ReferencePlugin(flavour, clock=VirtualClock())
    devnet = await plugin.devnet()
    settings = plugin.settings(flavour=flavour, confirmations=3)
    return devnet, plugin.open(settings, devnet.assets, devnet.url, gate)


def deposit(txid: str, to: str, amount: str, symbol: str = "COIN") -> Deposited:
    return Deposited(
        key="k", subject="k", final=True, facts="", fields={}, record_id="1", user_id="1",
        symbol=symbol, amount=amount, address_to=to, txid=txid,
    )  # fmt: skip


@pytest.mark.parametrize("flavour", [Flavour.ACCOUNT, Flavour.COIN, Flavour.MEMO])
async def test_the_chain_is_asked(flavour: Flavour) -> None:
    devnet, chain = await opened(flavour)
    asset = next(iter(devnet.assets.values()))
    to = devnet.ledger.address(b"\x07" * 20)
    memo = "1001" if flavour is Flavour.MEMO else None
    named = f"{to}_{memo}" if memo else to
    verify = ChainVerifier({"COIN": OnChain(chain, asset.name, asset.decimals, 3, bool(memo))})
    amount, text = 5 * 10**asset.decimals, "5"
    txid = await devnet.pay(asset.name, to, amount, memo)
    with pytest.raises(NotNow):
        await verify(deposit(txid, named, text))
    await devnet.mine(1)
    with pytest.raises(NotNow, match="confirmations"):
        await verify(deposit(txid, named, text))
    await devnet.mine(5)
    await verify(deposit(txid, named, text))
    for wrong in (deposit(txid, named, "6"), deposit(txid, named, "0.5")):
        with pytest.raises(CallbackRefused, match="paid"):
            await verify(wrong)
    with pytest.raises(NotNow, match="not on the chain"):
        await verify(deposit("00" * 32, named, text))
    other = devnet.ledger.address(b"\x08" * 20)
    with pytest.raises(CallbackRefused, match="paid 0 base units"):
        await verify(deposit(txid, f"{other}_{memo}" if memo else other, text))
    if memo:
        with pytest.raises(CallbackRefused, match="paid 0 base units"):
            await verify(deposit(txid, f"{to}_1002", text))
    with pytest.raises(CallbackRefused):
        await verify(deposit(txid, "no address_1" if memo else "no address", text))
    with pytest.raises(CallbackRefused):
        await verify(deposit(txid, named, "5.0000000000000000000000000001"))
    for unseen in (deposit(txid, named, text, symbol="OTHER"), deposit("", named, text)):
        with pytest.raises(NotNow, match="no chain to ask"):
            await verify(unseen)
        await ChainVerifier({}, others_pass=True)(unseen)
    await devnet.close()
    with pytest.raises(NotNow):
        await verify(deposit(txid, named, text))


async def test_only_deposits_are_looked_up() -> None:
    await ChainVerifier({})(merchant().notification(sealed(paid())))


async def test_a_deposit_that_is_not_there_yet_is_handed_on_later(shop: Shop, post: Post) -> None:
    devnet, chain = await opened(Flavour.ACCOUNT)
    asset = next(iter(devnet.assets.values()))
    to = devnet.ledger.address(b"\x07" * 20)
    verify = ChainVerifier({"LTC": OnChain(chain, asset.name, asset.decimals, 3)})
    till = await shop.open(exactly=True, verify=verify)
    txid = await devnet.pay(asset.name, to, 10**asset.decimals)
    told = sealed(notice(txid=txid, address_to=to, amount="1"))
    assert await post.waas(till, told) == "FAILURE"
    await devnet.mine(5)
    assert await post.waas(till, told) == "SUCCESS"
    assert await post.waas(till, told) == "SUCCESS"
    assert len(await till.booked()) == 1
    await devnet.close()


# --- the platform's records ---------------------------------------------------------------------


def spliced() -> tuple[dict[str, str], dict[str, object], dict[str, object]]:
    """Two true notifications, and one put together from their blocks: its status is the other's."""
    small = notice(id="48393", status="0")
    other = notice(id="48394", status="1", amount="20.00000001")
    one, two = (from_text(platform().seal(raw(fields))) for fields in (small, other))
    return form(to_text(one[:256] + two[256:], url_safe=True)), small, other


def test_blocks_of_two_true_messages_fit_together() -> None:
    """The weakness that verifiers are for: each block is the platform's, the whole is not."""
    body, small, _ = spliced()
    assert json.loads(merchant().open_form(body)) == small | {"status": "1"}
    assert isinstance(merchant().notification(body), Deposited)


async def test_records_tell_spliced_messages_apart(
    shop: Shop, post: Post, serve: Serve, session: aiohttp.ClientSession
) -> None:
    body, small, other = spliced()
    listed = {"48393": small, "48394": other}
    failing: list[str] = []

    async def deposit_list(request: web.Request) -> web.Response:
        fields = json.loads(platform().open_form(await request.post()))  # type: ignore[arg-type]
        rows = [listed[one] for one in fields["ids"].split(",") if one in listed]
        reply = {"code": failing[0] if failing else "0", "msg": "", "data": rows}
        return web.json_response({"data": platform().seal(raw(reply))})

    url = await serve([web.post("/api/v2/billing/depositList", deposit_list)])
    verify = RecordVerifier(MerchantClient(session, url, merchant(), timeout_s=5))
    till = await shop.open(exactly=True, verify=verify)
    assert await post.waas(till, body) == "FAILURE"
    unknown = notice(id="48395")
    assert await post.waas(till, sealed(unknown)) == "FAILURE"
    failing.append("100001")
    assert await post.waas(till, sealed(other)) == "FAILURE"  # not asked: it will come again
    failing.clear()
    assert await post.waas(till, sealed(other)) == "SUCCESS"
    assert await till.booked() == [("Deposited", "10739", "LTC", "20.00000001")]
