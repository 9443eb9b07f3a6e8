"""One attempt of one payout: build, inspect, commit RESERVED, sign, commit.

Shared by first payments, replacements and voids; the payer decides which of them is due.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sqlalchemy import Row, or_, select

from chain_adapter import money
from chain_adapter.chain import Chain, Coin, Effect, Intent, Payment, Rejected, SignedTx
from chain_adapter.core.states import Kind, Purpose
from chain_adapter.errors import SigningRefused
from chain_adapter.keys.journal import Death, JournalEntry, PayoutKey, SettledMark, State
from chain_adapter.keys.journal import Purpose as SignedPurpose
from chain_adapter.keys.request import KeyPath, SignRequest
from chain_adapter.platform_api.answers import Warrant
from chain_adapter.store import payouts, schema, treasury
from chain_adapter.store.alarms import raise_alarm
from chain_adapter.store.payouts import View
from chain_adapter.store.payouts_onchain import ATTEMPTS
from chain_adapter.store.store import Store, Tx
from chain_adapter.workers.terms import ChainTerms


class Signer(Protocol):
    """What paying asks of the signer."""

    async def sign(self, request: SignRequest) -> SignedTx: ...

    async def judge(self, requests: Sequence[SignRequest]) -> Sequence[SigningRefused | None]: ...

    async def journal(self, chain: str) -> Sequence[JournalEntry]: ...

    async def settled(self) -> Sequence[SettledMark]: ...

    async def close(self, chain: str, txid: str, death: Death) -> None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """A key of ours that can sign: where it stands in the seed, and what it is called."""

    account: int
    index: int
    address: str
    public_key: bytes


class Accounts(Protocol):
    """Public halves of our keys."""

    def hot(self, chain: str) -> Account: ...

    def gas(self, chain: str) -> Account: ...

    def at(self, chain: str, account: int, index: int) -> Account: ...


@dataclass(frozen=True, slots=True)
class Built:
    """A payload that was built and inspected, ready to be reserved."""

    view: View
    purpose: Purpose
    account: Account
    payload: bytes
    effect: Effect
    salt: bytes
    intent: Intent


class Attempts:
    """Guarantees: locks and unsigned bytes are durable before the signer is asked, signed bytes
    before anybody is told.

    Does not guarantee: that an attempt is accepted by anyone.
    """

    def __init__(
        self, terms: ChainTerms, chain: Chain, accounts: Accounts, store: Store, signer: Signer
    ) -> None:
        self._terms = terms
        self._chain = chain
        self._accounts = accounts
        self._store = store
        self._signer = signer

    def account_of(self, row: Row[Any]) -> Account:
        """Who pays: fixed when the payout was made, else the hot account."""
        if row.account is not None:
            return self._accounts.at(row.chain, row.account, row.idx)
        return self._accounts.hot(row.chain)

    def payments_of(self, row: Row[Any]) -> tuple[Payment, ...]:
        """What a paying attempt of this payout does."""
        amount = None if row.amount is None else int(row.amount)
        return (Payment(row.asset, row.to, amount, row.memo or None),)

    async def build(self, view: View, purpose: Purpose, taken: frozenset[str]) -> Built:
        """Build and inspect. Raises what `Chain.build` raises; `taken` are locks of others."""
        account = self.account_of(view.row)
        replaced = tuple(bytes(a.payload) for a in view.open if a.payload is not None)
        salt = secrets.token_bytes(16)
        intent = Intent(
            sender=account.address,
            public_key=account.public_key,
            payments=() if purpose is Purpose.VOID else self.payments_of(view.row),
            fee_limit=self._terms.fee_cap,
            coins=await self._coins(account, taken),
            reserved=taken - {lock.lock for lock in view.locks},
            replaces=replaced,
            salt=salt,
        )
        payload = await self._chain.build(intent)
        effect = self._chain.inspect(payload)
        if not effect.locks and effect.expires is None:
            raise Rejected("the plugin built a transaction with neither lock nor expiry")
        if effect.max_fee > intent.fee_limit:
            raise Rejected(f"max_fee {effect.max_fee} is above the limit {intent.fee_limit}")
        return Built(view, purpose, account, payload, effect, salt, intent)

    async def _coins(self, account: Account, taken: frozenset[str]) -> tuple[Coin, ...]:
        if self._chain.info.family != "coin":
            return ()
        rows = await self._store.read(lambda tx: spendable(tx, self._terms.chain, account.address))
        return tuple(
            Coin(row.lock, account.address, account.public_key, int(row.amount))
            for row in rows
            if row.lock not in taken
        )

    def reserve(self, tx: Tx, built: Built, build_height: int) -> Row[Any]:
        """The unit that commits locks and unsigned bytes; returns the attempt."""
        attempt_id = payouts.reserve(
            tx,
            built.view.row,
            purpose=built.purpose,
            payload=built.payload,
            effect=built.effect,
            build_height=build_height,
            salt=built.salt,
            sender=built.account.address,
            account=built.account.account,
            idx=built.account.index,
            to_reserve=built.effect.locks,
        )
        row = tx.one(select(ATTEMPTS).where(ATTEMPTS.c.id == attempt_id))
        assert row is not None
        return row

    async def sign(
        self, row: Row[Any], attempt: Row[Any], open_attempts: Sequence[Row[Any]]
    ) -> SignedTx:
        """Ask the signer, then store its bytes (and the claim).

        Raises `SigningRefused`, also for a first payment that has no warrant.
        """
        request = await self._request(
            row,
            attempt.purpose,
            payload=bytes(attempt.payload),
            salt=bytes.fromhex(attempt.salt),
            build_height=attempt.build_height,
            replaces=tuple(
                bytes(a.payload)
                for a in open_attempts
                if a.payload is not None and a.id != attempt.id
            ),
        )
        signed = await self._signer.sign(request)
        body = self.notice(row, signed.txid)

        def unit(tx: Tx) -> None:
            payouts.sign(tx, payouts.get(tx, row.id), attempt, signed, body)

        await self._store.write(unit)
        return signed

    async def judge(
        self, built: Sequence[Built], build_height: int
    ) -> Sequence[SigningRefused | None]:
        """What the signer would say to these, all together, before anything is reserved."""
        requests = [
            await self._request(
                one.view.row, one.purpose, payload=one.payload, salt=one.salt,
                build_height=build_height, replaces=one.intent.replaces,
            )
            for one in built
        ]  # fmt: skip
        return await self._signer.judge(requests)

    async def _request(
        self,
        row: Row[Any],
        purpose: str,
        *,
        payload: bytes,
        salt: bytes,
        build_height: int,
        replaces: tuple[bytes, ...],
    ) -> SignRequest:
        account = self.account_of(row)
        is_void = purpose == Purpose.VOID
        warrant = None
        if row.kind == Kind.WITHDRAWAL and not is_void and row.warrant is not None:
            warrant = Warrant(bytes(row.warrant), row.warrant_sign)
        return SignRequest(
            chain=row.chain,
            payout=PayoutKey(row.kind, row.symbol, row.trans_id),
            purpose=SignedPurpose(purpose),
            account=account.account,
            index=account.index,
            intent=Intent(
                sender=account.address,
                public_key=account.public_key,
                payments=() if is_void else self.payments_of(row),
                fee_limit=self._terms.fee_cap,
                replaces=replaces,
                salt=salt,
            ),
            payload=payload,
            warrant=warrant,
            destination=await self._destination(row),
            build_height=build_height,
        )

    async def _destination(self, row: Row[Any]) -> KeyPath | None:
        """Which key of ours a sweep or top-up pays: the signer derives it by itself."""
        if row.kind not in (Kind.SWEEP, Kind.TOP_UP):
            return None
        known = await self._store.read(partial(treasury.key_of, chain=row.chain, address=row.to))
        return None if known is None or known.account is None else KeyPath(known.account, known.idx)

    def notice(self, row: Row[Any], txid: str) -> Mapping[str, Any]:
        """The fields of `withdraw/notify` (or `internal/notify`) that do not change."""
        asset = self._terms.assets[row.asset]
        amount = row.amount_told
        if row.amount is not None:
            amount = money.plain(int(row.amount), asset.decimals)
        body: dict[str, Any] = {
            "address_from": row.sender or self.account_of(row).address,
            "address_to": row.address_to,
            "txid": txid,
            "amount": amount,
            "fee": "0",
        }
        if row.kind == Kind.WITHDRAWAL:
            body["trans_id"] = row.trans_id
            body["quoted"] = bool(row.trans_id_quoted)
        if row.memo_told:
            body["memo"] = row.memo_told
        return body

    def fee_notes(self, view: View) -> list[Mapping[str, Any]]:
        """Included transactions of a payout that paid nobody: their fees are to be told."""
        asset = self._terms.assets.get(view.row.asset, self._terms.fee)
        sender = view.row.sender or ""
        return [
            {
                "symbol": asset.symbol,
                "height": a.included_height,
                "address_from": sender,
                "address_to": sender,
                "txid": a.txid,
                "amount": "0",
                "fee": self._terms.fee.told(int(a.fee or 0)),
            }
            for a in view.attempts
            if a.included_height is not None and a.txid and (a.purpose == Purpose.VOID or not a.ok)
        ]

    async def tell_ends(self, view: View, settled_height: int) -> None:
        """Tell the signer's journal what became of attempts, with the proof it checks."""
        for attempt in view.attempts:
            if attempt.txid is None or attempt.raw is None:
                continue
            death = death_of(attempt, view, settled_height)
            if death is None:
                continue
            try:
                await self._signer.close(view.row.chain, attempt.txid, death)
            except SigningRefused as error:
                # The journal stays stricter than it need be: whatever that forbids later is
                # refused then. One payout that it disputes must not stop the others.
                await self._store.write(
                    partial(_disputed, row=view.row, txid=attempt.txid, why=error.why)
                )


