"""`recover`: who may run it, what it refuses, what it opens again, and how fast it is."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from chain_adapter.assembly import pure_chain
from chain_adapter.clock import SystemClock
from chain_adapter.config import load
from chain_adapter.core.states import Role
from chain_adapter.errors import AlreadyRunning
from chain_adapter.keys import init as keys_init
from chain_adapter.keys.keystore import MIN_N, journal_path, public_path
from chain_adapter.store import addresses, ledger, recover_gate
from chain_adapter.store.exclusive import alone
from chain_adapter.store.store import Store
from tests.operator.conftest import MakeWorld, command, done, lose, sound
from tests.operator.test_disasters import all_credited, busy, ids_of
from tests.stories.harness import World
from tests.stories.parts import CHAIN, PASSPHRASE
from tests.stories.truth import check

WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
RECOVER = ("recover", "--chain", CHAIN, "--from", "0", "--addresses")


async def with_words(world: MakeWorld) -> World:
    """A world whose seed is on paper too."""
    w = await world(start=False)
    _forget_keys(w.folder)
    pure = pure_chain(load(w.config_file).chain(CHAIN))
    info = pure.info
    keys_init.init(
        w.folder / "keystore.json", PASSPHRASE, WORDS,
        [keys_init.ChainKeys(CHAIN, info.scheme, info.coin_type, pure.address_of)], n=MIN_N,
    )  # fmt: skip
    return await w.open()


def _forget_keys(folder: Path) -> None:
    keystore = folder / "keystore.json"
    for path in (keystore, public_path(keystore)):
        path.unlink()
    for path in folder.glob(f"{journal_path(keystore).name}*"):
        path.unlink()


async def test_everything_is_lost_but_the_words(world: MakeWorld) -> None:
    w = await with_words(world)
    made, asked = await busy(w, 5, 4)
    await w.until(w.ended(*asked))
    await w.until(lambda: all_credited(w, made))
    ids, paid = await ids_of(w), len(await w.platform.internal())
    await w.stop()
    lose(w.url)
    _forget_keys(w.folder)
    without = await command(w.config_file, *RECOVER, "30")
    assert without.status == 2
    assert "keys init --mnemonic-file" in without.err
    words = w.folder / "words"
    words.write_text(WORDS + "\n")
    words.chmod(0o600)
    await done(w.config_file, "keys", "init", "--yes", "--mnemonic-file", str(words))
    found = await done(w.config_file, *RECOVER, "30")
    assert len(found["unknown"]) >= 4  # what no journal knows any more
    await w.start()
    await w.tick(10)
    assert await ids_of(w) == ids
    order = await w.order("0.5")
    w.known_trouble = (Exception,)
    await w.tick(10)
    assert w.state(order) == "QUEUED"  # nothing is signed before somebody answers for them
    assert "foreign_use" in w.alarms()
    await w.stop()
    again = await done(w.config_file, *RECOVER, "30", "--acknowledge", "the old journal burnt")
    assert again["acknowledged"] == len(found["unknown"])
    await w.start()
    assert "foreign_use" not in w.alarms()
    await w.until(w.ended(order))
    assert await ids_of(w) == ids
    await w.tick(3)
    assert paid <= len(await w.platform.internal())
    assert not [row for row in await w.platform.deposits() if row["duplicate"]]
    await sound(w.config_file)


async def test_new_books_of_old_keys_wait_for_recover(world: MakeWorld) -> None:
    """Somebody makes the ledger anew and starts: nothing is signed, and the alarm says why."""
    w = await world()
    made, asked = await busy(w, 3, 2)
    await w.until(w.ended(*asked))
    await w.until(lambda: all_credited(w, made))
    await w.stop()
    lose(w.url)
    answer = await command(w.config_file, "keys", "init", "--yes", "--json")
    assert answer.status == 0
    assert "recover" in answer.err
    await w.start()
    order = await w.order("1")
    await w.tick(10)
    assert w.state(order) == "QUEUED"
    assert "recover_needed" in w.alarms()
    await w.stop()
    found = await done(w.config_file, *RECOVER, "30")
    assert found["done"]
    await w.start()
    assert "recover_needed" not in w.alarms()
    await w.until(w.ended(order))
    await w.until(lambda: all_credited(w, made))
    await w.tick(4)
    await check(w, quiet=False)
    await sound(w.config_file)


async def test_a_kill_in_the_middle_keeps_the_gate_shut(world: MakeWorld) -> None:
    """`recover` made the books and died: a start signs nothing until it has run to its end."""
    w = await world()
    made, asked = await busy(w, 2, 2)
    await w.until(w.ended(*asked))
    await w.until(lambda: all_credited(w, made))
    await w.stop()
    lose(w.url)
    # What is there once the books were made and before the first block was read.
    public = keys_init.PublicKeys.load(w.folder / "keystore.json")
    store = ledger.create(w.url, SystemClock(), ledger_id=public.ledger_id)
    store.write_now(lambda tx: recover_gate.shut(tx, [CHAIN]))
    store.close()
    await w.start()
    order = await w.order("1")
    await w.tick(8)
    assert w.state(order) == "QUEUED"
    await w.stop()
    await done(w.config_file, *RECOVER, "30")
    await w.start()
    await w.until(w.ended(order))
    await w.tick(3)
    await check(w, quiet=False)


async def test_it_is_refused_beside_a_daemon(world: MakeWorld) -> None:
    w = await world()
    answer = await command(w.config_file, *RECOVER, "5")
    assert answer.status == 2
    assert "another daemon" in answer.err
    order = await w.order("1")
    await w.until(w.ended(order))  # and the daemon did not mind


async def test_it_refuses_what_it_cannot_read(world: MakeWorld) -> None:
    w = await world()
    await w.stop()
    for words, says in (
        (("--chain", CHAIN, "--from", "10000", "--addresses", "5"), "there is no 10000 yet"),
        (("--chain", "nowhere", "--from", "0", "--addresses", "5"), "no chain 'nowhere'"),
        (("--chain", CHAIN, "--from", "-1", "--addresses", "5"), "--from"),
        (("--chain", CHAIN, "--from", "0", "--addresses", "0"), "--addresses"),
    ):
        answer = await command(w.config_file, "recover", *words)
        assert answer.status == 2, answer.out
        assert says in answer.err
    await w.start()


async def test_a_memo_chain_has_one_address_whatever_is_asked(world: MakeWorld) -> None:
    w = await world(flavour="memo")
    txid, _ = await w.deposit("2")
    order = await w.order("1", memo="77")
    await w.until(w.ended(order))
    await w.until(lambda: all_credited(w, [txid]))
    ids = await ids_of(w)
    await w.stop()
    lose(w.url)
    found = await done(w.config_file, *RECOVER, "500")
    assert (found["addresses"], found["derived"]) == (1, 1)
    await w.start()
    await w.tick(10)
    assert await ids_of(w) == ids
    await check(w, quiet=False)


async def test_coins_are_found_again(world: MakeWorld) -> None:
    w = await world(flavour="coin")
    made, asked = await busy(w, 4, 3)
    await w.until(w.ended(*asked))
    await w.until(lambda: all_credited(w, made))
    ids = await ids_of(w)
    await w.stop()
    lose(w.url)
    await done(w.config_file, *RECOVER, "30")
    await w.start()
    order = await w.order("0.75")
    await w.until(w.ended(order))
    assert await ids_of(w) == ids
    await w.tick(3)
    await check(w, quiet=False)
    await sound(w.config_file)


async def test_addresses_of_50_000_users_are_watched_again(world: MakeWorld) -> None:
    w = await world()
    await w.stop()
    lose(w.url)
    begun = time.monotonic()
    found = await done(w.config_file, *RECOVER, "50000")
    seconds = time.monotonic() - begun
    assert found["derived"] == 50_000
    assert seconds < 60, f"{seconds:.0f} s"
    await w.start()
    last = w.daemon.accounts.at(CHAIN, 1, 49_999).address
    txid, _ = await w.deposit("1", address=last)
    await w.tick(6)
    assert [row.state for row in w.deposits() if row.txid == txid] == ["CONFIRMED"]


# --- alone on the books ---------------------------------------------------------------------------


@pytest.fixture
def books(database_url: str) -> str:
    ledger.create(database_url, SystemClock(), ledger_id="ab" * 16).close()
    return database_url


def test_a_lease_that_is_renewed_is_respected(books: str) -> None:
    """Whoever lives is not pushed out, whatever instance name it has."""
    daemon, other = Store(books, SystemClock()), Store(books, SystemClock())
    lock = ledger.InstanceLock(books)
    lock.take()
    ledger.take_lease(daemon, "adapter-1")
    stop = threading.Event()

    def renew() -> None:
        while not stop.wait(0.3):
            ledger.take_lease(daemon, "adapter-1")

    thread = threading.Thread(target=renew)
    thread.start()
    try:
        with pytest.raises(AlreadyRunning), alone(other, "recover"):
            raise AssertionError("two at once")
    finally:
        stop.set()
        thread.join()
        lock.release()
        daemon.close()
        other.close()


def test_a_lease_of_the_dead_is_outwaited(books: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "LEASE_S", 1)
    dead, other = Store(books, SystemClock()), Store(books, SystemClock())
    ledger.take_lease(dead, "adapter-1")
    with alone(other, "recover") as lease:
        assert lease.fence == 2
    with alone(other, "recover"):  # it was given back
        pass
    dead.close()
    other.close()


def test_deriving_again_derives_nothing_new(books: str) -> None:
    store = Store(books, SystemClock())

    def derived(tx: object, first: int, end: int) -> None:
        rows = [
            addresses.NewAddress(bytes([n]), f"a{n}", Role.DEPOSIT, 1, n) for n in range(first, end)
        ]
        addresses.add_many(tx, CHAIN, rows)  # type: ignore[arg-type]
        recover_gate.note_ahead(tx, CHAIN, recover_gate.Ahead(first, end))  # type: ignore[arg-type]

    def first() -> int:
        return store.read_now(lambda tx: recover_gate.first_unused(tx, CHAIN, 1))

    assert first() == 0
    store.write_now(lambda tx: derived(tx, 0, 10))
    assert first() == 0
    store.write_now(lambda tx: addresses.mark_registered(tx, CHAIN, [bytes([3])]))
    assert first() == 4
    store.write_now(lambda tx: derived(tx, 4, 14))
    assert first() == 4
    store.write_now(lambda tx: addresses.add(tx, CHAIN, b"x", "x", Role.DEPOSIT, account=1, idx=14))
    assert first() == 15  # the registrar went on
    store.close()
