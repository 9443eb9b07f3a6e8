"""`keys init`: keystore and ledger, bound to each other; prints the addresses that need funds."""

from __future__ import annotations

import random
import sys
from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Final

from chain_adapter.assembly import pure_chain
from chain_adapter.clock import SystemClock
from chain_adapter.commands.output import print_json, table
from chain_adapter.config import Config, load
from chain_adapter.core.states import Role
from chain_adapter.errors import ConfigError, KeyFileError
from chain_adapter.keys import init as keys_init
from chain_adapter.keys.derivation import Account
from chain_adapter.keys.journal_file import Journal
from chain_adapter.keys.keystore import journal_path
from chain_adapter.keys.secret_files import read_secret
from chain_adapter.signing import passphrase_of
from chain_adapter.store import addresses, ledger, recover_gate
from chain_adapter.store.store import Store

LEAST_ENTROPY: Final = 50  # bytes: a die thrown fifty times is 129 bits
ASKED_BACK: Final = 4  # words of the mnemonic
TERMINAL: Final = Path("/dev/tty")


def init(args: Namespace) -> int:
    """Makes what is missing, changes nothing that is there. The mnemonic is shown once, or taken
    from a file; it never enters a log or the command line."""
    config = load(args.config)
    keys = config.require_keys()
    url = config.require_database().connect_url()
    chains = {name: pure_chain(one) for name, one in config.require_chains().items()}
    passphrase = passphrase_of(config)
    mnemonic = None if args.mnemonic_file is None else _mnemonic(args.mnemonic_file)
    store = _existing(url)
    try:
        bound = store.read_now(lambda tx: ledger.get(tx, "ledger_id")) if store else None
        if not keys.keystore.exists() and mnemonic is None and not args.yes:
            _confirm(config)
        made = keys_init.init(
            keys.keystore,
            passphrase,
            mnemonic,
            [
                keys_init.ChainKeys(name, chain.info.scheme, chain.info.coin_type, chain.address_of)
                for name, chain in chains.items()
            ],
            ledger_id=bound or None,
            extra_entropy=_entropy(args.entropy_file),
        )
        if store is None:
            store = ledger.create(url, SystemClock(), ledger_id=made.ledger_id)
        ledger.bind(store, made.ledger_id)
        if not bound and not Journal.is_empty(journal_path(keys.keystore)):
            # The keys have worked before, the books were lost: `recover` comes first.
            store.write_now(lambda tx: recover_gate.shut(tx, chains))
            print(f"keys init: {recover_gate.REASON}: nothing is signed before", file=sys.stderr)
        for name, chain in chains.items():
            own = [
                addresses.NewAddress(
                    chain.address_key(one.address), one.address, Role(one.role), account, 0
                )
                for one in made.addresses
                if one.chain == name
                for account in [Account.HOT if one.role == Role.HOT else Account.GAS]
            ]
            store.write_now(partial(addresses.add_many, chain=name, rows=own))
    finally:
        if store is not None:
            store.close()
    rows = [asdict(one) for one in made.addresses]
    if args.json:
        print_json(rows)
    else:
        print(table(rows, ("chain", "role", "address", "path")))
    if made.mnemonic is not None:
        _show(made.mnemonic, args.yes)
    return 0


def _entropy(path: Path | None) -> bytes:
    """What the operator adds to the system's randomness: mixed in, never used alone."""
    if path is None:
        return b""
    found = read_secret(path, "entropy")
    if len(found.strip()) < LEAST_ENTROPY:
        raise KeyFileError(
            f"entropy: {path} holds {len(found.strip())} bytes; throw the dice at least "
            f"{LEAST_ENTROPY} times"
        )
    return found


def _existing(url: str) -> Store | None:
    store = Store(url, SystemClock())
    try:
        there = ledger.exists(store)
    finally:
        store.close()
    return ledger.open_ledger(url, SystemClock()) if there else None


def _mnemonic(path: Path) -> str:
    words = read_secret(path, "mnemonic").decode("utf-8", "replace").split()
    if not words:
        raise KeyFileError(f"mnemonic: {path} is empty")
    return " ".join(words)


def _confirm(config: Config) -> None:
    """A new seed is a new wallet: somebody has to want it."""
    if not sys.stdin.isatty():
        raise ConfigError("keys init: say --yes to make a new seed without being asked")
    print(
        f"This makes a new seed in {config.require_keys().keystore}. Its words are shown once; "
        "write them down.\nGo on? [y/N] ", end="", file=sys.stderr, flush=True,
    )  # fmt: skip
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("keys init: nothing was made")


def _show(mnemonic: str, quiet: bool) -> None:
    """To the terminal alone: output that is redirected often ends up in a file or a log."""
    if quiet:
        print(
            "The words of the seed are not shown under --yes: keep copies of the keystore file and "
            "of its passphrase, apart from each other.",
            file=sys.stderr,
        )
        return
    shown = f"\nThe seed, shown this once:\n\n  {mnemonic}\n\n"
    try:
        with (
            TERMINAL.open("w", encoding="utf-8", buffering=1) as screen,
            TERMINAL.open("r", encoding="utf-8") as keyboard,
        ):
            screen.write(shown)
            _read_back(mnemonic.split(), screen, keyboard)
    except OSError:
        print(shown, file=sys.stderr)


def _read_back(words: list[str], screen: IO[str], keyboard: IO[str]) -> None:
    """Some of the words are asked for, until they are right: what was not written down is lost."""
    rng = random.SystemRandom()
    left = sorted(rng.sample(range(len(words)), ASKED_BACK))
    while left:
        screen.write(f"Read it back from the card: word {left[0] + 1}? ")
        screen.flush()
        line = keyboard.readline()
        if not line:
            return
        if line.strip().lower() == words[left[0]]:
            left.pop(0)
        else:
            screen.write("That is another word. Look at the card, and at the screen above.\n")
    screen.write("The card is right.\n")
