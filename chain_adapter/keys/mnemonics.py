"""BIP-39: words for a person to write down, and the seed that they stand for.

system entropy, mixed with the operator's -> 24 English words -> 64-byte seed (PBKDF2)
"""

from __future__ import annotations

import hmac
import secrets
import unicodedata

from mnemonic import Mnemonic

from chain_adapter.errors import KeyFileError

_WORDS = Mnemonic("english")


def new_mnemonic(extra_entropy: bytes = b"") -> str:
    """24 English words of 256 bits; `extra_entropy` (dice, keys) is mixed with the system's.

    Mixing is one-way (HMAC-SHA-256 keyed by the system's bits): neither side alone decides.
    """
    entropy = hmac.digest(secrets.token_bytes(32), extra_entropy, "sha256")
    return str(_WORDS.to_mnemonic(entropy))


def seed_of(mnemonic: str) -> bytes:
    """The 64-byte BIP-39 seed of an English mnemonic, without a passphrase ("25th word").

    Case and spacing do not matter. Raises `KeyFileError` for an unknown word or a wrong checksum,
    without repeating the text.
    """
    words = unicodedata.normalize("NFKD", mnemonic).lower().split()
    if len(words) not in (12, 15, 18, 21, 24):
        raise KeyFileError(f"a mnemonic has 12, 15, 18, 21 or 24 words, not {len(words)}")
    for place, word in enumerate(words, start=1):
        if word not in _WORDS.wordlist:
            raise KeyFileError(f"word {place} of the mnemonic is not in the English word list")
    text = " ".join(words)
    if not _WORDS.check(text):
        raise KeyFileError("the checksum of the mnemonic is wrong: a word is wrong or misplaced")
    return bytes(Mnemonic.to_seed(text))
