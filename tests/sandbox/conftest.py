"""A platform over real sockets and a party A written from the protocol alone (pycryptodome)."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from Crypto.Cipher import PKCS1_v1_5 as Encryption
from Crypto.Hash import SHA256
from Crypto.PublicKey import RSA
from Crypto.Signature import pkcs1_15

from chain_adapter.sandbox.server import Sandbox

STATE_FILES = (
    "app_id",
    "party_a_private.pem",
    "party_a_public.pem",
    "platform_private.pem",
    "platform_public.pem",
)


def to_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def from_base64(text: str) -> bytes:
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    return base64.b64decode(plain + "=" * (-len(plain) % 4))


@dataclass
class Answer:
    """An answer, with what its envelope holds: `payload` is None where it is empty."""

    code: int
    payload: Any
    body: bytes
    raw: dict[str, Any]
    plaintext: bytes
    signed: bool
    status: int


@dataclass
class PartyA:
    """Speaks the protocol as its documents say; knows nothing of the product's own client."""

    url: str
    app_id: str
    own: RSA.RsaKey
    platform: RSA.RsaKey
    session: aiohttp.ClientSession

    def encrypt(self, plaintext: bytes) -> str:
        cipher = Encryption.new(self.platform)
        size = self.platform.size_in_bytes() - 11
        blocks = [
            cipher.encrypt(plaintext[at : at + size]) for at in range(0, len(plaintext), size)
        ]
        return to_base64(b"".join(blocks))

    def sign(self, plaintext: bytes) -> str:
        digest = SHA256.new(hashlib.md5(plaintext).hexdigest().encode())
        return to_base64(pkcs1_15.new(self.own).sign(digest))

    def request(self, plaintext: bytes, **changed: object) -> dict[str, object]:
        body: dict[str, object] = {
            "app_id": self.app_id,
            "time": time.time_ns() // 1_000_000,
            "data": self.encrypt(plaintext),
            "sign": self.sign(plaintext),
        }
        body.update(changed)
        return {name: value for name, value in body.items() if value is not ...}

    async def post(self, path: str, body: bytes) -> Answer:
        async with self.session.post(f"{self.url}/api/v1/{path}", data=body) as response:
            raw = await response.read()
            return self.read(raw, response.status)

    def read(self, body: bytes, status: int = 200) -> Answer:
        raw = json.loads(body, parse_float=str)
        plaintext, signed = b"", False
        if raw["data"]:
            cipher, data = Encryption.new(self.own), from_base64(raw["data"])
            size = self.own.size_in_bytes()
            assert len(data) % size == 0
            for at in range(0, len(data), size):
                plaintext += cipher.decrypt(data[at : at + size], b"?")
            digest = SHA256.new(hashlib.md5(plaintext).hexdigest().encode())
            try:
                pkcs1_15.new(self.platform).verify(digest, from_base64(raw["sign"]))
                signed = True
            except ValueError:
                signed = False
        payload = json.loads(plaintext) if plaintext else None
        return Answer(int(raw["code"]), payload, body, raw, plaintext, signed, status)

    async def call(self, path: str, fields: dict[str, object] | str) -> Answer:
        """`fields` as a text goes out as it is, so that a number keeps its digits."""
        text = fields if isinstance(fields, str) else json.dumps(fields)
        return await self.post(path, json.dumps(self.request(text.encode())).encode())

    # --- the seven calls, with sensible fields

    async def register(self, symbol: str, *addresses: str, memo: bool = False) -> Answer:
        fields = {"symbol": symbol, "addresses": ",".join(addresses), "memo": memo}
        return await self.call("address/register", fields)

    async def available(self, symbol: str) -> Answer:
        return await self.call("address/available", {"symbol": symbol})

    async def deposit(self, request_id: str, address_to: str, **changed: object) -> Answer:
        fields: dict[str, object] = {
            "request_id": request_id,
            "address_to": address_to,
            "txid": "T1",
            "amount": 1,
            "confirm": 3,
            "symbol": "VLX",
            "balance": 0,
            "status": 1,
        }
        return await self.call("deposit/notify", _changed(fields, changed))

    async def consume(self, symbol: str = "VLX") -> Answer:
        return await self.call("withdraw/consume", {"symbol": symbol})

    async def notify(self, trans_id: object, **changed: object) -> Answer:
        fields: dict[str, object] = {
            "trans_id": trans_id,
            "symbol": "VLX",
            "address_to": "to",
            "txid": "P1",
            "amount": 1,
            "fee": 0,
            "confirm": 0,
            "balance": 0,
        }
        return await self.call("withdraw/notify", _changed(fields, changed))

    async def cancel(self, trans_id: object, symbol: str = "VLX") -> Answer:
        fields = {"symbol": symbol, "trans_id": trans_id, "msg": "地址错误"}
        return await self.call("withdraw/cancel", fields)

    async def internal(self, txid: str, **changed: object) -> Answer:
        fields: dict[str, object] = {
            "address_to": "hot",
            "txid": txid,
            "amount": 0,
            "fee": 1,
            "confirm": 1,
            "symbol": "VLX",
            "balance": 0,
        }
        return await self.call("internal/notify", _changed(fields, changed))


