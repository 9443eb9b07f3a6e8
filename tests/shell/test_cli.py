"""The command line: every command explains itself; errors are one line and the right status."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chain_adapter import cli
from chain_adapter.commands.options import Command
from chain_adapter.commands.tree import COMMANDS

LINES = [one.words for one in COMMANDS]

INTERFACE = """
run; check; demo; sandbox; devnet; keys init; scan; addresses import; addresses list; deposits list;
payouts list; payouts show; outbox list; inbox list; alarms list; events list; payouts hold;
payouts release; payouts refuse; payouts approve; payouts settle; deposits release; deposits ignore;
outbox retry; inbox dismiss; alarms ack; chains pause; chains resume; assets pause; assets resume;
recover; rescan; db backup; db upgrade; db check; why; status; reconcile; probe; plugins list;
plugins check; plugins new
"""


def test_the_whole_interface_is_there() -> None:
    promised = {tuple(one.split()) for one in INTERFACE.replace("\n", " ").split(";")}
    # More may stand there; none may go (docs: interfaces only grow).
    assert promised <= {one.words for one in COMMANDS}


def test_no_command_stands_there_twice() -> None:
    assert len(set(LINES)) == len(LINES)


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: " ".join(one.words))
def test_help(one: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.execute([*one.words, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert f"example: chain-adapter {' '.join(one.words)}" in shown
    assert ("not built yet" in shown) == (one.run is None)
    for option in one.options:
        assert option.flags[-1] in shown or str(option.named.get("metavar")) in shown


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: " ".join(one.words))
def test_the_example_parses(one: Command) -> None:
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', one.example)]
    assert cli.parser().parse_args(words).command is one


@pytest.mark.parametrize("one", [c for c in COMMANDS if c.run], ids=lambda one: str(one.run))
def test_the_function_is_there(one: Command) -> None:
    import importlib

    module, _, name = str(one.run).partition(":")
    assert callable(getattr(importlib.import_module(f"chain_adapter.commands.{module}"), name))


def test_what_prints_rows_has_json() -> None:
    without = {" ".join(c.words) for c in COMMANDS if "--json" not in str(c.options)}
    servers_and_files = {"run", "sandbox", "devnet", "signer", "plugins new", "keys ceremony"}
    assert without <= servers_and_files


@pytest.mark.parametrize("one", [c for c in COMMANDS if c.run is None], ids=lambda c: str(c.words))
def test_not_built_yet(one: Command, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', one.example)]
    assert cli.execute(words) == 2
    assert f"{' '.join(one.words)} is not built yet" in capsys.readouterr().err


WRONG = [
    [],
    ["nonsense"],
    ["payouts"],
    ["payouts", "hold", "1", "--config", "a.toml"],
    ["payouts", "hold", "1", "--config", "a.toml", "--reason", "  "],
    ["payouts", "hold", "1", "--conf", "a.toml", "--reason", "x"],
    ["scan", "--config", "a", "--chain", "x", "--from", "-1", "--to", "2"],
    ["scan", "--config", "a", "--chain", "x", "--from", "0x10", "--to", "20"],
    ["demo", "--deposits", "many"],
    ["reconcile", "--config", "a", "--day", "yesterday"],
    ["deposits", "list", "--config", "a", "--limit", "0"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_use_exits_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.execute(words)
    assert ended.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("chain-adapter: ")


# --- as a process ---------------------------------------------------------------------------------


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chain_adapter.cli", *words],
        capture_output=True, text=True, timeout=60, check=False, cwd=cwd,
    )  # fmt: skip


def test_process_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"chain-adapter \d+\.\d+\.\d+\n", done.stdout)


def test_process_plugins() -> None:
    done = run("plugins", "list", "--json")
    assert done.returncode == 0
    assert {"evm", "reference"} <= {one["name"] for one in json.loads(done.stdout)}


def test_process_wrong_configuration(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[databse]\n")
    done = run("status", "--config", "a.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "chain-adapter: a.toml: databse: is an unknown key: did you mean database?\n"
    )


def test_process_reader_that_goes_away() -> None:
    """`… | head -1` is no error of ours and shows no traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chain_adapter.cli", "plugins", "list"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.wait(timeout=60) in (0, 141)
    assert process.stderr.read() == ""
    process.stderr.close()


def test_a_remark_never_enters_the_json(tmp_path: Path) -> None:
    """A passphrase that all can read is remarked in development: on standard error."""
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("remarkable\n")
    passphrase.chmod(0o644)
    config = tmp_path / "adapter.toml"
    config.write_text(
        '[database]\nurl = "sqlite:///books.db"\n'
        '[platform]\nurl = "http://127.0.0.1:1"\napp_id = "a"\n'
        'private_key_file = "a.pem"\nplatform_key_file = "b.pem"\n'
        '[keys]\nkeystore = "keystore.json"\npassphrase_file = "passphrase"\n'
        '[chains.main]\nplugin = "evm"\n[chains.main.node]\nendpoints = ["http://127.0.0.1:1"]\n'
        "[chains.main.assets.ETH]\ndecimals = 18\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "chain_adapter.cli", "keys", "init", "--yes", "--json",
         "--config", str(config)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {row["role"] for row in json.loads(done.stdout)} == {"hot", "gas"}
    assert "every user of this machine can read" in done.stderr
