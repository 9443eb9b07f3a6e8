"""Events: whether they are all there, and which of them move a token of ours. Pure.

Nodes answer logs early, partly, or of another block, without an error. So: every log carries the
block's hash; indexes run 0…n−1; none only if the bloom is zero; near the head the bloom made from
them is the header's. Only `Transfer(address,address,uint256)` of a listed contract moves anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from msgspec.json import encode

from chain_adapter.chain import Proof, Unavailable
from chain_adapter_evm.codec import ZERO_ADDRESS, keccak, word
from chain_adapter_evm.match import KEY_BYTES, Assets, Recipients, Token, join_keys
from chain_adapter_evm.proof import Holder
from chain_adapter_evm.wire import Log, texts_of

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_PADDING = "0x" + "0" * 24
_WORD_CHARS = 66
_TRANSFER_TOPICS = 3
# three topics as nodes write them, ["0x…","0x…","0x…"], and where the addresses stand in it
_COMPACT = 208
_FROM, _TO = slice(97, 137), slice(166, 206)
_INDEXES = [hex(n) for n in range(4096)]


@dataclass(frozen=True, slots=True)
class Movement:
    """One Transfer log of a listed contract."""

    txid: str
    place: str
    token: Token
    sender: bytes
    to: bytes
    amount: int


def check_logs(
    where: str,
    block: tuple[int, str],
    bloom: str,
    logs: Sequence[Log],
    *,
    near_head: bool,
    blooms: bool,
) -> None:
    """Raises `Unavailable` unless these can be all logs of the block (height, hash)."""
    height, block_hash = block
    count = len(logs)
    if not count:
        if blooms and bloom.strip("0x"):
            raise Unavailable(f"{where}: no logs of block {height} yet, though its bloom says some")
        return
    global _INDEXES  # noqa: PLW0603  grown once for a chain with larger blocks
    if count > len(_INDEXES):
        _INDEXES = [hex(n) for n in range(count * 2)]
    if [log.logIndex for log in logs] != _INDEXES[:count]:
        raise Unavailable(f"{where}: logs of block {height} are not whole: an index is missing")
    if [log.blockHash for log in logs] != [block_hash] * count:
        raise Unavailable(f"{where}: logs are of another block than {block_hash}")
    if near_head and blooms:
        try:
            whole = bloom_of(logs) == int(bloom, 16)
        except ValueError:  # of msgspec too
            raise Unavailable(f"{where}: logs of block {height} have no proper topics") from None
        if not whole:
            raise Unavailable(f"{where}: logs of block {height} are not whole: the bloom differs")


def bloom_of(logs: Iterable[Log]) -> int:
    """The 2048-bit bloom of addresses and topics. `ValueError` for topics that are none."""
    bloom = 0
    for log in logs:
        bloom |= _bits(log.address)
        for topic in texts_of(log.topics):
            bloom |= _bits(topic)
    return bloom


@lru_cache(maxsize=16384)
def _bits(text: str) -> int:
    digest = keccak(bytes.fromhex(text[2:]))
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return bits


@dataclass(frozen=True, slots=True)
class Moves:
    """What a block's logs hold for us."""

    arrived: list[Movement]
    left: list[Movement]  # out of the accounts that signed `own` transactions, by these
    expected: dict[Holder, int]  # balance differences that the arrivals must show


def moves_of(
    where: str,
    logs: Sequence[Log],
    assets: Assets,
    to: Recipients,
    own: dict[str, str],
    mints: bool,
) -> Moves | None:
    """Movements towards us, and out of us by `own` transactions (txid -> its sender, as told).

    `logs` are all of the block, checked. Zero amounts, payments to oneself, and, unless `mints`,
    those from the zero address bring nothing.
    """
    tokens = assets.by_contract
    topics = [bytes(log.topics) for log in logs if log.address in tokens]
    if not topics:
        return None
    spread = set(map(len, topics)) != {_COMPACT}
    if spread:
        topics = [_compact(where, each) for each in topics]
    recipients = b"".join([each[_TO] for each in topics])
    ours = to.among(join_keys(where, recipients, len(recipients) // (2 * KEY_BYTES)))
    if not ours and not own:
        return None  # nearly always
    found = [log for log in logs if log.address in tokens]
    if spread:
        found = [log for log, each in zip(found, topics, strict=True) if each]
        topics = [each for each in topics if each]
    arrived = [
        move
        for move in [_movement(where, found[index], logs, tokens) for index in ours]
        if move is not None
        and move.amount
        and move.sender != move.to
        and (mints or move.sender != ZERO_ADDRESS)
    ]
    left = []
    if own:
        for log, each in zip(found, topics, strict=True):
            sender = own.get(log.transactionHash)
            if sender is not None and each[_FROM] == sender[2:].lower().encode():
                move = _movement(where, log, logs, tokens)
                if move is not None and move.amount:
                    left.append(move)
    return Moves(arrived, left, _expected(where, arrived, found, topics, logs, assets))


def _compact(where: str, topics: bytes) -> bytes:
    """Three topics as JSON without a blank; empty if there are not three."""
    try:
        texts = texts_of(topics)
    except ValueError as error:  # of msgspec too
        raise Unavailable(f"{where}: the topics of a log: {error}") from None
    written = encode(texts)
    return written if len(written) == _COMPACT and len(texts) == _TRANSFER_TOPICS else b""


def _expected(
    where: str,
    arrived: Sequence[Movement],
    found: Sequence[Log],
    topics: Sequence[bytes],
    logs: Sequence[Log],
    assets: Assets,
) -> dict[Holder, int]:
    """What each holder gained by the logs of the block, for tokens that are proven."""
    sums: dict[Holder, int] = {
        (move.token.address, move.to): 0 for move in arrived if move.token.proof is not Proof.OFF
    }
    if not sums:
        return sums
    digits = {owner.hex().encode() for _, owner in sums}
    for log, each in zip(found, topics, strict=True):
        if each[_FROM] not in digits and each[_TO] not in digits:
            continue
        move = _movement(where, log, logs, assets.by_contract)
        if move is None:
            continue
        contract = move.token.address
        if (contract, move.to) in sums:
            sums[contract, move.to] += move.amount
        if (contract, move.sender) in sums:
            sums[contract, move.sender] -= move.amount
    return sums


def _movement(
    where: str, log: Log, logs: Sequence[Log], tokens: dict[str, Token]
) -> Movement | None:
    """The movement of a log; None if it is no Transfer between addresses."""
    try:
        event, sender, to = texts_of(log.topics)
        if event != TRANSFER or len(log.data) != _WORD_CHARS:
            return None
        if not (sender.startswith(_PADDING) and to.startswith(_PADDING)):
            return None
        amount = word(log.data)
    except ValueError as error:  # of msgspec too
        raise Unavailable(f"{where}: a Transfer log of {log.address}: {error}") from None
    first = index = int(log.logIndex, 16)
    while first and logs[first - 1].transactionHash == log.transactionHash:
        first -= 1
    return Movement(
        txid=log.transactionHash.lower(),
        place=f"log/{index - first}",
        token=tokens[log.address],
        sender=join_keys(where, sender[26:], 1),
        to=join_keys(where, to[26:], 1),
        amount=amount,
    )
