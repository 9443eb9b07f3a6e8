"""What daemon and signer say to each other: frames of a length and one JSON message.

4 bytes length, big-endian -> JSON of `Ask` (one call) or `Answer` (a result or a failure)
The first call of a connection is `Hello`. JSON, because amounts have more digits than the integers
of binary formats; strict, because the other side may be hostile.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from chain_adapter.errors import (
    AdapterError,
    AlreadyRunning,
    ConfigError,
    EnvelopeError,
    KeyFileError,
    SigningRefused,
    SigningWaits,
    Unreachable,
)
from chain_adapter.keys.gate import Credit
from chain_adapter.keys.journal import Death, PayoutKey
from chain_adapter.keys.request import SignRequest

VERSION: Final = 1
MAX_FRAME: Final = 8 * 1024 * 1024
FRAME_TIMEOUT_S: Final = 30.0
DAEMON: Final = "daemon"
OPERATOR: Final = "operator"


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="call", tag=True):
    """One request. The class name is its name on the wire."""


class Hello(Call, frozen=True):
    version: int
    role: str


class Sign(Call, frozen=True):
    request: SignRequest


class Judge(Call, frozen=True):
    requests: tuple[SignRequest, ...]


class ReadJournal(Call, frozen=True):
    chain: str
    after: int


class ReadSettled(Call, frozen=True):
    pass


class Pin(Call, frozen=True):
    chain: str
    identity: str


class Close(Call, frozen=True):
    chain: str
    txid: str
    death: Death


class Settle(Call, frozen=True):
    payout: PayoutKey
    evidence: str
    by_whom: str


class Prove(Call, frozen=True):
    chain: str
    account: int
    index: int
    challenge: bytes


class Status(Call, frozen=True):
    pass


class Approve(Call, frozen=True):
    document: str


class Kill(Call, frozen=True):
    reason: str


class Resume(Call, frozen=True):
    by_whom: str


class ProposePolicy(Call, frozen=True):
    text: str


class CheckCredit(Call, frozen=True):
    credit: Credit


class ReadEvents(Call, frozen=True):
    after: int
    limit: int


class Seal(Call, frozen=True):
    plaintext: bytes


class Open(Call, frozen=True):
    data: str
    sign: str


AnyCall = (
    Hello
    | Sign
    | Judge
    | ReadJournal
    | ReadSettled
    | Pin
    | Close
    | Settle
    | Prove
    | Status
    | Approve
    | Kill
    | Resume
    | ProposePolicy
    | CheckCredit
    | ReadEvents
    | Seal
    | Open
)
FOR_DAEMON: Final = (Sign, Judge, Pin, Close, Prove, CheckCredit, Seal, Open)


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`id` comes back in the answer: many may be under way on one connection."""

    id: int
    call: AnyCall


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: str
    text: str
    for_good: bool = False
    waits_for: str = ""


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: int
    failure: Failure | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")


class Damaged(AdapterError):
    """A frame that is none: too large, cut, not of this protocol."""


_KINDS: Final[dict[str, type[AdapterError]]] = {
    kind.__name__: kind
    for kind in (
        AlreadyRunning,
        ConfigError,
        EnvelopeError,
        KeyFileError,
        SigningRefused,
        Unreachable,
    )
}


def failure_of(problem: BaseException) -> Failure:
    """An error as it goes over the wire; an unknown one without its text, which may hold data."""
    if isinstance(problem, SigningWaits):
        return Failure("SigningRefused", problem.why, waits_for=problem.waits_for)
    if isinstance(problem, SigningRefused):
        return Failure("SigningRefused", problem.why, problem.for_good)
    for name, kind in _KINDS.items():
        if isinstance(problem, kind):
            return Failure(name, str(problem))
    return Failure("Unreachable", f"the signer failed inside ({type(problem).__name__})")


def error_of(failure: Failure) -> AdapterError:
    """The error that `failure_of` was made from."""
    if failure.kind == "SigningRefused":
        return refusal_of(failure)
    return _KINDS.get(failure.kind, Unreachable)(failure.text)


def refusal_of(failure: Failure) -> SigningRefused:
    """The refusal that `failure_of` was made from."""
    if failure.waits_for:
        return SigningWaits(failure.text, failure.waits_for)
    return SigningRefused(failure.text, for_good=failure.for_good)


def frame(message: Ask | Answer) -> bytes:
    """The bytes of one frame. Raises `Damaged` for one that is too large."""
    body = msgspec.json.encode(message)
    if len(body) > MAX_FRAME:
        raise Damaged(f"a message of {len(body)} bytes is larger than {MAX_FRAME}")
    return len(body).to_bytes(4) + body


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """The body of the next frame; None at the end. Raises `Damaged`.

    May wait for ever between frames, but a frame that has begun must end in time.
    """
    try:
        head = await reader.readexactly(4)
    except asyncio.IncompleteReadError as cut:
        if cut.partial:
            raise Damaged("a frame ends in its length") from None
        return None
    except ConnectionError:
        return None
    size = int.from_bytes(head)
    if not 0 < size <= MAX_FRAME:
        raise Damaged(f"a frame of {size} bytes")
    try:
        async with asyncio.timeout(FRAME_TIMEOUT_S):
            return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
        raise Damaged("a frame is cut short") from None


def decode_ask(body: bytes) -> Ask:
    """Raises `Damaged` for anything that is no call of this version."""
    try:
        return msgspec.json.decode(body, type=Ask)
    except (msgspec.MsgspecError, ValueError, RecursionError) as problem:
        raise Damaged(f"no request of this protocol: {problem}") from None
