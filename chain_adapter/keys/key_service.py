"""A key in a key service that speaks as AWS KMS does: `GetPublicKey` and `Sign` of a digest.

digest -> `TrentService.Sign` (ECDSA_SHA_256, MessageType DIGEST), the request signed by Signature
Version 4 -> DER signature -> low s, v found by recovery. The service's signatures are not
deterministic: that the same request gives the same bytes is the journal's doing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from coincurve import PublicKey
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from chain_adapter.errors import KeyFileError, SigningRefused, Unreachable
from chain_adapter.keys.backends import HttpEndpoint, recoverable
from chain_adapter.keys.secret_files import read_secret

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_CONTENT_TYPE: Final = "application/x-amz-json-1.1"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Access to the key service, from a file of two lines: access key id, secret key."""

    access_key_id: str
    secret_key: str = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> Credentials:
        """Raises `KeyFileError`, also when every user may read the file."""
        lines = read_secret(path, "key service credentials").decode("utf-8", "replace").split()
        if len(lines) != 2:
            raise KeyFileError(
                f"key service credentials: {path} has two lines, the access key id and the secret"
            )
        return cls(lines[0], lines[1])


def signature_v4(
    credentials: Credentials,
    *,
    method: str,
    path: str,
    headers: dict[str, str],
    body: bytes,
    at: datetime,
    region: str,
    service: str,
) -> str:
    """The `Authorization` header of a request (AWS Signature Version 4, no query string)."""
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    named = {k.lower(): " ".join(v.split()) for k, v in headers.items()}
    signed = ";".join(sorted(named))
    canonical = "\n".join(
        [
            method,
            path,
            "",
            *(f"{name}:{named[name]}" for name in sorted(named)),
            "",
            signed,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{credentials.secret_key}".encode()
    for part in (stamp[:8], region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
    return (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={signed}, Signature={signature}"
    )


class KmsKey:
    """One secp256k1 key (ECC_SECG_P256K1) of a key service. Opening asks for its public key."""

    def __init__(
        self,
        endpoint: HttpEndpoint,
        key_id: str,
        credentials: Credentials,
        *,
        region: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._endpoint = endpoint
        self._key_id = key_id
        self._credentials = credentials
        self._region = region
        self._now = now
        self.public_key = self._read_public_key()

    def sign(self, message: bytes, payload: bytes) -> bytes:
        if len(message) != 32:
            raise SigningRefused("the key service signs 32-byte digests only", for_good=True)
        answer = self._call(
            "Sign",
            {
                "KeyId": self._key_id,
                "Message": base64.b64encode(message).decode(),
                "MessageType": "DIGEST",
                "SigningAlgorithm": "ECDSA_SHA_256",
            },
        )
        try:
            r, s = decode_dss_signature(_decoded(answer, "Signature"))
        except ValueError:
            raise Unreachable(f"key service {self._endpoint.host}: no signature") from None
        return recoverable(self.public_key, message, r, s)

    def _read_public_key(self) -> bytes:
        answer = self._call("GetPublicKey", {"KeyId": self._key_id})
        try:
            key = serialization.load_der_public_key(_decoded(answer, "PublicKey"))
        except ValueError:
            raise Unreachable(f"key service {self._endpoint.host}: no public key") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256k1":
            raise SigningRefused(f"key {self._key_id} is no secp256k1 key", for_good=True)
        point = key.public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint
        )
        return PublicKey(point).format(compressed=True)

    def _call(self, action: str, content: dict[str, str]) -> Any:
        body = json.dumps(content).encode()
        at = self._now()
        headers = {
            "Content-Type": _CONTENT_TYPE,
            "Host": self._endpoint.authority,
            "X-Amz-Date": at.strftime("%Y%m%dT%H%M%SZ"),
            "X-Amz-Target": f"TrentService.{action}",
        }
        headers["Authorization"] = signature_v4(
            self._credentials,
            method="POST",
            path=self._endpoint.path,
            headers=headers,
            body=body,
            at=at,
            region=self._region,
            service="kms",
        )
        return self._endpoint.post(body, headers)


def _decoded(answer: Any, name: str) -> bytes:
    value = answer.get(name) if isinstance(answer, dict) else None
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except binascii.Error:
        raise ValueError(f"{name} is no Base64") from None
