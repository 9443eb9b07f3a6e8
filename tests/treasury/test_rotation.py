"""Another RSA key towards the platform: only what the platform answers to is put in place."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.platform_api.envelope import fingerprint, load_private_key, load_public_key
from tests.keys.operators import Operators
from tests.shell.conftest import Shell, books, shell  # noqa: F401 - fixtures
from tests.treasury.desk import Desk


@contextmanager
def sandbox(state: Path) -> Iterator[str]:
    """The platform as a process, with one coin."""
    words = ["sandbox", "--listen", "127.0.0.1:0", "--state", str(state)]
    process = subprocess.Popen(
        [sys.executable, "-m", "chain_adapter.cli", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        url = str(json.loads(process.stdout.readline())["url"])
        coin: dict[str, Any] = {"symbol": "REF", "memo": False, "decimals": 9, "confirmations": 3}
        request = urllib.request.Request(
            f"{url}/sandbox/coins", json.dumps(coin).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
        yield url
    finally:
        process.terminate()
        assert process.wait(timeout=20) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture
def desk(books: Shell, operators: Operators) -> Desk:  # noqa: F811 - the fixture
    made = Desk(books, operators)
    app_id = (books.folder / "identity/app_id").read_text().strip()
    books.config.write_text(books.config.read_text().replace('"abc"', f'"{app_id}"'))
    return made


def at(desk: Desk, url: str) -> None:
    """Name the platform's address of now in the configuration."""
    lines = desk.shell.config.read_text().splitlines()
    found = [f'url = "{url}"' if line.startswith('url = "http') else line for line in lines]
    desk.shell.config.write_text("\n".join(found) + "\n")


def names(desk: Desk) -> str:
    return fingerprint(load_private_key((desk.shell.folder / "a.pem").read_bytes()))


@pytest.mark.parametrize("with_policy", [False, True])
def test_rotation(desk: Desk, with_policy: bool) -> None:
    if with_policy:
        desk.with_policy()
    state = desk.shell.folder / "identity"
    before = names(desk)
    staged = desk.document("keys", "rotate-wapi")
    new = desk.shell.folder / "a.pem.next"
    assert new.stat().st_mode & 0o077 == 0
    assert fingerprint(load_public_key(staged["public_key"].encode())) == staged["fingerprint"]
    assert staged["fingerprint"] != before
    again = desk.document("keys", "rotate-wapi")
    assert again["fingerprint"] == staged["fingerprint"], "a second call makes no second key"
    with sandbox(state) as url:
        at(desk, url)
        early = desk.act("keys", "rotate-wapi", "--switch")
        assert early.status == 1
        assert "nothing changed" in early.err
        assert names(desk) == before
    (state / "party_a_public.pem").write_text(staged["public_key"])
    (state / "party_a_private.pem").unlink()
    with sandbox(state) as url:
        at(desk, url)
        signatures: list[str] = []
        if with_policy:
            text = desk.to_sign("keys", "rotate-wapi", "--switch")
            signatures = ["--signature", desk.sign("ann", text)]
            one = desk.act("keys", "rotate-wapi", "--switch", *signatures)
            assert one.status == 1
            assert "waits for 2 operators" in one.err
            assert names(desk) == before
            signatures += ["--signature", desk.sign("bob", text)]
        done = desk.document("keys", "rotate-wapi", "--switch", *signatures)
    assert names(desk) == done["fingerprint"] == staged["fingerprint"]
    assert not new.exists()
    old = Path(done["old_key"])
    assert fingerprint(load_private_key(old.read_bytes())) == before
    assert desk.act("keys", "rotate-wapi", "--switch").status == 2, "there is no new key any more"
