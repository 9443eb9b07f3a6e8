"""Which addresses are ours, told by deriving them: nobody's word is taken for it.

A set of derived deposit addresses for each chain, grown on demand: far beyond the highest one that
was ever asked for, and no further, so that an address that is not ours costs a bounded search.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chain_adapter.keys.derivation import Account
from chain_adapter.keys.keystore import Keystore
from chain_adapter.keys.request import SignerChain
from chain_adapter.keys.schemes import scheme_named

GAP: Final = 10_000
_STEP: Final = 500


@dataclass(slots=True)
class _Derived:
    indexes: dict[str, int] = field(default_factory=dict)
    next_index: int = 0
    highest_asked: int = 0


class OwnAddresses:
    """Deposit addresses of every chain (and its hot address, which memo chains share out)."""

    def __init__(self, keystore: Keystore, chains: Mapping[str, SignerChain]) -> None:
        self._keystore = keystore
        self._chains = dict(chains)
        self._derived: dict[str, _Derived] = {}
        self._lock = threading.Lock()

    def holds(self, symbol: str, address: str) -> bool:
        """Whether it is a deposit address of ours on the chain of `symbol`."""
        for name, chain in self._chains.items():
            if any(asset.symbol == symbol for asset in chain.assets.values()):
                with self._lock:
                    return self._search(name, chain, address)
        return False

    def _search(self, name: str, chain: SignerChain, address: str) -> bool:
        known = self._derived.get(name)
        if known is None:
            known = self._derived[name] = _Derived({self._at(chain, Account.HOT, 0): 0})
        while address not in known.indexes and known.next_index < known.highest_asked + GAP:
            for index in range(known.next_index, known.next_index + _STEP):
                known.indexes[self._at(chain, Account.DEPOSIT, index)] = index
            known.next_index += _STEP
        found = known.indexes.get(address)
        if found is None:
            return False
        known.highest_asked = max(known.highest_asked, found)
        return True

    def _at(self, chain: SignerChain, account: Account, index: int) -> str:
        info = chain.chain.info
        private_key = self._keystore.private_key(info.scheme, info.coin_type, account, index)
        return chain.chain.address_of(scheme_named(info.scheme).public_key(private_key))