def _changed(fields: dict[str, object], changed: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in (fields | changed).items() if value is not ...}


@dataclass
class Operator:
    """The control API."""

    url: str
    session: aiohttp.ClientSession
    status: int = field(default=0)

    async def get(self, path: str) -> Any:
        async with self.session.get(f"{self.url}/sandbox/{path}") as response:
            self.status = response.status
            return await response.json()

    async def post(self, path: str, fields: object, *, expect: int = 200) -> Any:
        data = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        async with self.session.post(f"{self.url}/sandbox/{path}", data=data) as response:
            answer = await response.json()
            assert response.status == expect, answer
            return answer

    async def coin(self, symbol: str, **changed: object) -> None:
        fields = {"symbol": symbol, "memo": False, "decimals": 8, "confirmations": 3}
        await self.post("coins", fields | changed)

    async def rule(self, rule: str, value: str) -> None:
        await self.post("behaviour", {"rule": rule, "value": value})

    async def fault(self, path: str, kind: str, **more: object) -> None:
        await self.post("faults", {"path": path, "kind": kind, "times": 1} | more)

    async def user(self, symbol: str = "VLX") -> Any:
        return await self.post("users", {"symbol": symbol})

    async def order(self, amount: object = "1", **changed: object) -> str:
        fields = {"symbol": "VLX", "address_to": "to", "amount": amount} | changed
        answer = await self.post("withdrawals", fields)
        assert isinstance(answer["trans_id"], str)
        return str(answer["trans_id"])

    async def withdrawal(self, trans_id: str) -> Any:
        (row,) = [row for row in await self.get("withdrawals") if row["trans_id"] == trans_id]
        return row

    async def deposit(self, request_id: str) -> Any:
        (row,) = [row for row in await self.get("deposits") if row["request_id"] == request_id]
        return row


@dataclass
class Platform:
    """Both ends of one sandbox."""

    sandbox: Sandbox
    party: PartyA
    control: Operator


@functools.cache
def read_key(pem: bytes) -> RSA.RsaKey:
    return RSA.import_key(pem)


def make_party(url: str, state: Path, session: aiohttp.ClientSession) -> PartyA:
    return PartyA(
        url,
        (state / "app_id").read_text().strip(),
        read_key((state / "party_a_private.pem").read_bytes()),
        read_key((state / "platform_public.pem").read_bytes()),
        session,
    )


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key files made once by a library that is not the product's."""
    directory = tmp_path_factory.mktemp("keys")
    for side in ("party_a", "platform"):
        key = RSA.generate(2048)
        (directory / f"{side}_private.pem").write_bytes(key.export_key(pkcs=8))
        (directory / f"{side}_public.pem").write_bytes(key.public_key().export_key())
    (directory / "app_id").write_text("an-app")
    return directory


@pytest.fixture
def state(keys: Path, tmp_path: Path) -> Path:
    """A state directory with keys and no books yet."""
    directory = tmp_path / "state"
    directory.mkdir()
    for name in STATE_FILES:
        (directory / name).write_bytes((keys / name).read_bytes())
    return directory


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as opened:
        yield opened


@pytest.fixture
def party_of(session: aiohttp.ClientSession) -> Callable[[str, Path], PartyA]:
    return lambda url, state: make_party(url, state, session)


@pytest.fixture
def operator_of(session: aiohttp.ClientSession) -> Callable[[str], Operator]:
    return lambda url: Operator(url, session)


@pytest.fixture
async def platform(state: Path, session: aiohttp.ClientSession) -> AsyncIterator[Platform]:
    """Coins of the public test environment, VLX and SRM (memo), and a token of VLX.

    All credit at three confirmations.
    """
    async with Sandbox(state) as sandbox:
        control = Operator(sandbox.url, session)
        await control.coin("VLX")
        await control.coin("SRM", memo=True)
        await control.coin("TOK", main_symbol="VLX", decimals=2)
        yield Platform(sandbox, make_party(sandbox.url, state, session), control)


@pytest.fixture
def party(platform: Platform) -> PartyA:
    return platform.party


@pytest.fixture
def control(platform: Platform) -> Operator:
    return platform.control
