"""Where a private key may live: in the keystore, behind a signing server, or in a key service.

message (derived by the plugin's `inspect`) -> backend -> signature -> held against the public key
A remote backend is believed in nothing: its signature must be by the expected key over exactly our
message, or nothing was signed. Rules, journal, policy and log are the same for all of them.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from coincurve import PublicKey

from chain_adapter.errors import ConfigError, SigningRefused, Unreachable

MAX_ANSWER: Final = 1 << 20
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class KeyBackend(Protocol):
    """One key that signs somewhere else. Called in the signer's own thread, one at a time."""

    public_key: bytes  # compressed

    def sign(self, message: bytes, payload: bytes) -> bytes:
        """r‖s‖v over `message`; `payload` is what it was derived from.

        Raises `Unreachable`, or `SigningRefused` when the service refuses or signs anything else.
        """
        ...


class HttpEndpoint:
    """POST to one URL. Plain http is for loopback only. Redirects are not followed."""

    def __init__(
        self, url: str, *, timeout_s: float = 10.0, tls: ssl.SSLContext | None = None
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(f"key service: {url!r} is no http(s) URL")
        if parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
            raise ConfigError(f"key service {parts.hostname}: plain http is for loopback only")
        if parts.username or parts.password:
            raise ConfigError("key service: credentials belong into a file, not into the URL")
        self.host = parts.hostname
        self.authority = parts.netloc
        self.path = parts.path or "/"
        self._port = parts.port
        self._timeout_s = timeout_s
        self._tls = (tls or ssl.create_default_context()) if parts.scheme == "https" else None

    def post(self, body: bytes, headers: Mapping[str, str]) -> Any:
        """The parsed JSON answer. Raises `Unreachable`, `SigningRefused` for a 4xx."""
        made: http.client.HTTPConnection
        if self._tls is not None:
            made = http.client.HTTPSConnection(
                self.host, self._port, timeout=self._timeout_s, context=self._tls
            )
        else:
            made = http.client.HTTPConnection(self.host, self._port, timeout=self._timeout_s)
        try:
            made.request("POST", self.path, body=body, headers=dict(headers))
            answer = made.getresponse()
            content = answer.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as problem:
            raise Unreachable(
                f"key service {self.host}: no answer ({type(problem).__name__})"
            ) from None
        finally:
            made.close()
        if 400 <= answer.status < 500:
            raise SigningRefused(f"key service {self.host} answered {answer.status}")
        if answer.status != 200 or len(content) > MAX_ANSWER:
            raise Unreachable(f"key service {self.host} answered {answer.status}")
        try:
            return json.loads(content)
        except ValueError:
            raise Unreachable(f"key service {self.host}: its answer is no JSON") from None


class TransactionServerKey:
    """A key behind a server that speaks `eth_signTransaction` (Web3Signer and others).

    `describe` gives the fields of a payload as that call takes them. What comes back is a whole
    signed transaction; only its signature is taken, and only if it is over our message: then the
    server signed the very transaction that the rules have looked at.
    """

    def __init__(
        self,
        endpoint: HttpEndpoint,
        public_key: bytes,
        address: str,
        describe: Callable[[bytes], Mapping[str, str]],
    ) -> None:
        self.public_key = public_key
        self._endpoint = endpoint
        self._address = address
        self._describe = describe

    def sign(self, message: bytes, payload: bytes) -> bytes:
        if not payload:
            raise SigningRefused("a key behind a transaction server signs transactions only")
        fields = {"from": self._address, **self._describe(payload)}
        ask = {"jsonrpc": "2.0", "id": 1, "method": "eth_signTransaction", "params": [fields]}
        found = self._endpoint.post(json.dumps(ask).encode(), {"Content-Type": "application/json"})
        if not isinstance(found, dict) or "error" in found:
            raise SigningRefused(f"key service {self._endpoint.host} refused to sign")
        result = found.get("result")
        text = result.get("raw") if isinstance(result, dict) else result
        try:
            raw = bytes.fromhex(str(text).removeprefix("0x"))
            r, s = _last_two(raw)
        except ValueError:
            raise Unreachable(
                f"key service {self._endpoint.host}: its answer is no signed transaction"
            ) from None
        return recoverable(self.public_key, message, r, s)


def recoverable(public_key: bytes, message: bytes, r: int, s: int) -> bytes:
    """r‖s‖v with low s, by `public_key` over `message`. `SigningRefused` if it is not."""
    if not (0 < r < _ORDER and 0 < s < _ORDER):
        raise SigningRefused("the key service's signature is out of range")
    s = min(s, _ORDER - s)  # both are valid; chains take the low one
    for v in range(4):
        made = r.to_bytes(32) + s.to_bytes(32) + bytes([v])
        try:
            found = PublicKey.from_signature_and_message(made, message, hasher=None)
        except ValueError:
            continue
        if found.format(compressed=True) == public_key:
            return made
    raise SigningRefused("the key service signed something else, or with another key")


def _last_two(raw: bytes) -> tuple[int, int]:
    """r and s: the last two items of the RLP list of a signed transaction. `ValueError`."""
    start = 1 if raw[:1] and raw[0] < 0x80 else 0  # the type byte of EIP-2718
    at, end, is_list = _span(raw, start)
    if not is_list or end != len(raw):
        raise ValueError("no RLP list")
    items: list[bytes] = []
    while at < end:
        inner, at, _ = _span(raw, at)
        items.append(raw[inner:at])
    if at != end or len(items) < 3:
        raise ValueError("no signed transaction")
    return int.from_bytes(items[-2]), int.from_bytes(items[-1])


def _span(data: bytes, at: int) -> tuple[int, int, bool]:
    if at >= len(data):
        raise ValueError("RLP ends early")
    first = data[at]
    if first < 0x80:
        return at, at + 1, False
    is_list = first >= 0xC0
    size, start = first - (0xC0 if is_list else 0x80), at + 1
    if size > 55:
        count = size - 55
        size, start = int.from_bytes(data[start : start + count]), start + count
    if start + size > len(data):
        raise ValueError("RLP ends early")
    return start, start + size, is_list
