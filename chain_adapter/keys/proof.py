"""Proof that the signer has the key behind an address: asked before an address is registered."""

from __future__ import annotations

import hashlib
from typing import Final

from chain_adapter.keys.schemes import scheme_named

_PROOF_LABEL: Final = b"\xff\xffchain-adapter/prove/1\x00"  # begins like no chain's transaction


def proof_message(chain: str, address: str, challenge: bytes) -> bytes:
    """What `prove` signs: a digest of its own domain, so it can never be a transaction's."""
    hasher = hashlib.sha256(_PROOF_LABEL)
    for part in (chain.encode(), address.encode(), challenge):
        hasher.update(len(part).to_bytes(4) + part)
    return hasher.digest()


def verify_proof(
    scheme: str, public_key: bytes, chain: str, address: str, challenge: bytes, proof: bytes
) -> bool:
    """Whether `proof` shows that the signer has the key behind `address`."""
    return scheme_named(scheme).verify(public_key, proof_message(chain, address, challenge), proof)
