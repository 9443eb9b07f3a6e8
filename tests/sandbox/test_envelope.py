"""Every way in which an envelope or its JSON is wrong, and the vectors of the platform's client."""

from __future__ import annotations

import json
import os
from pathlib import Path

import aiohttp
import pytest
from Crypto.PublicKey import RSA

from chain_adapter.sandbox.server import Sandbox
from tests.sandbox.conftest import Operator, PartyA, Platform, from_base64, make_party, to_base64

ASK = b'{"symbol":"VLX"}'
VECTORS = Path(__file__).parents[1] / "vectors" / "wapi.json"


async def send(party: PartyA, body: object) -> int:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await party.post("address/available", raw)
    assert answer.status == 200
    if answer.code:
        assert (answer.raw["data"], answer.raw["sign"]) == ("", "")
    return answer.code


async def test_a_good_envelope_is_answered_sealed_and_signed(party: PartyA) -> None:
    answer = await party.call("address/available", {"symbol": "VLX"})
    assert answer.code == 0 and answer.raw["code"] == 0 and answer.signed
    assert answer.payload == {"symbol": "VLX", "count": 0}
    assert not set(answer.raw["data"] + answer.raw["sign"]) & set("+/=")


async def test_standard_base64_with_padding_is_accepted(party: PartyA) -> None:
    body = party.request(ASK)
    for name in ("data", "sign"):
        text = str(body[name]).replace("-", "+").replace("_", "/")
        body[name] = text + "=" * (-len(text) % 4)
    assert await send(party, body) == 0


async def test_seconds_and_old_times_are_accepted(party: PartyA) -> None:
    for at in (0, 1_500_000_000, 1_500_000_000_000):
        assert await send(party, party.request(ASK, time=at)) == 0


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe", b"<html>", b"[" * 100_000, b"NaN"]
)
async def test_a_body_that_is_no_json_object_is_100001(party: PartyA, raw: bytes) -> None:
    assert await send(party, raw) == 100001


@pytest.mark.parametrize("name", ["app_id", "time", "data", "sign"])
@pytest.mark.parametrize("value", [..., None, True, [], {}, 1.5])
async def test_a_missing_or_mistyped_field_is_100001(
    party: PartyA, name: str, value: object
) -> None:
    assert await send(party, party.request(ASK, **{name: value})) == 100001


@pytest.mark.parametrize("app_id", ["", "stranger", "AN-APP"])
async def test_an_unknown_app_id_is_100003(party: PartyA, app_id: str) -> None:
    assert await send(party, party.request(ASK, app_id=app_id)) == 100003


async def test_whatever_is_wrong_with_the_blocks_is_100008_and_says_the_same(
    party: PartyA,
) -> None:
    long = json.dumps({"symbol": "VLX", "x": "y" * 600}).encode()
    good = from_base64(party.encrypt(long))
    sign = party.sign(long)
    assert len(good) == 3 * 256
    blocks = [good[:256], good[256:512], good[512:]]
    damaged = bytearray(good)
    damaged[300] ^= 1
    stranger = RSA.generate(2048)
    other = PartyA(party.url, party.app_id, stranger, party.platform, party.session)
    swapped = to_base64(blocks[1] + blocks[0] + blocks[2])
    cases = {
        "cut": {"data": to_base64(good[:512]), "sign": sign},
        "not whole": {"data": to_base64(good[:-1]), "sign": sign},
        "swapped": {"data": swapped, "sign": sign},
        "doubled": {"data": to_base64(good + blocks[2]), "sign": sign},
        "damaged": {"data": to_base64(bytes(damaged)), "sign": sign},
        "random": {"data": to_base64(os.urandom(256)), "sign": sign},
        "zero": {"data": to_base64(bytes(256)), "sign": sign},
        "empty data": {"data": "", "sign": sign},
        "no base64": {"data": "§§§", "sign": sign},
        "empty sign": {"data": to_base64(good), "sign": ""},
        "other sign": {"data": to_base64(good), "sign": party.sign(ASK)},
        "stranger": {"data": to_base64(good), "sign": other.sign(long)},
        "short sign": {"data": to_base64(good), "sign": "AAAA"},
    }
    bodies = set()
    for what, envelope in cases.items():
        raw = json.dumps(party.request(long, **envelope)).encode()
        answer = await party.post("address/available", raw)
        assert answer.code == 100008, what
        bodies.add(answer.body)
    assert len(bodies) == 1  # no oracle
    assert await send(party, party.request(long)) == 0


@pytest.mark.parametrize(
    "plaintext",
    [
        b"x",
        b"[]",
        b"{}",
        b'{"symbol":1}',
        b'{"symbol":null}',
        b'{"symbol":""}',
        b'{"symbol":"\xff"}',
        b'{"symbol":"\\ud800"}',
        b'{"symbol":"VLX","x":NaN}',
        b'{"symbol":"VLX"} x',
    ],
)
async def test_a_plaintext_that_is_not_what_is_asked_for_is_100001(
    party: PartyA, plaintext: bytes
) -> None:
    assert await send(party, party.request(plaintext)) == 100001


