"""Addresses of ours by the millions: added, imported, matched, registered.

Every insert raises the chain's address counter in its own transaction; a row's `seq` is the
counter's value then. A filter is made from all keys (`load_filter`) and brought up to date by
`since`. A block's commit demands the counter that its filter was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import Row, and_, func, insert, select, update

from chain_adapter.core.filter import AddressFilter
from chain_adapter.core.states import Role
from chain_adapter.store import schema
from chain_adapter.store.store import Tx

T = schema.addresses
CHAINS = schema.chains

_PAGE = 20_000
_MOST_ASKED = 500  # keys in one IN list
_CREDITED = frozenset({Role.DEPOSIT, Role.WATCHED})


@dataclass(frozen=True, slots=True)
class NewAddress:
    """An address to be stored. `account` and `idx`: its derivation path; none: no key of ours."""

    key: bytes
    address: str  # the spelling that is or will be registered
    role: Role
    account: int | None = None
    idx: int | None = None
    memo: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a match tells about an address."""

    address: str
    role: Role
    is_registered: bool
    is_signing: bool  # we hold its key

    @property
    def is_credited(self) -> bool:
        """Whether users deposit to it: a deposit address, or one that the platform was told."""
        return self.role in _CREDITED or self.is_registered


def ensure_chain(tx: Tx, chain: str) -> None:
    """The chain has its row."""
    tx.insert_new(CHAINS, {"chain": chain})


def counter(tx: Tx, chain: str, *, lock: bool = False) -> int:
    """The chain's address counter; `lock` makes inserts wait until this transaction ends."""
    query = select(CHAINS.c.address_count).where(CHAINS.c.chain == chain)
    return int(tx.value(query.with_for_update() if lock else query) or 0)


def add(
    tx: Tx,
    chain: str,
    key: bytes,
    address: str,
    role: Role,
    *,
    account: int | None = None,
    idx: int | None = None,
    memo: str | None = None,
) -> bool:
    """Store one address; whether it was new. A key that is known stays as it is."""
    return add_many(tx, chain, [NewAddress(key, address, role, account, idx, memo)]) == 1


def add_many(tx: Tx, chain: str, rows: Sequence[NewAddress]) -> int:
    """Store addresses; how many were new. A key that is known stays as it is."""
    ensure_chain(tx, chain)
    count = counter(tx, chain, lock=True)
    known = find(tx, chain, [row.key for row in rows])
    fresh = {row.key: row for row in rows if row.key not in known}
    values = [
        {
            "chain": chain,
            "key": row.key,
            "address": row.address,
            "role": row.role,
            "account": row.account,
            "idx": row.idx,
            "memo": row.memo,
            "elsewhere": row.role is Role.WATCHED,
            "seq": count + number,
        }
        for number, row in enumerate(fresh.values(), start=1)
    ]
    if values:
        tx.run(insert(T), values)
        _raise_counter(tx, chain, count + len(values))
    return len(values)


def _raise_counter(tx: Tx, chain: str, count: int) -> None:
    tx.run(update(CHAINS).where(CHAINS.c.chain == chain).values(address_count=count))


# --- import ---------------------------------------------------------------------------------------

_COLUMNS = tuple(column.name for column in T.columns)


def import_watched(tx: Tx, chain: str, rows: Iterable[tuple[bytes, str]]) -> tuple[int, int]:
    """Store watch-only addresses (key, spelling), millions in seconds; (imported, known).

    Runs in one transaction: what `rows` raises while it is read undoes all. Repeated keys count
    once, as known. Imported addresses count as registered elsewhere.
    """
    ensure_chain(tx, chain)
    start = count = counter(tx, chain, lock=True)
    before = _size(tx, chain)
    role = Role.WATCHED.value
    pages = iter(rows)
    # Sorted by key, so that the index grows at its leaves in order.
    while page := sorted(islice(pages, 250_000)):
        _load(
            tx,
            [
                (chain, key, address, role, None, None, None, True, None, count + number)
                for number, (key, address) in enumerate(page, start=1)
            ],
        )
        count += len(page)
    imported = _size(tx, chain) - before
    if imported:
        _raise_counter(tx, chain, count)
    return imported, count - start - imported


def _size(tx: Tx, chain: str) -> int:
    return int(tx.value(select(func.count()).select_from(T).where(T.c.chain == chain)) or 0)


