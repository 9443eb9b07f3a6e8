"""A ledger with keys in a temporary directory, and the command line in this process."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import insert, select, update

from chain_adapter import cli
from chain_adapter.clock import SystemClock
from chain_adapter.core.states import Deposit
from chain_adapter.sandbox import reference_tx
from chain_adapter.sandbox.reference import Flavour
from chain_adapter.store import ledger, orders, schema
from chain_adapter.store.orders import Sighting
from chain_adapter.store.store import Tx

T = TypeVar("T")

CONFIG = """
[database]
url = "{url}"
[platform]
url = "http://127.0.0.1:9"
app_id = "abc"
private_key_file = "a.pem"
platform_key_file = "b.pem"
[keys]
keystore = "keys/keystore.json"
passphrase_file = "keys/passphrase"
[console]
listen = "127.0.0.1:0"
[chains.main]
plugin = "reference"
confirmations = 3
[chains.main.node]
endpoints = ["memory://nowhere"]
[chains.main.assets.REF]
decimals = 9
[chains.main.assets.USDX]
contract = "cc0000000000000000000000000000000000000a"
decimals = 6
hold_limit = "never"
"""

MNEMONIC = "abandon " * 11 + "about"


@dataclass(slots=True)
class Answer:
    """What a command said."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs commands on one configuration, and looks into its books."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.config = folder / "adapter.toml"
        self.url = url
        self.config.write_text(CONFIG.format(url=self.url))
        (folder / "keys").mkdir()
        self.write_secret("keys/passphrase", "correct horse\n")
        self._capsys = capsys

    def write_secret(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def __call__(self, *words: str, config: bool = True) -> Answer:
        self._capsys.readouterr()
        tail = ["--config", str(self.config)] if config else []
        try:
            status = cli.execute([*words, *tail])
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = self._capsys.readouterr()
        return Answer(status, captured.out, captured.err)

    def act(self, *words: str, reason: str = "because") -> Answer:
        return self(*words, "--reason", reason)

    def rows(self, *words: str) -> Any:
        answer = self(*words, "--json")
        assert answer.status == 0, answer.err
        return answer.document

    def init(self) -> Any:
        words = self.write_secret("words", MNEMONIC)
        answer = self("keys", "init", "--yes", "--mnemonic-file", str(words), "--json")
        assert answer.status == 0, answer.err
        return answer.document

    # --- books --------------------------------------------------------------------------------

    def write(self, unit: Callable[[Tx], T]) -> T:
        store = ledger.open_ledger(self.url, SystemClock())
        try:
            return store.write_now(unit)
        finally:
            store.close()

    def order(self, trans_id: str, amount: str = "1.5", hold: bool = False, **more: str) -> int:
        """A withdrawal that the platform asked for; its id."""
        symbol = more.get("symbol", "REF")
        to = more.get("to", address(1))

        def unit(tx: Tx) -> int:
            one = Sighting(trans_id, False, symbol, amount, to, more.get("memo"))
            orders.take(
                tx, "main", symbol, one, warrant=b"{}", warrant_sign="", asked_at=tx.now_us,
                hold_new=hold,
            )  # fmt: skip
            payouts = schema.payouts
            found = tx.value(select(payouts.c.id).where(payouts.c.trans_id == trans_id))
            return int(found)

        return self.write(unit)

    def deposit(self, state: Deposit = Deposit.HELD, **fields: Any) -> int:
        """A deposit row in any state; its id."""
        values = {
            "request_id": hashlib.md5(str(fields).encode()).hexdigest(),
            "chain": "main", "asset": "REF", "symbol": "REF", "txid": "ab" * 32,
            "to": address(2), "memo_key": "", "amount": "1500000000", "told": "1500000000",
            "remainder": "0", "height": 10, "block_hash": "h10", "state": str(state),
            "reason": "proof refuted" if state is Deposit.HELD else None, "released": False,
            "seen_at": 1_700_000_000_000_000, **fields,
        }  # fmt: skip
        return self.write(lambda tx: tx.insert(insert(schema.deposits).values(**values)))

    def set(self, table: Any, row_id: int, **fields: Any) -> None:
        """Change a row behind the commands' back."""
        self.write(lambda tx: tx.run(update(table).where(table.c.id == row_id).values(**fields)))

    def events(self, subject: str) -> list[tuple[str, dict[str, Any]]]:
        return [
            (one["what"], json.loads(one["detail"]))
            for one in self.rows("events", "list", "--subject", subject)
        ]


def address(number: int) -> str:
    """An address of the reference chain."""
    return reference_tx.spell(Flavour.ACCOUNT, number.to_bytes(20, "big"))


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """On SQLite, with nothing made yet."""
    return Shell(tmp_path, f"sqlite:///{tmp_path}/books/adapter.db", capsys)


_made: dict[str, Path] = {}


@pytest.fixture
def books(shell: Shell, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """After `keys init`, whose result is copied: stretching a passphrase takes its time."""
    if "ledger" not in _made:
        shell.init()
        _made["ledger"] = tmp_path_factory.mktemp("ledger") / "copy"
        shutil.copytree(shell.folder, _made["ledger"])
    for part in ("keys", "books"):
        shutil.copytree(_made["ledger"] / part, shell.folder / part, dirs_exist_ok=True)
    return shell


@pytest.fixture
def any_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], database_url: str) -> Shell:
    """On SQLite and on PostgreSQL."""
    return Shell(tmp_path, database_url, capsys)