CALLS: dict[str, dict[str, object]] = {
    "address/register": {"symbol": "NOPE", "addresses": "a", "memo": False},
    "address/available": {"symbol": "NOPE"},
    "deposit/notify": {
        "symbol": "NOPE", "request_id": "r", "address_to": "a", "txid": "t", "amount": 1,
        "confirm": 1, "balance": 0, "status": 1,
    },
    "withdraw/consume": {"symbol": "NOPE"},
    "withdraw/notify": {
        "symbol": "NOPE", "trans_id": 1, "address_to": "a", "txid": "t", "amount": 1, "fee": 0,
        "confirm": 0, "balance": 0,
    },
    "withdraw/cancel": {"symbol": "NOPE", "trans_id": 1, "msg": ""},
    "internal/notify": {
        "symbol": "NOPE", "address_to": "a", "txid": "t", "amount": 1, "fee": 0, "confirm": 0,
        "balance": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("path", CALLS)
async def test_a_symbol_that_is_not_ours_is_100009(party: PartyA, path: str) -> None:
    assert (await party.call(path, CALLS[path])).code == 100009


WRONG: dict[str, list[object]] = {
    "symbol": [1, "", []],
    "addresses": [1, ["a"], ""],
    "memo": [1, [], {}],
    "request_id": [7, "", True],
    "address_to": [7, ""],
    "address_from": [7, []],
    "txid": [7, ""],
    "amount": ["abc", "", True, [], "1,5", " 1", "+1", "0x1", "NaN", "Infinity", "1e", "١"],
    "fee": ["abc", "", False, {}, "NaN", -1],
    "balance": ["abc", "", False, {}, "Infinity", -1],
    "confirm": ["1", 1.5, -1, True],
    "status": ["1", 2, -1, True],
    "trans_id": [1.5, True, [], ""],
    "msg": [1, []],
}
OPTIONAL = {"address_from", "memo"}


@pytest.mark.parametrize("path", CALLS)
async def test_every_field_of_every_call_is_checked(party: PartyA, path: str) -> None:
    fields = CALLS[path] | {"symbol": "VLX"}
    for name in WRONG:
        optional = name in OPTIONAL and path in (
            "deposit/notify", "withdraw/notify", "internal/notify",
        )  # fmt: skip
        if name not in fields and not optional:
            continue
        absent = {key: value for key, value in fields.items() if key != name}
        wrong = [*WRONG[name], *([] if optional else [None])]
        for value in wrong:
            answer = await party.call(path, fields | {name: value})
            assert answer.code == 100001, (name, value)
        if not optional:
            assert (await party.call(path, absent)).code == 100001, name


async def test_an_unknown_call_is_an_answer_too(party: PartyA) -> None:
    answer = await party.call("address/forget", {"symbol": "VLX"})
    assert answer.code == 100002 and answer.status == 200


async def test_a_body_beyond_all_bounds_is_refused_as_json(party: PartyA) -> None:
    answer = await party.post("address/available", b" " * (9 * 1024 * 1024))
    assert (answer.code, answer.status) == (100001, 200)


async def test_unicode_passes_both_ways(platform: Platform) -> None:
    trans_id = await platform.control.order(memo="充值-é-🚀", address_to="адрес")
    answer = await platform.party.consume()
    assert answer.payload[0]["memo"] == "充值-é-🚀"
    assert (await platform.control.withdrawal(trans_id))["address_to"] == "адрес"


@pytest.fixture
async def as_vectors(tmp_path: Path, session: aiohttp.ClientSession) -> PartyA:
    """The platform with the throw-away keys of the vectors."""
    vectors = json.loads(VECTORS.read_text())
    for side, name in (("party_a", "party_a"), ("platform", "party_b")):
        (tmp_path / f"{side}_private.pem").write_text(vectors[name]["private_pkcs8_der_b64"])
        (tmp_path / f"{side}_public.pem").write_text(vectors[name]["public_spki_der_b64"])
    (tmp_path / "app_id").write_text("vectors")
    sandbox = Sandbox(tmp_path)
    await sandbox.start()
    party = PartyA(
        sandbox.url,
        sandbox.app_id,
        RSA.import_key(from_base64(vectors["party_a"]["private_pkcs8_der_b64"])),
        RSA.import_key(from_base64(vectors["party_b"]["public_spki_der_b64"])),
        session,
    )
    yield party
    await sandbox.stop()


@pytest.mark.skipif(not VECTORS.exists(), reason="the vectors are not in this tree")
async def test_requests_made_by_the_platforms_own_client_are_understood(
    as_vectors: PartyA,
) -> None:
    control = Operator(as_vectors.url, as_vectors.session)
    await control.coin("VLX")
    await control.coin("SRM", memo=True, decimals=18)
    codes = {}
    for request in json.loads(VECTORS.read_text())["requests"]:
        body = as_vectors.request(b"", data=request["data"], sign=request["sign"])
        path = request["path"].removeprefix("/api/v1/")
        codes[request["name"]] = (await as_vectors.post(path, json.dumps(body).encode())).code
    assert codes == {
        "address/available": 0,
        "address/register": 0,
        "address/register#100": 0,
        "address/register#memo": 0,
        "deposit/notify": 1000017,
        "deposit/notify#memo": 1000017,
        "withdraw/consume": 0,
        "withdraw/notify": 1000018,
        "internal/notify": 0,
        "withdraw/cancel": 1000018,
    }


async def test_the_party_of_a_state_directory_is_the_one_that_is_served(
    platform: Platform, session: aiohttp.ClientSession
) -> None:
    party = make_party(platform.sandbox.url, platform.sandbox.state, session)
    assert (await party.available("VLX")).code == 0
