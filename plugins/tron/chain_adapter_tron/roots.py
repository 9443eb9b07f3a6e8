"""A block held against its own id. Pure.

The id is the hash of the header, the header holds the root of all transactions, and a
transaction's leaf holds its result. So a node can neither leave a transaction out, nor add one, nor
change what `contractRet` says, without another block id; which the next block's parent and other
endpoints would contradict.
"""

from __future__ import annotations

from chain_adapter_tron.address import sha256
from chain_adapter_tron.protobuf import bytes_field, message_field, number_field
from chain_adapter_tron.wire import FullBlock, HeaderRaw, Ret, Tx

PUBLIC = ("2b6653dc", "cd8690dc", "94a9059e")
"""Ends of the ids of block 0: the main network, Nile, Shasta."""

RESULTS = (
    "DEFAULT", "SUCCESS", "REVERT", "BAD_JUMP_DESTINATION", "OUT_OF_MEMORY",
    "PRECOMPILED_CONTRACT", "STACK_TOO_SMALL", "STACK_TOO_LARGE", "ILLEGAL_OPERATION",
    "STACK_OVERFLOW", "OUT_OF_ENERGY", "OUT_OF_TIME", "JVM_STACK_OVER_FLOW", "UNKNOWN",
    "TRANSFER_FAILED", "INVALID_CODE",
)  # fmt: skip
"""`contractRet` by its number."""


def merkle_root(leaves: list[bytes]) -> bytes:
    """Root of hashes: pairs are hashed, an odd one goes up as it is; zeros where there are none."""
    if not leaves:
        return bytes(32)
    while len(leaves) > 1:
        pairs = [leaves[at : at + 2] for at in range(0, len(leaves), 2)]
        leaves = [sha256(b"".join(pair)) if len(pair) > 1 else pair[0] for pair in pairs]
    return leaves[0]


def header_id(header: HeaderRaw) -> str:
    """The block id that a header has. Raises `ValueError` for a header that is not hex."""
    told = (
        number_field(1, header.timestamp) + bytes_field(2, bytes.fromhex(header.txTrieRoot))
        + bytes_field(3, bytes.fromhex(header.parentHash)) + number_field(7, header.number)
        + number_field(8, header.witness_id)
        + bytes_field(9, bytes.fromhex(header.witness_address)) + number_field(10, header.version)
        + bytes_field(11, bytes.fromhex(header.accountStateRoot))
    )  # fmt: skip
    return header.number.to_bytes(8, "big").hex() + sha256(told)[8:].hex()


def leaf(tx: Tx) -> bytes:
    """Hash of a transaction with its signatures and result. `ValueError` for what is not hex."""
    out = message_field(1, bytes.fromhex(tx.raw_data_hex))
    for signature in tx.signature:
        out += message_field(2, bytes.fromhex(signature))
    for ret in tx.ret:
        out += message_field(5, _result(ret))
    return sha256(out)


def _result(ret: Ret) -> bytes:
    out = number_field(1, ret.fee) + number_field(2, int(ret.ret == "FAILED"))
    return out + (number_field(3, RESULTS.index(ret.contractRet)) if ret.contractRet else b"")


def contradiction(block: FullBlock) -> str | None:
    """What of a block does not fit its id; None where all does."""
    header = block.block_header.raw_data
    try:
        if header_id(header) != block.blockID.lower():
            return "its header has another hash than its id says"
        if merkle_root([leaf(tx) for tx in block.transactions]).hex() != header.txTrieRoot.lower():
            return "its transactions have another root than its header says"
    except ValueError as error:
        return f"it cannot be held against its id: {error}"
    return None
