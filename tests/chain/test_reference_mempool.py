"""The mempool of the reference ledger: stuck, replaced, dropped, used by others, expired."""

from __future__ import annotations

import pytest

from chain_adapter.chain import (
    Rejected,
)
from tests.chain.wallet import FLAVOURS, Make, Wallet

# --- stuck, replaced, used by others ------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_a_rising_fee_sticks_and_a_replacement_frees(make_ledger: Make, flavour: str) -> None:
    wallet = Wallet(make_ledger(flavour))
    await wallet.fund()
    first = await wallet.build()
    tx = await wallet.send(first)
    wallet.ledger.set_fee_floor(5000)
    wallet.ledger.mine(3)
    assert wallet.ledger.pending() == (tx.txid,)
    second = await wallet.build(replaces=(first,))
    new = await wallet.send(second)
    assert wallet.ledger.pending() == (new.txid,)
    wallet.ledger.mine()
    assert wallet.height_of(new) is not None
    assert wallet.height_of(tx) is None


async def test_a_replacement_that_pays_too_little_more(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    await wallet.fund()
    tx = await wallet.send(await wallet.build())
    with pytest.raises(Rejected, match="10 % more"):
        await wallet.send(await wallet.build(1))
    assert wallet.ledger.pending() == (tx.txid,)


@pytest.mark.parametrize("flavour", FLAVOURS)
async def test_somebody_else_uses_our_lock(make_ledger: Make, flavour: str) -> None:
    wallet = Wallet(make_ledger(flavour))
    await wallet.fund()
    payload = await wallet.build()
    (lock,) = wallet.chain.inspect(payload).locks
    tx = await wallet.send(payload)
    thief = wallet.ledger.use_lock(lock, [(wallet.to, 5)])
    wallet.ledger.mine()
    assert wallet.height_of(tx) is None
    sent = [one for block in await wallet.read(1) for one in block.sent]
    assert [(one.txid, one.locks, one.ok) for one in sent] == [(thief, (lock,), True)]


async def test_dropped_and_stuck_transactions(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    await wallet.fund()
    tx = await wallet.send(await wallet.build())
    wallet.ledger.stick(tx.txid)
    wallet.ledger.mine()
    assert wallet.ledger.pending() == (tx.txid,)
    wallet.ledger.drop(tx.txid)
    wallet.ledger.mine()
    assert wallet.ledger.pending() == ()
    assert wallet.height_of(tx) is None
    await wallet.chain.broadcast(tx)
    wallet.ledger.mine()
    assert wallet.height_of(tx) is not None


async def test_the_twin_of_a_transaction_has_another_txid(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger())
    await wallet.fund()
    tx = await wallet.send(await wallet.build())
    twin = wallet.ledger.malleate(tx.txid)
    assert twin != tx.txid
    wallet.ledger.mine()
    (sent,) = [one for block in await wallet.read(1) for one in block.sent]
    assert (sent.txid, sent.ok, sent.moved[0].amount) == (twin, True, 10**6)
    with pytest.raises(Rejected, match="already used"):
        await wallet.chain.broadcast(tx)


async def test_what_expires(make_ledger: Make) -> None:
    for flavour in ("account", "memo"):
        wallet = Wallet(make_ledger(flavour, expiring=True))
        await wallet.fund()
        payload = await wallet.build(salt=b"1")
        effect = wallet.chain.inspect(payload)
        assert effect.locks == ()
        assert effect.expires is not None
        tx = await wallet.send(payload)
        wallet.ledger.stick(tx.txid)
        # 60 s of blocks every 10 s, one whose parent decides, and the first beyond.
        assert wallet.ledger.expire() == 8
        blocks = await wallet.read()
        assert blocks[-2].clock <= effect.expires < blocks[-1].clock
        wallet.ledger.drop(tx.txid)
        with pytest.raises(Rejected, match="expired"):
            await wallet.chain.broadcast(tx)
        with pytest.raises(Rejected, match="wait for its expiry"):
            await wallet.build(replaces=(payload,))
    with pytest.raises(ValueError, match="do not expire"):
        make_ledger().expire()
    with pytest.raises(ValueError, match="coin chain"):
        make_ledger("coin", expiring=True)


async def test_the_same_transaction_is_included_once(make_ledger: Make) -> None:
    wallet = Wallet(make_ledger(expiring=True))
    await wallet.fund()
    tx = await wallet.send(await wallet.build())
    wallet.ledger.mine()
    height = wallet.height_of(tx)
    await wallet.chain.broadcast(tx)
    wallet.ledger.mine()
    assert wallet.height_of(tx) == height
    assert [len(block.sent) for block in await wallet.read(1)] == [1, 0]