def _disputed(tx: Tx, row: Row[Any], txid: str, why: str) -> None:
    text = f"{row.symbol} {row.trans_id}: the end of {txid} is not journaled: {why}"
    raise_alarm(tx, "signing_refused", payouts.subject(row), text, row.chain)


def death_of(attempt: Row[Any], view: View, settled_height: int) -> Death | None:
    """The journal's word for the end of an attempt, with its evidence; None while it is open."""
    if attempt.final:
        return Death(State.FINAL if attempt.ok else State.FAILED, settled_height)
    why = attempt.dead or ""
    if why.startswith("expired"):
        return Death(State.EXPIRED, settled_height, clock=int(why.rpartition(" ")[2]))
    if why.startswith("orphaned"):
        return Death(State.ORPHANED, settled_height, by_txid=why.rpartition(" ")[2])
    held = set(json.loads(attempt.locks))
    copies = {a.txid for a in view.paying if a.final and a.ok and a.raw is None}
    for lock in view.locks:
        if why and lock.lock in held and lock.used_txid in copies:
            # A malleated copy made these payments: for the journal this attempt has paid.
            return Death(State.FINAL, settled_height)
        if why and lock.lock in held and lock.used_txid and lock.used_txid != attempt.txid:
            return Death(State.USED, settled_height, by_txid=lock.used_txid)
    return None


def spendable(tx: Tx, chain: str, address: str) -> Sequence[Row[Any]]:
    """Coins of an address: mature, unspent, of final blocks or of our own transactions."""
    t = schema.transfers
    row = tx.one(select(schema.chains).where(schema.chains.c.chain == chain))
    settled, head = (row.settled_height, row.head_height) if row is not None else (-1, 0)
    ours = select(ATTEMPTS.c.txid).where(ATTEMPTS.c.chain == chain, ATTEMPTS.c.txid.is_not(None))
    return tx.all(
        select(t)
        .where(
            t.c.chain == chain,
            t.c.to == address,
            t.c.lock.is_not(None),
            t.c.spent_txid.is_(None),
            or_(t.c.matures.is_(None), t.c.matures <= head + 1),
            or_(t.c.height <= settled, t.c.txid.in_(ours)),
        )
        .order_by(t.c.height, t.c.txid, t.c.place)
    )
