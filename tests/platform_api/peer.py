"""The other side of the envelope for tests: a real server that answers as it is told to.

`Peer` keeps what it was asked (opened and verified) and gives the next scripted answer.
`vectors()` are the recorded envelopes; `keys()` and the envelopes made of their keys are cached,
since reading a key costs tens of milliseconds.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter.platform_api.envelope import Envelope, load_private_key

VECTORS = Path(__file__).resolve().parents[1] / "vectors"


@cache
def vectors() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((VECTORS / "wapi.json").read_text("utf-8"))
    return found


@cache
def keys(party: str) -> rsa.RSAPrivateKey:
    return load_private_key(vectors()[party]["private_pkcs8_der_b64"].encode())


@cache
def stranger() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def ours() -> Envelope:
    return Envelope(keys("party_a"), keys("party_b").public_key())


def theirs() -> Envelope:
    return Envelope(keys("party_b"), keys("party_a").public_key())


Answer = web.Response | Callable[[web.Request], Awaitable[web.StreamResponse]]


def sealed(payload: Any, *, by: Envelope | None = None, code: Any = 0) -> web.Response:
    """A successful answer with a signed payload: bytes as they are, anything else as JSON."""
    plaintext = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    envelope = (by or theirs()).seal(plaintext)
    return plain(code=code, msg="success", data=envelope.data, sign=envelope.sign)


def plain(**answer: Any) -> web.Response:
    return web.Response(text=json.dumps(answer), content_type="application/json")


def done(code: Any = 0) -> web.Response:
    return plain(code=code, msg="success", data="", sign="")


@dataclass
class Peer:
    """Scripted answers, in order; the last one is given for ever."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[tuple[str, dict[str, Any], bytes]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    url: str = ""

    def will(self, *answers: Answer) -> None:
        self.answers = list(answers)

    @property
    def plaintext(self) -> bytes:
        """What the last request said."""
        return self.asked[-1][2]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        outer = json.loads(await request.read())
        self.connections.add(request.transport)
        opened = theirs().open(outer["data"], outer["sign"])
        self.asked.append((request.path, outer, opened))
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if callable(answer):
            return await answer(request)
        # a response object can be sent only once
        headers = {k: v for k, v in answer.headers.items() if k != "Content-Length"}
        return web.Response(status=answer.status, body=answer.body, headers=headers)
