"""A block and the results of its transactions, reduced to what is ours. Pure.

The node's JSON is a filter only: of a transaction that concerns us the bytes are read, its txid is
computed from them, and a node whose JSON says otherwise is not believed. Value counts by the three
contracts that pay, by Transfer logs of configured contracts, and by internal calls that were not
rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from chain_adapter.chain import Block, Payment, Sent, Transfer, Unavailable, Watch
from chain_adapter_tron.address import NOBODY, spell
from chain_adapter_tron.assets import Assets, matcher
from chain_adapter_tron.codec import TRANSFER, TRANSFER_ASSET, TRIGGER, Raw, read_raw, txid_of
from chain_adapter_tron.draft import Draft, Move, bare, did_pay, did_run, keys_of
from chain_adapter_tron.settings import Settings
from chain_adapter_tron.wire import Tx

VALUE, TOKEN10, LOG, CALL = "value", "token10", "log", "call"
# What moves value inside a contract. Freezing, voting and delegating tell an amount and a
# recipient too, and give the recipient nothing.
_MOVING_NOTES = frozenset(note.hex() for note in (b"", b"call", b"create", b"suicide"))


class Ours:
    """What is ours, as `Watch` says."""

    def __init__(self, watch: Watch) -> None:
        self.hits: Callable[[list[bytes]], Iterable[int]] = matcher(watch.to)
        self._senders: Container[str] | None = None if _is_empty(watch.senders) else watch.senders
        self.nothing = self._senders is None and _is_empty(watch.to)

    def signs(self, key: bytes) -> bool:
        """Whether an address is one of ours that sign."""
        return self._senders is not None and spell(key) in self._senders

    @property
    def any_sign(self) -> bool:
        return self._senders is not None


def _is_empty(container: object) -> bool:
    return hasattr(container, "__len__") and len(container) == 0


class Reader:
    """Turns drafts into the core's blocks, through one endpoint's eyes."""

    def __init__(
        self, where: str, ours: Ours, assets: Assets, settings: Settings, method: str
    ) -> None:
        self._where = where
        self._ours = ours
        self._assets = assets
        self._settings = settings
        self._method = method

    def read(
        self,
        draft: Draft,
        moves: Sequence[Move],
        proofs: Mapping[tuple[str, str], bool | None],
    ) -> Block:
        """The block. Raises `Unavailable` where the node contradicts itself."""
        page = _Page(self._where, draft)
        transfers = [
            *self._values(page),
            *self._logs(page, moves, proofs),
            *(self._calls(page) if self._settings.internal else ()),
        ]
        return Block(
            ref=draft.ref,
            parent_hash=draft.parent_hash,
            time=draft.timestamp_ms // 1000,
            clock=draft.timestamp_ms,
            transfers=tuple(transfers),
            sent=tuple(self._sent(page, moves)) if self._ours.any_sign else (),
            method=self._method,
            internal=self._settings.internal,
        )

    def holders(self, moves: Sequence[Move]) -> set[tuple[str, str]]:
        """(contract, address) that these logs credit, and that are ours."""
        keys = keys_of(self._where, [move.to for move in moves])
        mine = [moves[index] for index in self._ours.hits(keys)]
        return {(move.contract, move.to) for move in mine if move.amount}

    # --- TRX and TRC-10 -------------------------------------------------------------------------

    def _values(self, page: _Page) -> list[Transfer]:
        named = [
            tx
            for tx in page.draft.txs
            if tx.raw_data.contract
            and tx.raw_data.contract[0].type in ("TransferContract", "TransferAssetContract")
        ]
        told = [tx.raw_data.contract[0].parameter.value.to_address for tx in named]
        keys = keys_of(self._where, [bare(self._where, address) for address in told])
        found: list[Transfer] = []
        for index in self._ours.hits(keys):
            tx = named[index]
            raw = page.raw(tx)
            action = raw.action
            if action is None or action.kind not in (TRANSFER, TRANSFER_ASSET):
                raise page.contradiction(tx, "its type is another one in its bytes")
            if action.to != keys[index]:
                raise page.contradiction(tx, "its recipient is another one in its bytes")
            asset = self._assets.native
            if action.kind == TRANSFER_ASSET:
                asset = self._assets.name_of_id(action.asset.decode("ascii", "replace"))
            if asset is None or action.amount <= 0 or action.owner == action.to:
                continue
            if not page.did_pay(tx):
                continue
            found.append(
                Transfer(
                    txid=tx.txID.lower(),
                    place=VALUE if action.kind == TRANSFER else TOKEN10,
                    asset=asset,
                    to=spell(action.to),
                    amount=action.amount,
                    sender=spell(action.owner),
                    memo=self._memo(raw),
                )
            )
        return found

    def _memo(self, raw: Raw) -> bytes | None:
        return raw.data if self._settings.memo and raw.data else None

    # --- TRC-20 ---------------------------------------------------------------------------------

    def _logs(
        self,
        page: _Page,
        moves: Sequence[Move],
        proofs: Mapping[tuple[str, str], bool | None],
    ) -> list[Transfer]:
        keys = keys_of(self._where, [move.to for move in moves])
        found: list[Transfer] = []
        for index in self._ours.hits(keys):
            move = moves[index]
            sender = keys_of(self._where, [move.sender])[0]
            if not move.amount or sender == keys[index]:
                continue
            if sender == NOBODY and not self._settings.mints:
                continue
            raw = page.raw(page.tx(move.txid))
            found.append(
                Transfer(
                    txid=move.txid,
                    place=f"{LOG}/{move.at}",
                    asset=self._assets.by_contract[move.contract].name,
                    to=spell(keys[index]),
                    amount=move.amount,
                    sender=spell(sender),
                    memo=self._memo(raw),
                    proof=proofs.get((move.contract, move.to)),
                )
            )
        return found

    # --- moved by contracts ---------------------------------------------------------------------

    def _calls(self, page: _Page) -> list[Transfer]:
        rows: list[tuple[Tx, str, str, str, int, str]] = []
        for tx in page.draft.txs:
            info = page.draft.infos.get(tx.txID.lower())
            if info is None or not info.internal_transactions or not did_run(tx, info):
                continue
            for index, call in enumerate(info.internal_transactions):
                if call.rejected or call.note.lower() not in _MOVING_NOTES:
                    continue
                for part, value in enumerate(call.callValueInfo):
                    asset = self._called_asset(value.tokenId)
                    to, sender = call.transferTo_address, call.caller_address
                    if asset is None or value.callValue <= 0 or not to or not sender:
                        continue
                    place = f"{CALL}/{index}" + (f".{part}" if part else "")
                    rows.append((tx, place, asset, to, value.callValue, sender))
        keys = keys_of(self._where, [bare(self._where, row[3]) for row in rows])
        found: list[Transfer] = []
        for index in self._ours.hits(keys):
            tx, place, asset, _, amount, caller = rows[index]
            caller_key = keys_of(self._where, [bare(self._where, caller)])[0]
            if caller_key == keys[index]:
                continue
            raw = page.raw(tx)
            found.append(
                Transfer(
                    txid=tx.txID.lower(),
                    place=place,
                    asset=asset,
                    to=spell(keys[index]),
                    amount=amount,
                    sender=spell(caller_key),
                    memo=self._memo(raw),
                )
            )
        return found

    def _called_asset(self, token_id: str) -> str | None:
        if not token_id or token_id in ("0", "_"):
            return self._assets.native
        return self._assets.name_of_id(token_id)

    # --- what we sent ---------------------------------------------------------------------------

    def _sent(self, page: _Page, moves: Sequence[Move]) -> Iterable[Sent]:
        for tx in page.draft.txs:
            if not tx.raw_data.contract:
                continue
            told = tx.raw_data.contract[0].parameter.value.owner_address
            if not told:
                continue
            owner = keys_of(self._where, [bare(self._where, told)])[0]
            if not self._ours.signs(owner):
                continue
            raw = page.raw(tx)
            if raw.action is not None and raw.action.owner != owner:
                raise page.contradiction(tx, "its owner is another one in its bytes")
            info = page.draft.infos[tx.txID.lower()]
            ok = page.did_pay(tx)
            yield Sent(
                txid=tx.txID.lower(),
                sender=spell(owner),
                locks=(),
                ok=ok,
                moved=tuple(self._moved(raw, owner, tx, moves)) if ok else (),
                fee=info.fee,
                fee_asset=self._assets.fee_asset,
            )

    def _moved(self, raw: Raw, owner: bytes, tx: Tx, moves: Sequence[Move]) -> Iterable[Payment]:
        action = raw.action
        if action is None:
            return
        memo = raw.data.decode("utf-8", "replace") or None
        native = self._assets.native
        if action.kind == TRANSFER_ASSET:
            issued = self._assets.name_of_id(action.asset.decode("ascii", "replace"))
            if issued is not None:
                yield Payment(issued, spell(action.to), action.amount, memo)
            return
        if action.amount and native is not None:
            yield Payment(native, spell(action.to), action.amount, memo)
        if action.kind != TRIGGER:
            return
        issued = self._assets.name_of_id(str(action.token_id))
        if action.token_amount and issued is not None:
            yield Payment(issued, spell(action.to), action.token_amount, memo)
        for move in moves:
            if move.txid == tx.txID.lower() and move.sender == owner.hex() and move.amount:
                name = self._assets.by_contract[move.contract].name
                yield Payment(name, spell(bytes.fromhex(move.to)), move.amount, memo)


class _Page:
    """One block's transactions, each read from its bytes at most once."""

    def __init__(self, where: str, draft: Draft) -> None:
        self.draft = draft
        self._where = where
        self._by_txid = {tx.txID.lower(): tx for tx in draft.txs}
        self._raws: dict[str, Raw] = {}

    def tx(self, txid: str) -> Tx:
        return self._by_txid[txid]

    def raw(self, tx: Tx) -> Raw:
        """The transaction as its bytes say, which must have the txid that the node told."""
        known = self._raws.get(tx.txID)
        if known is not None:
            return known
        try:
            data = bytes.fromhex(tx.raw_data_hex)
            raw = read_raw(data)
        except ValueError as error:
            raise self.contradiction(tx, f"its bytes cannot be read: {error}") from None
        computed = txid_of(data)
        if computed != tx.txID.lower():
            raise self.contradiction(tx, f"its bytes have the txid {computed}")
        self._raws[tx.txID] = raw
        return raw

    def did_pay(self, tx: Tx) -> bool:
        """Whether the transaction did what it says, by the block and by its receipt."""
        return did_pay(tx, self.draft.infos[tx.txID.lower()])

    def contradiction(self, tx: Tx, what: str) -> Unavailable:
        height = self.draft.ref.height
        return Unavailable(f"{self._where}: block {height}, transaction {tx.txID}: {what}")
