"""Game day: the mistakes of people, on the demo's own parts; each is refused or alarmed in words
that help, and afterwards chain, platform and books agree to the unit.

One test plays what needs processes, one after another, on one node, one platform, one ledger. The
others play what a process would only make slower: two hosts, a wrong clock, a cut-over. An upgrade
that is killed stands in `test_upgrade`, the import that was forgotten in `test_import`.
"""

from __future__ import annotations

import asyncio
import csv
import resource
import sqlite3
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.demo.parts import command, wait_until
from chain_adapter.demo.scenario import CHAIN, Scenario
from chain_adapter.demo.truth import compare
from chain_adapter.errors import AlreadyRunning
from chain_adapter.keys.derivation import Account
from chain_adapter.keys.keystore import Keystore, PublicKeys
from chain_adapter.store import schema
from tests.fixtures import run_anvil
from tests.operator.conftest import MakeWorld
from tests.operator.test_disasters import all_credited
from tests.stories.truth import check, payments

USDT = f"[chains.{CHAIN}.assets.USDT]"


class Game:
    """The demo's parts, and a configuration that people change."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.config = scenario.config_file
        self.text = self.config.read_text()
        self.state = scenario.folder / "state"
        self.played: list[tuple[str, str]] = []

    async def tried(self, *words: str) -> tuple[int, str]:
        """A command to its end: exit status and all it said. A daemon that starts is stopped."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "chain_adapter.cli", *words, "--config", str(self.config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            async with asyncio.timeout(40):
                out, err = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise AssertionError(f"{words} went on") from None
        return int(process.returncode or 0), (out + err).decode()

    async def refused(
        self, mistake: str, *says: str, words: tuple[str, ...] = ("run",), status: int = 2
    ) -> None:
        """With the world as it is now the command ends with this status and these words."""
        code, said = await self.tried(*words)
        assert code == status, f"{mistake}: {code} {said}"
        for one in says:
            assert one in said, f"{mistake}: {said}"
        assert "Traceback" not in said, said
        line = next(one for one in said.splitlines() if says[0] in one)
        self.played.append((mistake, line[:160]))

    async def written(self, mistake: str, old: str, new: str, *says: str, **more: Any) -> None:
        """As `refused`, with a change of the configuration."""
        assert old in self.text, old
        self.config.write_text(self.text.replace(old, new))
        try:
            await self.refused(mistake, *says, **more)
        finally:
            self.config.write_text(self.text)

    async def asked(self, *words: str) -> Any:
        return await command(*words, "--config", str(self.config), "--json")

    async def restarted(self, text: str | None = None) -> None:
        await self.scenario.daemon.stop()
        self.config.write_text(text or self.text)
        await self.scenario.daemon.start()

    async def credited(self, address: str) -> bool:
        rows = await self.scenario.control.get("deposits")
        return any(float(r["credited"]) > 0 for r in rows if r["address_to"] == address)

    async def order(self) -> tuple[str, Callable[[str], Awaitable[bool]]]:
        """One plain withdrawal; its id, and whether it stands in a state at the platform."""
        made = await self.scenario._order("plain", "ETH", "complete")

        async def stands(state: str) -> bool:
            return bool((await self.scenario._platform_order(made))["state"] == state)

        return made.trans_id, stands


# --- what is refused at the start -----------------------------------------------------------------


async def at_the_start(g: Game) -> None:
    s = g.scenario
    (g.state / "adapter.db").rename(g.state / "elsewhere.db")
    await g.refused("no volume", "there is no ledger", "unmounted volume")
    (g.state / "elsewhere.db").rename(g.state / "adapter.db")
    other = s.folder / "other"
    await foreign_ledger(g, other)
    await g.written("another ledger", "sqlite:///state/adapter.db",
                    f"sqlite:///{other}/state/adapter.db", "different ledgers")  # fmt: skip
    await g.written("swapped keystores", 'keystore = "keys/keystore.json"',
                    f'keystore = "{other}/keys/keystore.json"', "different ledgers")  # fmt: skip
    usdt = s.assets["USDT"]
    await g.written("wrong decimals", f'{usdt.contract}"\ndecimals = 6',
                    f'{usdt.contract}"\ndecimals = 18', "have 6 decimals")  # fmt: skip
    contract = str(usdt.contract)
    mistyped = contract[:-1] + ("1" if contract[-1] != "1" else "2")
    await g.written("token contract mistyped", contract, mistyped, "a digit is mistyped")
    await g.written("another token's contract", contract, mistyped.lower(),
                    "another token needs another name")  # fmt: skip
    await g.written("renamed chain", f"[chains.{CHAIN}", "[chains.main", "keeps its name")
    await g.written("renamed asset", USDT, USDT.replace("USDT", "TETHER") + '\nsymbol = "USDT"',
                    "an asset keeps its name")  # fmt: skip
    production = 'profile = "production"\n[database]'
    await g.written("http platform in production", "[database]", production,
                    "is http in profile production")  # fmt: skip
    passphrase = s.folder / "keys" / "passphrase"
    right = passphrase.read_text()
    passphrase.write_text("wrong horse\n")
    await g.refused("lost passphrase", "the passphrase does not fit", status=2)
    passphrase.write_text(right)
    set_schema(g, "99")
    await g.refused("older binary on a newer database", "newer version; run that one")
    set_schema(g, str(schema.VERSION))
    ours = s.folder / "platform" / "party_a_public.pem"
    await g.written("swapped keys", "platform_public.pem", ours.name, "failed   platform",
                    words=("check",), status=1)  # fmt: skip
    testnet = run_anvil("--chain-id", "11155111")
    try:
        node = f'endpoints = ["{s.devnet.url}"]'
        if node not in g.text:
            node = next(line for line in g.text.splitlines() if line.startswith("endpoints"))
        await g.written("endpoint of a testnet", node, f'endpoints = ["{testnet.url}"]',
                        "serves chain id 11155111", words=("check",), status=1)  # fmt: skip
    finally:
        testnet.stop()


