"""`db backup`, `db restore`, `db upgrade`, `db check`: the books as a whole."""

from __future__ import annotations

from argparse import Namespace

from chain_adapter.assembly import backup_folder
from chain_adapter.clock import SystemClock
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.books_check import check_books
from chain_adapter.commands.output import harmless, iso, print_json
from chain_adapter.config import Config, load
from chain_adapter.errors import AdapterError
from chain_adapter.keys.keystore import PublicKeys, public_path
from chain_adapter.store import backup as copies
from chain_adapter.store import migrations
from chain_adapter.store.events import LEDGER, record


def backup(args: Namespace) -> int:
    """A copy beside a running daemon; exit 0 only once it is whole and on the disk."""
    config = load(args.config)
    with opened(config) as store:
        made = copies.take(store, args.file)
        store.write_now(
            lambda tx: record(
                tx, LEDGER, "backup made", "ledger",
                who=operator(), file=args.file.name, events=made.events,
            )
        )  # fmt: skip
    _tell_copy(args, made)
    return 0


def restore(args: Namespace) -> int:
    """A copy into an empty place; never over a ledger."""
    config = load(args.config)
    url = config.require_database().connect_url()
    ledger_id = _ledger_of_keys(config)
    made = copies.restore(args.file, url, SystemClock(), ledger_id=ledger_id, who=operator())
    _tell_copy(args, made)
    if not args.json:
        print(
            "`run` may start on it: what was signed since comes back out of the signer's journal.\n"
            "Addresses registered since are found by `recover`."
        )
    return 0


def _tell_copy(args: Namespace, made: copies.Copy) -> None:
    document = {
        "file": str(args.file),
        "bytes": made.size,
        "schema": made.version,
        "ledger_id": made.ledger_id,
        "events": made.events,
        "as_of": iso(made.as_of_us) if made.as_of_us else None,
    }
    if args.json:
        print_json(document)
    else:
        print(harmless(", ".join(f"{key} {one}" for key, one in document.items())))


def _ledger_of_keys(config: Config) -> str | None:
    if config.keys is None or not public_path(config.keys.keystore).exists():
        return None
    return PublicKeys.load(config.keys.keystore).ledger_id


def upgrade(args: Namespace) -> int:
    """To this program's version; refuses beside a running daemon."""
    config = load(args.config)
    database = config.require_database()
    done = migrations.upgrade(database.connect_url(), SystemClock(), backup_folder(config))
    copy = None if done.backup is None else str(done.backup)
    if args.json:
        print_json({"from": done.from_version, "to": done.to_version, "backup": copy})
    elif copy is None:
        print(f"schema {done.to_version}: nothing to do")
    else:
        print(f"schema {done.from_version} to {done.to_version}; the books before it: {copy}")
    return 0


def check(args: Namespace) -> int:
    """Exit 1 with what is wrong, if anything is."""
    config = load(args.config)
    try:
        with opened(config) as store:
            findings = check_books(store, config)
    except AdapterError as error:
        if args.json:
            print_json({"ok": False, "problems": [str(error)], "checks": []})
        raise
    wrong = [one for one in findings if one.problems]
    if args.json:
        print_json(
            {
                "ok": not wrong,
                "problems": [f"{one.check}: {text}" for one in wrong for text in one.problems],
                "checks": [
                    {
                        "check": one.check,
                        "ok": not one.problems,
                        "looked_at": one.looked_at,
                        "problems": one.problems,
                    }
                    for one in findings
                ],
            }
        )
        return 1 if wrong else 0
    for one in findings:
        print(f"{'WRONG' if one.problems else 'ok':5}  {one.check}: {one.looked_at} looked at")
        for text in one.problems:
            print(harmless(f"         {text}"))
    return 1 if wrong else 0