def _load(tx: Tx, rows: Sequence[Sequence[Any]]) -> None:
    """Rows in the order of the table's columns, past SQLAlchemy; known keys stay as they are."""
    cursor: Any = tx.connection.connection.cursor()
    names = ", ".join(_COLUMNS)
    if tx.connection.dialect.name == "sqlite":
        places = ", ".join("?" * len(_COLUMNS))
        cursor.executemany(f"INSERT OR IGNORE INTO addresses ({names}) VALUES ({places})", rows)
    else:
        cursor.execute("CREATE TEMP TABLE loaded (LIKE addresses) ON COMMIT DROP")
        with cursor.copy(f"COPY loaded ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute("INSERT INTO addresses SELECT * FROM loaded ON CONFLICT DO NOTHING")
        cursor.execute("DROP TABLE loaded")
    cursor.close()


def copy_all(source: Tx, target: Tx, chain: str) -> int:
    """Copy every address of a chain into an empty ledger, counter included; how many."""
    ensure_chain(target, chain)
    count = counter(source, chain)
    copied = 0
    stream = source.connection.execution_options(yield_per=_PAGE).execute(
        select(T).where(T.c.chain == chain).order_by(T.c.key)
    )
    for page in stream.partitions():
        _load(target, [tuple(row) for row in page])
        copied += len(page)
    _raise_counter(target, chain, count)
    return copied


# --- the filter -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Loaded:
    """Filters and the counter they were made from. `signing` is `every` where that is the same."""

    every: AddressFilter
    signing: AddressFilter
    counter: int


def load_filter(tx: Tx, chain: str) -> Loaded:
    """Read every key once. The counter is read first: the filter may know more, never less."""
    count = counter(tx, chain)
    every = AddressFilter(_pages(tx, chain, signing_only=False))
    strangers = tx.value(select(T.c.seq).where(T.c.chain == chain, T.c.account.is_(None)).limit(1))
    if strangers is None:
        return Loaded(every, every, count)
    return Loaded(every, AddressFilter(_pages(tx, chain, signing_only=True)), count)


def _pages(tx: Tx, chain: str, *, signing_only: bool) -> Iterator[list[bytes]]:
    where = T.c.chain == chain
    if signing_only:
        where = and_(where, T.c.account.is_not(None))
    # In the order of the primary key, which is the order that the filter wants.
    stream = tx.connection.execution_options(yield_per=_PAGE).execute(
        select(T.c.key).where(where).order_by(T.c.key)
    )
    for page in stream.partitions():
        yield [bytes(row[0]) for row in page]


def refresh(tx: Tx, chain: str, loaded: Loaded) -> None:
    """Bring filters up to date with what was added since they were made."""
    count = counter(tx, chain)
    rows = tx.all(select(T.c.key, T.c.account).where(T.c.chain == chain, T.c.seq > loaded.counter))
    if loaded.signing is loaded.every and any(row.account is None for row in rows):
        made = load_filter(tx, chain)
        loaded.every, loaded.signing, loaded.counter = made.every, made.signing, made.counter
        return
    for row in rows:
        loaded.every.add(bytes(row.key))
        if row.account is not None and loaded.signing is not loaded.every:
            loaded.signing.add(bytes(row.key))
    loaded.counter = count


# --- questions ------------------------------------------------------------------------------------


def find(tx: Tx, chain: str, keys: Sequence[bytes]) -> dict[bytes, Known]:
    """The addresses among these keys, matched exactly."""
    found: dict[bytes, Known] = {}
    asked = list(dict.fromkeys(keys))
    for start in range(0, len(asked), _MOST_ASKED):
        rows = tx.all(
            select(T.c.key, T.c.address, T.c.role, T.c.registered_at, T.c.elsewhere, T.c.account)
            .where(T.c.chain == chain, T.c.key.in_(asked[start : start + _MOST_ASKED]))
        )  # fmt: skip
        for row in rows:
            found[bytes(row.key)] = Known(
                row.address,
                Role(row.role),
                row.elsewhere or row.registered_at is not None,
                row.account is not None,
            )
    return found


def listed(
    tx: Tx, chain: str | None = None, role: Role | None = None, limit: int | None = None
) -> Sequence[Row[Any]]:
    """Rows in the order in which they were added."""
    query = select(T).order_by(T.c.chain, T.c.seq)
    if chain is not None:
        query = query.where(T.c.chain == chain)
    if role is not None:
        query = query.where(T.c.role == role)
    return tx.all(query if limit is None else query.limit(limit))


def own_senders(tx: Tx, chain: str, most: int) -> Sequence[str]:
    """Addresses that we sign for, at most so many, oldest first."""
    return list(
        tx.connection.execute(
            select(T.c.address)
            .where(T.c.chain == chain, T.c.account.is_not(None))
            .order_by(T.c.seq)
            .limit(most)
        ).scalars()
    )


# --- registering ----------------------------------------------------------------------------------


def unregistered(tx: Tx, chain: str, limit: int = 100) -> Sequence[Row[Any]]:
    """Deposit addresses that the platform has not been told, oldest first."""
    return tx.all(
        select(T)
        .where(
            T.c.chain == chain,
            T.c.role == Role.DEPOSIT,
            T.c.registered_at.is_(None),
            T.c.elsewhere.is_(False),
        )
        .order_by(T.c.seq)
        .limit(limit)
    )


def mark_registered(tx: Tx, chain: str, keys: Sequence[bytes]) -> int:
    """The platform took these; how many were not marked before."""
    touched = 0
    for start in range(0, len(keys), _MOST_ASKED):
        touched += tx.run(
            update(T)
            .where(
                T.c.chain == chain,
                T.c.key.in_(keys[start : start + _MOST_ASKED]),
                T.c.registered_at.is_(None),
            )
            .values(registered_at=tx.now_us)
        )
    return touched


def count_registered(tx: Tx, chain: str) -> int:
    """Deposit addresses of ours that the platform was told."""
    query = select(func.count()).select_from(T).where(
        T.c.chain == chain, T.c.role == Role.DEPOSIT, T.c.registered_at.is_not(None)
    )  # fmt: skip
    return int(tx.value(query) or 0)


def next_index(tx: Tx, chain: str, account: int) -> int:
    """The first index of an account above every stored one."""
    query = select(func.max(T.c.idx)).where(T.c.chain == chain, T.c.account == account)
    highest = tx.value(query)
    return 0 if highest is None else int(highest) + 1


def by_text(tx: Tx, text: str) -> Sequence[Row[Any]]:
    """Rows of an address as it is spelled in the books, on every chain."""
    return tx.all(select(T).where(T.c.address == text))