async def foreign_ledger(g: Game, folder: Path) -> None:
    """Another installation's keys and books."""
    (folder / "keys").mkdir(parents=True)
    passphrase = folder / "keys" / "passphrase"
    passphrase.touch(0o600)
    passphrase.write_text((g.scenario.folder / "keys" / "passphrase").read_text())
    text = g.text.replace('"keys/', f'"{folder}/keys/').replace(
        "sqlite:///state", f"sqlite:///{folder}/state"
    )
    config = folder / "adapter.toml"
    config.write_text(text)
    await command("keys", "init", "--yes", "--config", str(config), "--json")


def set_schema(g: Game, version: str) -> None:
    connection = sqlite3.connect(g.state / "adapter.db")
    connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (version,))
    connection.commit()
    connection.close()


# --- what happens to a running daemon -------------------------------------------------------------


async def two_daemons(g: Game) -> None:
    await g.refused("a second daemon on one database", "another daemon")


async def disk_full(g: Game) -> None:
    """The database may not grow, the log a little; money moves on; then somebody makes room."""
    pid = g.scenario.daemon.pid
    log = g.scenario.folder / "daemon.log"
    before = log.stat().st_size
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (before + 8192, most))
    count = len(g.scenario.round.deposits)
    await g.scenario._deposit("plain", "ETH", 1)
    made = g.scenario.round.deposits[count]
    _, stands = await g.order()

    def fresh() -> str:
        return log.read_bytes()[before:].decode(errors="replace")

    async def said() -> bool:
        return '"trouble"' in fresh()

    await wait_until("the daemon to say that it cannot write", said, 30)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))
    await wait_until("the deposit after the disk was full", lambda: g.credited(made.address), 90)
    await wait_until("the withdrawal after it", lambda: stands("complete"), 90)
    line = next(one for one in fresh().splitlines() if '"trouble"' in one)
    assert "database: " in line
    g.played.append(("disk full", line[:160]))


async def pause_too_late(g: Game) -> None:
    """It is claimed when somebody pauses the chain: it is paid, once; the next one waits."""
    await g.scenario.devnet.automine(None)
    first, stands = await g.order()
    await wait_until("the claim", lambda: stands("paying"), 30)
    await g.asked("chains", "pause", CHAIN, "--reason", "too late")
    await g.scenario.devnet.automine(0.25)
    await wait_until("the claimed one to be paid", lambda: stands("complete"), 60)
    second, waits = await g.order()
    why: dict[str, Any] = {}

    async def held() -> bool:
        why.update(await g.asked("why", second))
        return "paused" in str(why.get("held_by"))

    await wait_until("the next one to wait", held, 30)
    assert await waits("pending")
    g.played.append(("pause too late", f"{first} paid; {second} held by: {why['held_by']}"[:160]))
    await g.asked("chains", "resume", CHAIN, "--reason", "over")
    await wait_until("the next one to be paid", lambda: waits("complete"), 60)


async def old_backup(g: Game) -> None:
    s = g.scenario
    copy = s.folder / "old.db"
    await g.asked("db", "backup", str(copy))
    await s.withdrawals(1)
    _, stands = await g.order()
    await wait_until("a claim", lambda: stands("paying"), 30)
    await s.daemon.kill()
    for end in ("", "-wal", "-shm"):
        (g.state / f"adapter.db{end}").unlink(missing_ok=True)
    await g.asked("db", "restore", str(copy))
    await s.daemon.start()
    await wait_until("the payment under way", lambda: stands("complete"), 90)
    g.played.append(("old backup", "adopted from the signer's journal, paid once"))


