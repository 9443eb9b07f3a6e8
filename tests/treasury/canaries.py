"""Secrets in every spelling in which they could leak, and the hunt for them through a folder."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from chain_adapter.keys.derivation import Account, account_node
from chain_adapter.keys.keystore import Keystore
from chain_adapter.platform_api.envelope import load_private_key


def spellings(name: str, raw: bytes) -> Iterator[tuple[str, bytes]]:
    """Raw, hexadecimal of both cases, decimal, Base64 of both alphabets, Python's repr."""
    yield name, raw
    yield f"{name}, hex", raw.hex().encode()
    yield f"{name}, HEX", raw.hex().upper().encode()
    yield f"{name}, decimal", str(int.from_bytes(raw, "big")).encode()
    yield f"{name}, decimal, little", str(int.from_bytes(raw, "little")).encode()
    yield f"{name}, base64", base64.b64encode(raw).rstrip(b"=")[:-1]
    yield f"{name}, base64url", base64.urlsafe_b64encode(raw).rstrip(b"=")[:-1]
    yield f"{name}, repr", repr(raw)[2:-1].encode()


def of_words(mnemonic: str) -> Iterator[tuple[str, bytes]]:
    """Any three words in their order, however they are joined."""
    words = mnemonic.split()
    for i in range(len(words) - 2):
        for joint in (" ", ",", ", ", "', '", '","', '", "', "\n", "-", "_"):
            yield f"words {i + 1} to {i + 3}", joint.join(words[i : i + 3]).encode()


def of_keystore(keystore: Keystore, coin_type: int, deposits: int) -> Iterator[tuple[str, bytes]]:
    """The seed and every private key that the run has used."""
    seed = bytes(keystore._seed)
    yield from spellings("seed", seed)
    yield from spellings("first half of the seed", seed[:32])
    yield from spellings("audit key", keystore.audit_key)
    for account in Account:
        node = account_node(seed, coin_type, account)
        yield f"xprv of account {account}", node.xprv().encode()
        count = deposits if account is Account.DEPOSIT else 1
        for index in range(count):
            key = keystore.private_key("secp256k1", coin_type, account, index)
            yield from spellings(f"key {account}/{index}", key)


def of_rsa(name: str, pem: bytes) -> Iterator[tuple[str, bytes]]:
    """The private numbers of an RSA key, and the lines of its file."""
    numbers = load_private_key(pem).private_numbers()
    for what, number in (("d", numbers.d), ("p", numbers.p), ("q", numbers.q)):
        yield from spellings(f"{name} {what}", number.to_bytes((number.bit_length() + 7) // 8))
    der = load_private_key(pem).private_bytes(
        Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
    )  # fmt: skip
    text = base64.b64encode(der).decode()
    for at in range(400, len(text) - 40, 64):  # behind what the public key shows too
        yield f"{name}, Base64 from {at}", text[at : at + 40].encode()
    lines = [line for line in pem.decode().splitlines() if not line.startswith("-----")]
    for line in lines[8:]:
        yield f"{name}, a line of its file", line.encode()


def hunt(texts: Iterable[tuple[str, bytes]], canaries: Iterable[tuple[str, bytes]]) -> list[str]:
    """Where which canary was found."""
    wanted = [(name, needle) for name, needle in canaries if len(needle) >= 8]
    return [
        f"{name} in {where}"
        for where, content in texts
        for name, needle in wanted
        if needle in content
    ]


def files_below(folder: Path, given: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    """Every file, but those that the secrets were given in."""
    left_out = {path.resolve() for path in given}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.resolve() not in left_out:
            yield str(path.relative_to(folder)), path.read_bytes()
