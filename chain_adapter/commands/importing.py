"""`import deposits` and `import payouts`: what the system before us has told and paid.

Every line is checked against configuration and books before anything is stored; then one
transaction takes all of them, beside a daemon or before its first start. A file may be imported
again.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path

from chain_adapter.assembly import pure_chain
from chain_adapter.chain import Chain, InvalidAddress
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.import_file import BadLine, rows_of
from chain_adapter.commands.output import print_json
from chain_adapter.config import ChainConfig, Config, load
from chain_adapter.config.records import AssetConfig
from chain_adapter.core.deposits import read_memo
from chain_adapter.errors import LedgerMismatch
from chain_adapter.store import addresses, imported_orders, imports, ledger
from chain_adapter.store.imported_orders import EndedPayout
from chain_adapter.store.imports import Conflict, Imported, ToldDeposit
from chain_adapter.store.store import Store, Tx

NEVER = "never"
TXID_MOST, REQUEST_ID_MOST, TRANS_ID_MOST = 128, 64, 128


def deposits(args: Namespace) -> int:
    """Columns: asset, txid, to, memo (may lack), request_id. The addresses must be ours already:
    `addresses import` comes before."""
    config = load(args.config)
    rows = list(rows_of(args.file, ("asset", "txid", "to", "request_id"), ("memo",)))
    chains = {name: pure_chain(one) for name, one in config.require_chains().items()}
    with opened(config) as store:
        _refuse_record(store)

        def unit(tx: Tx) -> Imported:
            made = [_deposit(tx, config, chains, args, number, row) for number, row in rows]
            return imports.add_deposits(tx, made, operator(), args.file.name)

        done = _taken(args.file, store, unit)
    return _answer(args, done, "deposits")


def payouts(args: Namespace) -> int:
    """Columns: symbol, trans_id, txid (or "never")."""
    config = load(args.config)
    rows = list(rows_of(args.file, ("symbol", "trans_id", "txid")))
    made = [_payout(config, args.file, number, row) for number, row in rows]
    with opened(config) as store:
        _refuse_record(store)
        done = _taken(
            args.file,
            store,
            lambda tx: imported_orders.add_payouts(tx, made, operator(), args.file.name),
        )
    return _answer(args, done, "payouts")


def _taken(path: Path, store: Store, unit: Callable[[Tx], Imported]) -> Imported:
    try:
        return store.write_now(unit)
    except Conflict as error:
        raise BadLine(path, error.number, error.why) from None


def _answer(args: Namespace, done: Imported, what: str) -> int:
    if args.json:
        print_json({"imported": done.imported, "known": done.known})
    else:
        print(f"{done.imported} {what} imported, {done.known} known before")
    return 0


def _refuse_record(store: Store) -> None:
    if store.read_now(lambda tx: ledger.get(tx, "record")) is not None:
        raise LedgerMismatch("the database is the record of a scan, not a ledger")


# --- lines ----------------------------------------------------------------------------------------


def _deposit(
    tx: Tx,
    config: Config,
    chains: Mapping[str, Chain],
    args: Namespace,
    number: int,
    row: Mapping[str, str],
) -> ToldDeposit:
    path: Path = args.file
    chain, asset = _asset(config, args.chain, path, number, row["asset"])
    pure = chains[chain.name]
    _check_id(path, number, "txid", row["txid"], TXID_MOST)
    _check_id(path, number, "request_id", row["request_id"], REQUEST_ID_MOST)
    try:
        key = pure.address_key(pure.parse_address(row["to"]))
    except InvalidAddress as error:
        raise BadLine(path, number, f"to is no address of {chain.name} ({error})") from None
    known = addresses.find(tx, chain.name, [key]).get(key)
    if known is None:
        raise BadLine(
            path, number,
            f"{row['to']} is no address of ours on {chain.name}: `addresses import` comes first",
        )  # fmt: skip
    return ToldDeposit(
        line=number,
        chain=chain.name,
        asset=asset.name,
        symbol=asset.symbol,
        txid=row["txid"],
        to=known.address,
        memo=read_memo(row["memo"].encode() or None, chain.memo_max),
        request_id=row["request_id"],
    )


def _payout(config: Config, path: Path, number: int, row: Mapping[str, str]) -> EndedPayout:
    found = config.symbols().get(row["symbol"])
    if found is None:
        known = ", ".join(config.symbols())
        raise BadLine(path, number, f"symbol {row['symbol']!r} is not configured; there is {known}")
    chain, asset = found
    _check_id(path, number, "trans_id", row["trans_id"], TRANS_ID_MOST)
    never = row["txid"].lower() == NEVER
    if not never:
        _check_id(path, number, "txid", row["txid"], TXID_MOST)
    txid = None if never else row["txid"]
    return EndedPayout(number, chain.name, asset.name, asset.symbol, row["trans_id"], txid)


def _asset(
    config: Config, only: str | None, path: Path, number: int, text: str
) -> tuple[ChainConfig, AssetConfig]:
    """NAME where it is the only one, or CHAIN/NAME."""
    name, _, within = text.rpartition("/")
    found = [
        (chain, chain.assets[within])
        for chain in config.require_chains().values()
        if within in chain.assets and chain.name in (name or only or chain.name,)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        one = f"{found[0][0].name}/{within}"
        raise BadLine(path, number, f"asset {within} stands on several chains: write {one} …")
    raise BadLine(path, number, f"asset {text!r} is not configured")


def _check_id(path: Path, number: int, name: str, text: str, most: int) -> None:
    if len(text) > most:
        raise BadLine(path, number, f"{name} is longer than {most} characters")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadLine(path, number, f"{name} {text[:80]!r} holds a space or a strange character")