async def wrong_depth(g: Game) -> None:
    """Told below the platform's depth: the books believe it, the platform does not."""
    s = g.scenario
    low = g.text.replace("platform_confirmations = 5", "platform_confirmations = 1")
    low = low.replace("confirmations = 3\n", "confirmations = 1\n")
    assert low != g.text
    await g.restarted(low)
    count = len(s.round.deposits)
    await s._deposit("plain", "ETH", 1)
    made = s.round.deposits[count]

    async def booked() -> bool:
        rows = await g.asked("deposits", "list", "--state", "CREDITED")
        return any(row["to"] == made.address for row in rows)

    await wait_until("the books to believe it", booked, 60)
    if await g.credited(made.address):
        raise AssertionError("the platform credited below its own depth")
    export = s.folder / "export.csv"
    rows = await s.control.get("deposits")
    with export.open("w", newline="") as file:
        columns = ("kind", "symbol", "txid", "address_to", "memo", "trans_id", "amount", "fee",
                   "status")  # fmt: skip
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        for row in rows:
            status = "credited" if float(row["credited"]) else "pending"
            writer.writerow({**row, "kind": "deposit", "status": status, "fee": ""})
    day = datetime.now(UTC).date().isoformat()
    code, said = await g.tried("reconcile", "--day", day, "--platform", str(export))
    assert code == 1, said
    assert "deposit_platform_status_differs" in said, said
    g.played.append(("wrong depth", "reconcile: deposit_platform_status_differs"))
    await g.restarted()
    head = (await s.reader.head()).ref.height
    await g.asked("deposits", "tell", "--chain", CHAIN, "--from", "0", "--to", str(head),
                  "--reason", "the platform credits at 5")  # fmt: skip
    await wait_until("it to be credited after all", lambda: g.credited(made.address), 60)


async def talkative_log(g: Game) -> None:
    """The most talkative level, through a deposit and a withdrawal: no secret is in the log."""
    s = g.scenario
    await g.restarted(g.text + '[log]\nlevel = "debug"\n')
    await s._deposit("plain", "USDT", 1)
    await s.withdrawals(1)
    await g.restarted()
    log = (s.folder / "daemon.log").read_text(errors="replace").lower()
    keystore = s.folder / "keys" / "keystore.json"
    passphrase = (s.folder / "keys" / "passphrase").read_text().strip()
    opened = Keystore.open(keystore, passphrase)
    secrets = {
        "passphrase": passphrase,
        "request-id secret": PublicKeys.load(keystore).request_id_secret.hex(),
        **{
            f"private key {account}": opened.private_key("secp256k1", 60, account, 0).hex()
            for account in Account
        },
    }
    opened.close()
    pem = (s.folder / "platform" / "party_a_private.pem").read_text().splitlines()[1]
    secrets["RSA key"] = pem
    leaked = [name for name, one in secrets.items() if one.lower() in log]
    assert not leaked, leaked
    g.played.append(("log level that would print secrets", "none printed at level debug"))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_game_day(tmp_path: Path) -> None:
    s = Scenario("evm", tmp_path, quiet=True)
    try:
        await s.open(pool=24)
        await s.deposits(3)
        await s.withdrawals(1)
        await s.settle()
        g = Game(s)
        await two_daemons(g)
        await s.daemon.stop()
        await at_the_start(g)
        await s.daemon.start()
        for play in (pause_too_late, old_backup, wrong_depth, disk_full, talkative_log):
            await play(g)
        await s.settle()
        assert (await g.asked("db", "check"))["ok"]
        await s.collect()
        verdict = await compare(s)
        for mistake, said in g.played:
            print(f"{mistake:36} {said}")
        assert verdict.ok, verdict
        assert (verdict.doubled, verdict.missing, verdict.paid_twice) == (0, 0, 0)
        assert len(g.played) >= 17
    finally:
        await s.stack.aclose()


# --- without processes ----------------------------------------------------------------------------


async def test_two_hosts_with_one_configuration(
    postgres_url: str, worlds: Callable[..., Awaitable[Any]]
) -> None:
    """The second host is told who holds the database; the first one notices nothing."""
    w = await worlds(postgres_url, top='instance = "host-a"')
    await w.step("lease")
    text = w.config_file.read_text()
    w.config_file.write_text(text.replace("host-a", "host-b"))
    first = w.daemon
    with pytest.raises(AlreadyRunning, match=r"'host-a' holds this database"):
        await w.start()
    w.daemon = first
    order = await w.order("1")
    await w.until(w.ended(order))
    await check(w)


@pytest.mark.parametrize("off_s", [-3600, 3600])
async def test_a_clock_that_is_off_by_an_hour(world: MakeWorld, off_s: int) -> None:
    """In the middle of everything, and set right again: no decision hangs on it."""
    w = await world()
    deposit, _ = await w.deposit("2")
    order = await w.order("1")
    await w.tick(3)
    w.clock.advance(off_s)
    late, _ = await w.deposit("3")
    again = await w.order("1.5")
    await w.tick(4)
    await w.restart()
    await w.tick(4)
    w.clock.advance(-off_s)
    await w.until(w.ended(order, again))
    await w.until(lambda: all_credited(w, [deposit, late]))
    await w.tick(4)
    await check(w, quiet=False)


async def test_a_cut_over_without_import_pays_nothing_by_itself(world: MakeWorld) -> None:
    """What waits at the platform may have been paid by somebody else: it is held, and told."""
    w = await world(top='first_orders = "hold"')
    orders = [await w.order(str(n + 1)) for n in range(4)]
    await w.tick(10)
    assert {w.state(one) for one in orders} == {"QUEUED"}
    assert {w.payout(one).held_reason for one in orders} == {"first page of a new ledger"}
    assert "payout_held" in w.alarms()
    assert payments(w) == {}
