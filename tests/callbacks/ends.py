"""Both ends of both dialects with the keys of the recorded vectors, and a second implementation.

The second one is written from the protocol with pycryptodome's integers: it knows nothing of the
product's own code.
"""

from __future__ import annotations

import base64
import functools
import json
from pathlib import Path
from typing import Any

from Crypto.PublicKey import RSA
from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter.callbacks.blocks import load_private_key, load_public_key
from chain_adapter.callbacks.events import Event
from chain_adapter.callbacks.uuwallet import UuWallet, UuWalletPlatform
from chain_adapter.callbacks.waas import WaasV2

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
APP_ID = "merchant-1"
API_KEY = "an-agreed-key"


@functools.cache
def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def items(name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = vectors(name)["items"]
    return found


def item(name: str, wanted: str) -> dict[str, str]:
    (found,) = [one for one in items(name) if one["name"] == wanted]
    return found


@functools.cache
def private(party: str) -> rsa.RSAPrivateKey:
    """`merchant` or `platform` of WaaS V2, `uuwallet`, or a `stranger`."""
    if party == "stranger":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if party == "uuwallet":
        text = vectors("uuwallet.json")["platform_private_pkcs8_der_b64"]
    else:
        side = {"merchant": "party_a", "platform": "party_b"}[party]
        text = vectors("wapi.json")[side]["private_pkcs8_der_b64"]
    return load_private_key(text.encode())


def merchant() -> WaasV2:
    return WaasV2(APP_ID, private("merchant"), private("platform").public_key())


def platform() -> WaasV2:
    return WaasV2(APP_ID, private("platform"), private("merchant").public_key())


def uu_merchant() -> UuWallet:
    public = load_public_key(vectors("uuwallet.json")["platform_public_spki_der_b64"].encode())
    return UuWallet(API_KEY, public)


def uu_platform() -> UuWalletPlatform:
    return UuWalletPlatform(API_KEY, private("uuwallet"))


def form(data: str, app_id: str = APP_ID) -> dict[str, str]:
    return {"app_id": app_id, "data": data}


def notice(**changed: object) -> dict[str, object]:
    """The recorded deposit notification with changed fields; `...` removes one."""
    fields = json.loads(item("waas_v2.json", "notify/deposit")["plaintext"]) | changed
    return {key: value for key, value in fields.items() if value is not ...}


def paid(**changed: object) -> dict[str, object]:
    """The recorded withdrawal notification with changed fields."""
    fields = json.loads(item("waas_v2.json", "notify/withdraw")["plaintext"]) | changed
    return {key: value for key, value in fields.items() if value is not ...}


def question(**changed: object) -> dict[str, object]:
    fields = json.loads(item("waas_v2.json", "confirm/request")["plaintext"]) | changed
    return {key: value for key, value in fields.items() if value is not ...}


def told(name: str, **changed: object) -> dict[str, object]:
    """A recorded UUWallet message with changed fields."""
    fields = json.loads(item("uuwallet.json", name)["plaintext"]) | changed
    return {key: value for key, value in fields.items() if value is not ...}


def raw(fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def sealed(fields: object) -> dict[str, str]:
    """A form as the platform sends it."""
    return form(platform().seal(raw(fields)))


def uu_sealed(fields: object) -> bytes:
    """A body as the platform sends it."""
    return uu_platform().seal(raw(fields)).encode()


def without_its_message(event: Event) -> dict[str, Any]:
    return {name: getattr(event, name) for name in _slots(event) if name != "fields"}


def _slots(event: Event) -> list[str]:
    return list(type(event).__dataclass_fields__)


# --- block type 1 by hand -----------------------------------------------------------------------


@functools.cache
def numbers(key: rsa.RSAPrivateKey) -> RSA.RsaKey:
    found = key.private_numbers()
    return RSA.construct((found.public_numbers.n, found.public_numbers.e, found.d))


def block_by_hand(key: rsa.RSAPrivateKey, block: bytes) -> bytes:
    """The private-key operation on exactly these bytes, padded or not."""
    made = numbers(key)
    return pow(int.from_bytes(block), int(made.d), int(made.n)).to_bytes(made.size_in_bytes())


def sealed_by_hand(key: rsa.RSAPrivateKey, plaintext: bytes, segment: int) -> str:
    size = numbers(key).size_in_bytes()
    blocks = b""
    for at in range(0, len(plaintext), segment):
        part = plaintext[at : at + segment]
        blocks += block_by_hand(
            key, b"\x00\x01" + b"\xff" * (size - 3 - len(part)) + b"\x00" + part
        )
    return base64.urlsafe_b64encode(blocks).decode().rstrip("=")


def opened_by_hand(key: rsa.RSAPrivateKey, data: str) -> bytes:
    """Block type 2 with the private key, by integers alone."""
    made, blocks, found = numbers(key), base64.b64decode(data), b""
    size = made.size_in_bytes()
    for at in range(0, len(blocks), size):
        number = pow(int.from_bytes(blocks[at : at + size]), int(made.d), int(made.n))
        block = number.to_bytes(size)
        assert block[:2] == b"\x00\x02"
        found += block[block.index(b"\x00", 2) + 1 :]
    return found
