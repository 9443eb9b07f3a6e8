"""The reference chain through one endpoint: the second implementation of `chain_adapter.chain`.

Blocks of the ledger become `Block`s (`_translate`); payloads come from `reference_build`. It keeps
the interface honest: whatever a real plugin may do late, twice or wrongly, its endpoint can be told
to do here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from chain_adapter.chain import (
    Asset,
    Balance,
    Block,
    BlockRef,
    ChainInfo,
    Effect,
    Family,
    Gate,
    Head,
    Intent,
    Method,
    NotOnChain,
    Payment,
    Proof,
    Rejected,
    Sent,
    SignedTx,
    ToSign,
    Transfer,
    Unavailable,
    Watch,
)
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference_build import build_coin, build_sequence
from chain_adapter.sandbox.reference_faults import ReferenceEndpoint
from chain_adapter.sandbox.reference_ledger import LedgerBlock, ReferenceLedger, ledger_at
from chain_adapter.sandbox.reference_state import Done, Move
from chain_adapter.sandbox.reference_tx import NATIVE, Body, Flavour, Payload

HEAD_WAIT_S = 10.0
SCHEME = "secp256k1"
METHODS = {
    # "scan" sees all; "receipts" lacks what contracts moved; the others differ in name only.
    Flavour.ACCOUNT: (
        Method("scan", frozenset({"value", "log", "call"})),
        Method("receipts", frozenset({"value", "log"})),
    ),
    Flavour.COIN: (Method("scan", frozenset({"out"})), Method("verbose", frozenset({"out"}))),
    Flavour.MEMO: (Method("scan", frozenset({"value", "log", "call"})),),
}


class ReferenceChain:
    """One endpoint (``memory://LEDGER`` or ``memory://LEDGER/NAME``) of a `ReferenceLedger`."""

    def __init__(
        self,
        flavour: Flavour,
        assets: Mapping[str, Asset],
        endpoint: str | None,
        gate: Gate,
        confirmations: int = 6,
    ) -> None:
        self._flavour = flavour
        self._endpoint = endpoint
        self._gate = gate
        native = [asset.name for asset in assets.values() if asset.contract is None]
        if len(native) != 1:
            raise ValueError("configure exactly one asset without a contract, the main coin")
        self._assets = dict(assets)
        self._keys = {name: self._contract(asset) for name, asset in assets.items()}
        self._names = {key: name for name, key in self._keys.items()}
        if len(self._names) != len(self._keys):
            raise ValueError("two assets have the same contract")
        self.info = ChainInfo(
            family=Family(flavour),
            scheme=SCHEME,
            coin_type=1,
            native=native[0],
            fee_asset=native[0],
            confirmations=confirmations,
            reorg_limit=64,
            methods=METHODS[flavour],
            memos=flavour is Flavour.MEMO,
        )

    def _contract(self, asset: Asset) -> bytes:
        if asset.contract is None:
            return NATIVE
        if self._flavour is Flavour.COIN:
            raise ValueError(f"{asset.name}: the coin flavour has no tokens")
        key = bytes.fromhex(asset.contract)
        if len(key) != 20:
            raise ValueError(f"{asset.name}: a contract is 40 hexadecimal digits")
        return key

    # --- requests -------------------------------------------------------------------------------

    async def _enter(self, method: str) -> tuple[ReferenceLedger, ReferenceEndpoint]:
        if self._endpoint is None:
            raise Unavailable("opened without an endpoint: only the pure methods work")
        name, _, endpoint = self._endpoint.removeprefix("memory://").partition("/")
        async with self._gate(method):
            way = ledger_at(name).endpoint(endpoint)
            return await way.enter(method), way

    async def identity(self) -> str:
        ledger, way = await self._enter("identity")
        return way.identity or ledger.identity

    async def head(self, after: Head | None = None) -> Head:
        ledger, way = await self._enter("head")
        try:
            async with ledger.clock.timeout(HEAD_WAIT_S):
                while after is not None and self._head(ledger, way).ref == after.ref:
                    await ledger.changed()
                    ledger, way = await self._enter("head")
        except TimeoutError:
            pass
        return self._head(ledger, way)

    def _head(self, ledger: ReferenceLedger, way: ReferenceEndpoint) -> Head:
        height = min(way.head_height(), ledger.height)
        final = None if ledger.final_lag is None else max(height - ledger.final_lag, 0)
        return Head(self._ref(way, ledger.block(height)), final)

    def _ref(self, way: ReferenceEndpoint, block: LedgerBlock) -> BlockRef:
        return BlockRef(block.height, way.hash_at(block.height, block.hash))

    async def blocks(
        self, after: BlockRef, last: int, watch: Watch, method: str | None = None
    ) -> AsyncIterator[Block]:
        method = method or self.info.methods[0].name
        kinds = {one.name: one.kinds for one in self.info.methods}.get(method)
        if kinds is None:
            raise Unavailable(f"the reference chain has no method {method!r}")
        ours: dict[str, int] = {}  # coins of ours made in blocks of this call
        at = after
        for count, height in enumerate(range(after.height + 1, last + 1)):
            ledger, way = await self._enter("block")
            if way.breaks_after is not None and count >= way.breaks_after:
                raise Unavailable(f"{way.name}: connection lost")
            known = at.hash and 0 <= at.height <= way.served_height()
            if known and self._ref(way, ledger.block(at.height)) != at:
                raise NotOnChain(f"{at.height} {at.hash} is not on the best chain")
            if height > way.served_height():
                raise Unavailable(f"{way.name}: no block {height} yet")
            block = self._translate(ledger.block(height), way, watch, method, kinds, ours)
            at = block.ref
            yield block

    def _translate(
        self,
        block: LedgerBlock,
        way: ReferenceEndpoint,
        watch: Watch,
        method: str,
        kinds: frozenset[str],
        ours: dict[str, int],
    ) -> Block:
        transfers: list[Transfer] = []
        sent: list[Sent] = []
        for done in block.txs:
            if way.hides(done.txid, method):
                continue
            for move in done.moves:
                if self._shown(move, watch, kinds):
                    transfers.append(self._transfer(done, move, block))
                    if move.lock is not None:
                        ours[move.lock] = move.amount
            told = self._sent(done, watch, ours)
            if told is not None:
                sent.append(told)
        parent = block.parent_hash and way.hash_at(block.height - 1, block.parent_hash)
        return Block(
            ref=self._ref(way, block),
            parent_hash=parent,
            time=block.time,
            clock=block.clock,
            transfers=tuple(transfers),
            sent=tuple(sent),
            method=method,
            internal="call" in kinds,
        )

    def _shown(self, move: Move, watch: Watch, kinds: frozenset[str]) -> bool:
        return (
            move.to in watch.to
            and move.asset in self._names
            and move.amount > 0
            and (move.sender != move.to or self._flavour is Flavour.COIN)
            and move.place.partition("/")[0] in kinds
        )

    def _transfer(self, done: Done, move: Move, block: LedgerBlock) -> Transfer:
        asset = self._names[move.asset]
        proof = None
        if move.asset != NATIVE and self._assets[asset].proof is not Proof.OFF:
            # The balance difference of the block against all that it shows for this address.
            moves = [m for d in block.txs for m in d.moves if m.asset == move.asset]
            proof = all(m.amount == m.credited for m in moves if move.to == m.to)
        return Transfer(
            txid=done.txid,
            place=move.place,
            asset=asset,
            to=self._spell(move.to),
            amount=move.amount,
            sender=None if move.sender is None else self._spell(move.sender),
            memo=move.memo,
            proof=proof,
            lock=move.lock,
            matures=move.matures,
        )

    def _sent(self, done: Done, watch: Watch, ours: Mapping[str, int]) -> Sent | None:
        senders = [self._spell(key) for key in done.senders]
        signed = [sender for sender in senders if sender in watch.senders]
        spent = any(lock in watch.coins or lock in ours for lock in done.locks)
        if not signed and not spent:
            return None
        return Sent(
            txid=done.txid,
            sender=signed[0] if signed else senders[0],
            locks=done.locks,
            ok=done.ok,
            moved=tuple(
                Payment(
                    self._names[move.asset],
                    self._spell(move.to),
                    move.amount,
                    None if move.memo is None else move.memo.decode(errors="replace"),
                )
                for move in done.moves
                if move.asset in self._names
            ),
            fee=done.fee,
            fee_asset=self.info.fee_asset,
        )

    async def balance(self, address: str, asset: str) -> Balance:
        ledger, way = await self._enter("balance")
        amount = ledger.state.balance(self.asset_key(asset), self.address_key(address))
        return Balance(amount, self._ref(way, ledger.block(ledger.height)))

    async def locate(self, txid: str) -> BlockRef | None:
        ledger, way = await self._enter("locate")
        block = ledger.located(txid)
        return None if block is None else self._ref(way, block)

    async def build(self, intent: Intent) -> bytes:
        ledger, _ = await self._enter("build")
        if self.address_of(intent.public_key) != intent.sender:
            raise Rejected(f"{intent.sender} is not the address of this public key")
        if not intent.payments and not intent.replaces:
            raise Rejected("nothing to pay and nothing to replace")
        make = build_coin if self._flavour is Flavour.COIN else build_sequence
        return make(ledger, intent, self._keys)

    async def broadcast(self, tx: SignedTx) -> None:
        ledger, way = await self._enter("broadcast")
        if way.refuses is not None:
            raise Rejected(way.refuses)
        if way.swallows:
            return
        ledger.submit(tx.raw)
        if way.loses_answers:
            raise Unavailable(f"{way.name}: no answer to a broadcast")

    async def close(self) -> None:
        await asyncio.sleep(0)

    # --- pure -----------------------------------------------------------------------------------

    def _spell(self, key: bytes) -> str:
        return tx.spell(self._flavour, key)

    def parse_address(self, text: str) -> str:
        return tx.parse(self._flavour, text)

    def address_key(self, address: str) -> bytes:
        return tx.unspell(self._flavour, address)

    def asset_key(self, asset: str) -> bytes:
        return self._keys[asset]

    def address_of(self, public_key: bytes) -> str:
        tx.check_public(public_key)
        return self._spell(tx.key_of(self._flavour, public_key))

    def _open(self, payload: bytes) -> tuple[Payload, Body]:
        made: Payload = tx.decode(payload, Payload)
        body: Body = tx.decode(made.body, Body)
        if body.flavour is not self._flavour:
            raise Rejected(f"a payload of the {body.flavour} flavour")
        if len(made.behind) != len(body.inputs):
            raise Rejected("the coins behind the inputs are missing")
        for key, _ in made.behind:
            tx.check_public(key)
        if any(output.asset not in self._names for output in body.outputs):
            raise Rejected("pays an asset that is not configured")
        return made, body

    def inspect(self, payload: bytes) -> Effect:
        made, body = self._open(payload)
        keys = [key for key, _ in made.behind] or [body.sender]
        max_fee = body.price * tx.weight(body)
        if made.behind:
            max_fee = sum(amount for _, amount in made.behind)
            max_fee -= sum(output.amount for output in body.outputs)
            if max_fee < 0:
                raise Rejected("outputs exceed inputs")
        return Effect(
            binds=body.binds,
            senders=tuple(dict.fromkeys(self.address_of(key) for key in keys)),
            payments=tuple(
                Payment(
                    self._names[output.asset],
                    self._spell(output.to),
                    output.amount,
                    None if output.memo is None else _text(output.memo),
                )
                for output in body.outputs
            ),
            max_fee=max_fee,
            locks=tx.locks_of(body),
            expires=body.expires,
            to_sign=tuple(
                ToSign(key, digest)
                for key, digest in zip(keys, tx.digests(made.body, made.behind), strict=True)
            ),
        )

    def assemble(self, payload: bytes, signatures: Sequence[bytes]) -> SignedTx:
        made, body = self._open(payload)
        wanted = self.inspect(payload).to_sign
        if len(signatures) != len(wanted):
            raise Rejected(f"{len(wanted)} signatures are needed, not {len(signatures)}")
        for signature, to_sign in zip(signatures, wanted, strict=True):
            if tx.signed_by(signature, to_sign.message) != to_sign.public_key:
                raise Rejected("a signature is not by the key that it is for")
        shown = [key for key, _ in made.behind] or [b""]
        witness = tuple(a + b for a, b in zip(signatures, shown, strict=True))
        raw = tx.encode(tx.Signed(made.body, witness))
        return SignedTx(tx.txid_of(body, raw, made.body), raw)


def _text(memo: bytes) -> str:
    try:
        return memo.decode()
    except UnicodeDecodeError:
        raise Rejected("a memo that is no text") from None
