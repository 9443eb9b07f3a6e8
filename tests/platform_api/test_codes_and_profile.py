"""Codes and their classes; what a production profile refuses."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest

from chain_adapter.errors import ConfigError
from chain_adapter.platform_api import codes
from chain_adapter.platform_api.codes import CODES, CodeClass
from chain_adapter.platform_api.envelope import fingerprint
from chain_adapter.platform_api.profile import PUBLISHED_KEYS, refuse_in_production
from tests.platform_api.peer import VECTORS, keys, stranger

ROW = {1000010, 1000011, 1000012, 1000014, 1000015, 1000016, 1000017, 1000018}


def test_the_table_is_complete() -> None:
    assert set(CODES) == {0, *range(100001, 100010), *range(1000010, 1000020)}
    assert {number for number in CODES if codes.is_row(number)} == ROW
    assert codes.kind(0) is CodeClass.SUCCESS
    assert all(code.meaning for code in CODES.values())


@pytest.mark.parametrize("code", [1, -1, 99, 100000, 100010, 1000009, 1000020, 10**11])
def test_unknown_codes_only_delay(code: int) -> None:
    assert codes.kind(code) is CodeClass.CONNECTION
    assert not codes.is_row(code)
    assert codes.meaning(code)


OURS, THEIRS = "ab" * 32, "cd" * 32
URL = "https://platform.example"


def test_a_sound_production_set_up_passes() -> None:
    refuse_in_production(URL, "0123456789abcdef", OURS, THEIRS)
    refuse_in_production("https://platform.example:8443/base", "x8ee3794a", OURS, THEIRS)
    refuse_in_production(URL, "a", fingerprint(stranger()))


@pytest.mark.parametrize(
    ("url", "app_id", "fingerprints", "says"),
    [
        ("http://platform.example", "a", (OURS, THEIRS), "https only"),
        ("http://127.0.0.1:9100", "a", (OURS, THEIRS), "https only"),
        ("HTTP://platform.example", "a", (OURS, THEIRS), "https only"),
        ("platform.example", "a", (OURS, THEIRS), "https only"),
        ("https://", "a", (OURS, THEIRS), "https only"),
        ("https://user:word@platform.example", "a", (OURS, THEIRS), "credentials"),
        (URL, "8ee3794a7e5b", (OURS, THEIRS), "test environment"),
        (URL, " 8EE3794A", (OURS, THEIRS), "test environment"),
        (URL, "a", (OURS, OURS), "same key"),
        *((URL, "a", (OURS, known), "platform keys") for known in PUBLISHED_KEYS),
        *((URL, "a", (known.upper(), THEIRS), "platform keys") for known in PUBLISHED_KEYS),
    ],
)
def test_what_production_refuses(
    url: str, app_id: str, fingerprints: tuple[str, ...], says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        refuse_in_production(url, app_id, *fingerprints)
    assert caught.value.exit_status == 2
    assert "word" not in str(caught.value)


def test_every_key_of_the_vectors_is_refused() -> None:
    callback = json.loads((VECTORS / "uuwallet.json").read_text())["platform_public_spki_der_b64"]
    for found in (
        fingerprint(keys("party_a")),
        fingerprint(keys("party_b")),
        hashlib.sha256(base64.b64decode(callback)).hexdigest(),
    ):
        assert found in PUBLISHED_KEYS
