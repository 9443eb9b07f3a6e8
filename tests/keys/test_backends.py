"""Keys that live elsewhere: the same rules, and a service that is believed in nothing."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from coincurve import PrivateKey
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    decode_dss_signature,
    encode_dss_signature,
)

from chain_adapter.chain import Asset, Intent, Payment
from chain_adapter.errors import ConfigError, KeyFileError, SigningRefused, Unreachable
from chain_adapter.keys.backends import HttpEndpoint, TransactionServerKey, recoverable
from chain_adapter.keys.key_service import Credentials, KmsKey, signature_v4
from chain_adapter.keys.signer import KeyPath, PayoutKey, Purpose, SignRequest
from chain_adapter.sandbox import reference_tx as tx
from chain_adapter_evm.chain import EvmPlugin
from chain_adapter_evm.codec import Unsigned, read_payload, write_payload
from chain_adapter_evm.settings import Settings
from tests.fixtures import Anvil
from tests.keys.world import CHAIN, World

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ANVIL_KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@contextmanager
def serving(answer: Callable[[dict[str, str], bytes], tuple[int, bytes]]) -> Iterator[str]:
    """A real HTTP server; `answer` gets headers and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content = answer(dict(self.headers.items()), body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# --- a transaction server -----------------------------------------------------------------------


def describe(payload: bytes) -> dict[str, str]:
    """The fields of an EVM payload as `eth_signTransaction` takes them."""
    made = read_payload(payload).tx
    fee = (
        {"gasPrice": hex(made.max_fee)}
        if made.tip is None
        else {"maxFeePerGas": hex(made.max_fee), "maxPriorityFeePerGas": hex(made.tip)}
    )
    return {
        "to": "0x" + made.to.hex(),
        "gas": hex(made.gas),
        "value": hex(made.value),
        "data": "0x" + made.data.hex(),
        "nonce": hex(made.nonce),
        "chainId": hex(made.chain_id),
        **fee,
    }


class EvmWorld(World):
    """The same signer over the pure half of the EVM plugin."""

    def __post_init__(self) -> None:
        super().__post_init__()
        settings = Settings(chain_id=31337, coin_type=1)
        assets = {"REF": Asset("REF", None, 18)}
        self.chain = EvmPlugin().open(settings, assets, None, lambda method: None)  # type: ignore[arg-type,return-value]

    def signer_chain(self) -> Any:
        made = super().signer_chain()
        return replace(made, assets={"REF": replace(made.assets["REF"], decimals=18)})


@pytest.mark.parametrize("tip", [None, 10**9])
async def test_transaction_server_signs_for_the_hot_key(
    tmp_path: Path, anvil: Anvil, tip: int | None
) -> None:
    """anvil really signs; what it signed is exactly what the rules looked at."""
    world = EvmWorld(tmp_path)
    public_key = PrivateKey(ANVIL_KEY).public_key.format()
    hot = world.chain.address_of(public_key)
    key = TransactionServerKey(HttpEndpoint(anvil.url), public_key, hot, describe)
    to = world.chain.parse_address("0x" + "ab" * 20)
    order = world.order(amount="0.5", address_to=to)
    unsigned = Unsigned(31337, 0, 2 * 10**9, tip, 21000, bytes.fromhex("ab" * 20), 5 * 10**17, b"")
    payments = (Payment("REF", to, 5 * 10**17),)
    request = SignRequest(
        CHAIN, PayoutKey("withdrawal", "REF", order["trans_id"]), Purpose.PAY, 0, 0,
        Intent(hot, public_key, payments, 10**15), write_payload(public_key, unsigned), 1,
        world.warrant(order),
    )  # fmt: skip
    world.pin = False
    async with world.signer(backends={(CHAIN, KeyPath(0, 0)): key}) as signer:
        await signer.pin(CHAIN, "eip155:31337/0xabc")
        signed = await signer.sign(request)
        assert await signer.sign(request) == signed
        with pytest.raises(SigningRefused, match="transactions only"):
            await signer.prove(CHAIN, 0, 0, b"c" * 32)
    assert anvil.rpc("eth_sendRawTransaction", "0x" + signed.raw.hex()) == signed.txid
    anvil.mine()
    assert int(anvil.rpc("eth_getBalance", to, "latest"), 16) == 5 * 10**17


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (200, b'{"result": "0x02c0"}', Unreachable),
        (200, b'{"result": "zz"}', Unreachable),
        (200, b'{"result": null}', Unreachable),
        (200, b'{"error": {"code": -32000}}', SigningRefused),
        (200, b"[]", SigningRefused),
        (200, b"<html>", Unreachable),
        (200, b" " * (1 << 21), Unreachable),
        (500, b"", Unreachable),
        (403, b"", SigningRefused),
        (302, b"", Unreachable),
    ],
)
def test_answers_that_are_no_signature(status: int, content: bytes, error: type[Exception]) -> None:
    with serving(lambda headers, body: (status, content)) as url:
        key = TransactionServerKey(HttpEndpoint(url), b"\x02" * 33, "0xab", lambda payload: {})
        with pytest.raises(error):
            key.sign(b"d" * 32, b"payload")


