"""Nothing secret reaches a log: canaries under many names, in texts, bytes and tracebacks."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from chain_adapter import telemetry
from chain_adapter.telemetry import Metrics, configure, get_logger, redact
from chain_adapter.telemetry.logs import is_secret

CANARY = "canary-7f3a9b"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


SECRET_KEYS = [
    "passphrase", "password", "mnemonic", "seed", "private_key", "privateKey", "request_id_secret",
    "api_token", "Authorization", "Set-Cookie", "xprv", "warrant", "plaintext", "raw", "data",
    "own_private", "tls_pins",
]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "console"])
@pytest.mark.parametrize("key", SECRET_KEYS)
def test_secret_fields_are_dropped(out: io.StringIO, form: str, key: str) -> None:
    configure("debug", form, out)
    get_logger("t").info("happened", **{key: CANARY}, deep={"list": [{key: CANARY}]}, chain="main")
    assert "happened" in out.getvalue()
    assert "main" in out.getvalue()
    assert CANARY not in out.getvalue()


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_inside_texts_and_bytes(out: io.StringIO, form: str) -> None:
    configure("debug", form, out)
    pem = f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----"
    log = get_logger("t")
    log.warning(f"no key in {pem} here", where=f"postgresql://me:{CANARY}@db/books")
    log.warning("bytes", body=CANARY.encode(), nested=(CANARY.encode(), [CANARY.encode()]))
    try:
        raise ValueError(f"could not read {pem} at https://u:{CANARY}@host/")
    except ValueError:
        log.exception("failed")
    assert "ValueError" in out.getvalue()
    assert CANARY not in out.getvalue()
    assert CANARY.encode().hex() not in out.getvalue()


def test_tracebacks_show_no_local_variables(out: io.StringIO) -> None:
    configure("debug", "console", out)

    def sign(passphrase: str) -> None:
        raise RuntimeError("no")

    try:
        sign(CANARY)
    except RuntimeError:
        get_logger("t").exception("failed")
    assert "RuntimeError" in out.getvalue()
    assert CANARY not in out.getvalue()


def test_libraries_are_not_heard_below_warning(out: io.StringIO) -> None:
    configure("debug", "json", out)
    logging.getLogger("sqlalchemy.engine").info("INSERT %s", CANARY)
    logging.getLogger("aiohttp.client").debug("body %s", CANARY)
    assert out.getvalue() == ""
    logging.getLogger("aiohttp.client").warning("slow")
    assert json.loads(out.getvalue())["event"] == "slow"


def test_json_lines_have_fields(out: io.StringIO) -> None:
    configure("info", "json", out)
    get_logger("watcher").info("endpoint lost", endpoint=1, chain="main")
    get_logger("watcher").debug("not written")
    line = json.loads(out.getvalue())
    assert (line["event"], line["level"], line["endpoint"]) == ("endpoint lost", "info", 1)
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    "key", ["key", "address_key", "private_key_file", "passphrase_file", "txid", "trans_id", "seq"]
)
def test_useful_fields_stay(key: str) -> None:
    assert not is_secret(key)
    assert redact({key: "x"}) == {key: "x"}


def test_redaction_ends() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert "too deep" in str(redact(endless))


def test_figures() -> None:
    metrics = Metrics()
    metrics.tip_height.labels("main").set(7)
    metrics.blocks.labels("main").inc(2)
    text = metrics.text().decode()
    assert 'chain_adapter_tip_height{chain="main"} 7.0' in text
    assert 'chain_adapter_blocks_total{chain="main"} 2.0' in text
    assert telemetry.METRICS.text() != metrics.text()
