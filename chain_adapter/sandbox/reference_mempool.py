"""The mempool of the reference chain: what it takes, what replaces what, what it forgets.

A signed transaction is decoded, its signatures and funds are checked, and it takes the place of
pending ones with the same lock if it pays enough more. Miners read it oldest first.
"""

from __future__ import annotations

from chain_adapter.chain import Rejected
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter.sandbox.reference_state import Coin, State, Tx
from chain_adapter.sandbox.reference_tx import NATIVE, Body

BUMP_PERCENT = 10  # a replacement pays so much more


class Mempool:
    """Pending transactions over one `State`. `binds` is what bodies of this network name."""

    def __init__(self, state: State, *, expiring: bool) -> None:
        self.binds = ""
        self.pending: dict[str, Tx] = {}
        self.stuck: set[str] = set()
        self.by_lock: dict[str, str] = {}
        self._state = state
        self._flavour = state.flavour
        self._expiring = expiring

    def ready(self) -> list[Tx]:
        """What a miner may include, oldest first."""
        return [one for txid, one in self.pending.items() if txid not in self.stuck]

    def add(self, one: Tx) -> None:
        self.pending[one.txid] = one
        for lock in tx.locks_of(one.body) if not one.forged else ():
            self.by_lock[lock] = one.txid

    def drop(self, txid: str) -> None:
        one = self.pending.pop(txid, None)
        self.stuck.discard(txid)
        for lock in tx.locks_of(one.body) if one and not one.forged else ():
            if self.by_lock.get(lock) == txid:
                del self.by_lock[lock]

    def submit(self, raw: bytes, next_clock: int) -> str:
        """Take a signed transaction; returns its txid. Already known is success.

        Raises `Rejected` for what cannot be included as things are.
        """
        signed: tx.Signed = tx.decode(raw, tx.Signed)
        body: Body = tx.decode(signed.body, Body)
        txid = tx.txid_of(body, raw, signed.body)
        if txid in self.pending or txid in self._state.included:
            return txid
        if body.flavour is not self._flavour or body.binds != self.binds:
            raise Rejected("signed for another network")
        if (body.expires is not None) != self._expiring:
            raise Rejected("this network has other transactions")
        owners = self._verify(body, signed)
        if body.expires is not None and next_clock > body.expires:
            raise Rejected("expired")
        self._screen(body, owners[0])
        self._replace(body)
        self.add(Tx(txid, body, raw, owners=owners))
        return txid

    def _verify(self, body: Body, signed: tx.Signed) -> tuple[bytes, ...]:
        """The address keys that signed, in order; on coin chains each signature is followed by the
        public key whose hash the coin is locked to."""
        if len(signed.signatures) != max(len(body.inputs), 1):
            raise Rejected("as many signatures as inputs are needed")
        keys, behind = [body.sender], []
        if body.inputs:
            coins = self._coins_of(body)
            keys = [one[65:] for one in signed.signatures]
            behind = [(key, coin.amount) for key, coin in zip(keys, coins, strict=True)]
            if [tx.key_of(self._flavour, key) for key in keys] != [coin.to for coin in coins]:
                raise Rejected("an input is not owned by its signer")
        pairs = zip(signed.signatures, tx.digests(signed.body, behind), strict=True)
        if [tx.signed_by(one[:65], digest) for one, digest in pairs] != keys:
            raise Rejected("bad signature")
        return tuple(tx.key_of(self._flavour, key) for key in keys)

    def _coins_of(self, body: Body) -> list[Coin]:
        """Coins behind the inputs, those of pending transactions too."""
        found = []
        for lock in body.inputs:
            coin = self._state.coins.get(lock)
            parent, _, index = lock.partition(":")
            if coin is None and parent in self.pending and index.isdigit():
                made = self.pending[parent].body.outputs
                if int(index) < len(made):
                    coin = Coin(made[int(index)].to, made[int(index)].amount)
            if coin is None:
                raise Rejected(f"input {lock} is missing or spent")
            found.append(coin)
        return found

    def _screen(self, body: Body, owner: bytes) -> None:
        if body.inputs:
            if self._bid(body) < self._state.fee_floor * tx.weight(body):
                raise Rejected("fee below the floor")
            return
        if body.sequence is not None and body.sequence < self._state.sequences.get(owner, 0):
            raise Rejected("sequence already used")
        if body.price < self._state.fee_floor:
            raise Rejected("fee below the floor")
        if self._state.balance(NATIVE, owner) < body.price * tx.weight(body):
            raise Rejected("balance does not cover the highest fee")

    def _replace(self, body: Body) -> None:
        locks = tx.locks_of(body)
        old = {self.by_lock[lock] for lock in locks if lock in self.by_lock}
        for txid in old:
            least = (100 + BUMP_PERCENT) * self._bid(self.pending[txid].body)
            if 100 * self._bid(body) < least:
                raise Rejected(f"does not pay {BUMP_PERCENT} % more than pending {txid}")
        for txid in old:
            self.drop(txid)

    def _bid(self, body: Body) -> int:
        """What a miner compares: the price, or the whole fee of a coin transaction."""
        if not body.inputs:
            return body.price
        total = sum(coin.amount for coin in self._coins_of(body))
        return total - sum(output.amount for output in body.outputs)