def test_server_that_signs_something_else(anvil: Anvil) -> None:
    """Another amount, signed by the right key: refused, for it is not over our message."""
    public_key = PrivateKey(ANVIL_KEY).public_key.format()
    unsigned = Unsigned(31337, 0, 2 * 10**9, 1, 21000, bytes(19) + b"\x05", 5, b"")
    payload = write_payload(public_key, unsigned)

    def more(payload: bytes) -> Mapping[str, str]:
        return {**describe(payload), "value": "0x6"}

    address = anvil.accounts[0]
    digest = read_payload(payload).digest
    good = TransactionServerKey(HttpEndpoint(anvil.url), public_key, address, describe)
    assert len(good.sign(digest, payload)) == 65
    bad = TransactionServerKey(HttpEndpoint(anvil.url), public_key, address, more)
    with pytest.raises(SigningRefused, match="something else"):
        bad.sign(digest, payload)
    other = TransactionServerKey(HttpEndpoint(anvil.url), public_key, anvil.accounts[1], describe)
    with pytest.raises(SigningRefused, match="another key"):
        other.sign(digest, payload)


@pytest.mark.parametrize(
    "url",
    ["ftp://127.0.0.1", "http://example.org", "https://", "https://user:secret@example.org/"],
)
def test_urls_that_are_refused(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        HttpEndpoint(url)
    assert "secret" not in str(caught.value)


def test_nobody_answers() -> None:
    with serving(lambda headers, body: (200, b"")) as url:
        pass
    key = TransactionServerKey(HttpEndpoint(url), b"\x02" * 33, "0xab", lambda payload: {})
    with pytest.raises(Unreachable, match="no answer"):
        key.sign(b"d" * 32, b"payload")


# --- a key service ------------------------------------------------------------------------------

VECTOR = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")


@pytest.mark.parametrize(
    ("method", "signature"),
    [
        ("GET", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ],
)
def test_signature_version_4(method: str, signature: str) -> None:
    """The published examples get-vanilla and post-vanilla."""
    made = signature_v4(
        VECTOR,
        method=method,
        path="/",
        headers={"Host": "example.amazonaws.com", "X-Amz-Date": "20150830T123600Z"},
        body=b"",
        at=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
        region="us-east-1",
        service="service",
    )
    assert made.endswith(f"Signature={signature}")
    assert VECTOR.secret_key not in repr(VECTOR)


class KeyServiceStandIn:
    """Signs as the service does: random nonces, any s, DER; checks who asks."""

    def __init__(self, curve: ec.EllipticCurve | None = None) -> None:
        self.private = ec.generate_private_key(curve or ec.SECP256K1())
        self.calls: list[str] = []
        self.high = False

    def __call__(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        at = datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        named = ("Content-Type", "Host", "X-Amz-Date", "X-Amz-Target")
        wanted = signature_v4(
            VECTOR, method="POST", path="/", headers={n: headers[n] for n in named}, body=body,
            at=at, region="eu-x-1", service="kms",
        )  # fmt: skip
        if headers["Authorization"] != wanted:
            return 403, b"{}"
        action, content = headers["X-Amz-Target"], json.loads(body)
        self.calls.append(action)
        if action == "TrentService.GetPublicKey":
            der = self.private.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            return 200, json.dumps({"PublicKey": base64.b64encode(der).decode()}).encode()
        assert content["MessageType"] == "DIGEST"
        digest = base64.b64decode(content["Message"])
        made = self.private.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))
        r, s = decode_dss_signature(made)
        self.high = not self.high
        s = max(s, ORDER - s) if self.high else min(s, ORDER - s)
        text = base64.b64encode(encode_dss_signature(r, s)).decode()
        return 200, json.dumps({"Signature": text}).encode()


async def test_key_service_signs_for_the_hot_key(world: World) -> None:
    service = KeyServiceStandIn()
    with serving(service) as url:
        key = KmsKey(HttpEndpoint(url), "alias/hot", VECTOR, region="eu-x-1")
        hot = world.chain.address_of(key.public_key)
        for n in range(4):  # low and high s alike
            order = world.order()
            request = world.request(order=order, sequence=n)
            request = replace(
                request,
                intent=replace(request.intent, sender=hot, public_key=key.public_key),
            )
            request = replace(request, payload=_by(world, key.public_key, request, n))
            async with world.signer(backends={(CHAIN, KeyPath(0, 0)): key}) as signer:
                signed = await signer.sign(request)
                assert await signer.sign(request) == signed  # out of the journal
                proof = await signer.prove(CHAIN, 0, 0, b"c" * 32)
                assert len(proof) == 65
    assert service.calls.count("TrentService.Sign") == 8


def _by(world: World, public_key: bytes, request: SignRequest, sequence: int) -> bytes:
    body: tx.Body = tx.decode(
        tx.decode(world.payload(request.intent.payments, sequence=sequence), tx.Payload).body,
        tx.Body,
    )
    return tx.encode(tx.Payload(tx.encode(msgspec.structs.replace(body, sender=public_key)), ()))


def test_key_service_refusals(world: World) -> None:
    with serving(KeyServiceStandIn()) as url:
        wrong = Credentials("AKIDEXAMPLE", "wrong")
        with pytest.raises(SigningRefused, match="403"):
            KmsKey(HttpEndpoint(url), "k", wrong, region="eu-x-1")
        key = KmsKey(HttpEndpoint(url), "k", VECTOR, region="eu-x-1")
        with pytest.raises(SigningRefused, match="digests only"):
            key.sign(b"a text", b"")
        key.public_key = PrivateKey(b"\x01" * 32).public_key.format()
        with pytest.raises(SigningRefused, match="another key"):
            key.sign(b"d" * 32, b"")
    with serving(KeyServiceStandIn(ec.SECP256R1())) as url:
        with pytest.raises(SigningRefused, match="no secp256k1"):
            KmsKey(HttpEndpoint(url), "k", VECTOR, region="eu-x-1")
    with serving(lambda headers, body: (200, b'{"PublicKey": "AAAA"}')) as url:
        with pytest.raises(Unreachable, match="no public key"):
            KmsKey(HttpEndpoint(url), "k", VECTOR, region="eu-x-1")
    with pytest.raises(SigningRefused, match="out of range"):
        recoverable(b"\x02" * 33, b"d" * 32, 0, 1)


def test_credentials_come_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("AKID\nsecret\n")
    path.chmod(0o600)
    assert Credentials.load(path) == Credentials("AKID", "secret")
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="every user"):
        Credentials.load(path)
    path.chmod(0o600)
    path.write_text("only one")
    path.write_text("a b c")
    with pytest.raises(KeyFileError, match="two lines"):
        Credentials.load(path)
