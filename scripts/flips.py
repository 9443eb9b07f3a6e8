"""`make flips`: a small round of money once for each assumption about the platform, turned round.

For every rule of the sandbox and each of its other values: a sandbox that behaves so, a daemon with
keys of its own on a shared local chain, deposits and withdrawals with lost answers among them. Then
chain, platform and books are compared: nothing doubled, nothing lost; what could not be done waits
and says why. Coins with memos are played on the other plugin's local chain.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy import or_, select

from chain_adapter import money
from chain_adapter.clock import SystemClock
from chain_adapter.config import load
from chain_adapter.demo.parts import Control, Process, command, wait_until
from chain_adapter.demo.scenario import BLOCK_S, PLATFORM_CONFIRMATIONS, Scenario
from chain_adapter.errors import AdapterError
from chain_adapter.registry import plugin as plugin_named
from chain_adapter.sandbox.behaviour import RULES, Rule
from chain_adapter.sandbox.server import Sandbox
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Tx

PLAIN, MEMO = "evm", "tron"
MEMO_RULES = {"memo_again", "memo_flag", "unknown_memo"}
OWN_CHAIN = {"replacement"}  # its blocks are stopped for a while
DEEPER = {("deposit_depth", "above"), ("withdraw_depth", "above")}
"""What `platform_confirmations` is for: set one higher, as `probe` finds and the documents say."""
LIMIT_S = 45.0
QUIET_S = 12.0  # nothing has moved for so long: what waits now waits for a person or for time
POOL = 12


@dataclass(slots=True)
class Result:
    """One line of the table."""

    rule: str
    assumed: str
    opposite: str
    did: str
    doubled: int = 0
    lost: int = 0
    why: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.doubled and not self.lost


class Round(Scenario):
    """The demo's parts on a chain that is there already, and a round of its own."""

    def __init__(self, plugin: str, folder: Path, devnet: Any, rule: str, value: str) -> None:
        super().__init__(plugin, folder, quiet=True)
        self.devnet = devnet
        self.rule, self.value = rule, value
        self.random.seed(f"{rule}={value}")

    async def prepare(self) -> None:
        """Platform with the rule turned, keys, funds, daemon."""
        sandbox = Sandbox(self.folder / "platform")
        await sandbox.start()
        self.stack.push_async_callback(sandbox.stop)
        self.control = Control(sandbox.url)
        self._platform_url, self._pool = sandbox.url, POOL
        self.stack.push_async_callback(self.control.close)
        await self._coins()
        await self.control.post("behaviour", rule=self.rule, value=self.value)
        self._write_config(collect=False)
        self._settings()
        made = await command("keys", "init", "--config", str(self.config_file), "--yes", "--json")
        self.hot = next(row["address"] for row in made if row["role"] == "hot")
        self.gas = next(row["address"] for row in made if row["role"] == "gas")
        self._open_reader()
        await self._fund()
        await self.lose_answer("address/register")
        self.daemon = Process(
            "daemon", ("run", "--config", str(self.config_file)), self.folder / "daemon.log"
        )
        await self.daemon.start()
        self.stack.push_async_callback(self.daemon.stop)
        await wait_until("a pool of addresses", lambda: self._pool_holds(POOL), LIMIT_S)

    def _settings(self) -> None:
        text = self.config_file.read_text().replace("[keys]\n", '[keys]\nsigner = "embedded"\n')
        if (self.rule, self.value) in DEEPER:
            old = f"platform_confirmations = {PLATFORM_CONFIRMATIONS}"
            text = text.replace(old, f"platform_confirmations = {PLATFORM_CONFIRMATIONS + 1}")
        if self.rule != "replacement":
            text = text.replace("replace_after_s = 2.0", "replace_after_s = 30")
        self.config_file.write_text(text)

    async def lose_answer(self, path: str) -> None:
        """The next call of that path has its effect; its answer never comes."""
        await self.control.post("faults", path=path, kind="reset_after", times=1)

    # --- the round --------------------------------------------------------------------------------

    async def play(self) -> None:
        """Deposits and withdrawals, the answer to one of each kind lost."""
        names = list(self.assets)
        await self.lose_answer("deposit/notify")
        for name in names:
            await self._deposit("plain", name, 1)
        if hasattr(self.devnet, "split") and not self.memo:
            await self._deposit("twice to one address in one transaction", names[0], 1)
        if self.memo:
            address = self.round.deposits[0].address
            await self.devnet.pay(names[0], address, self.amount(self.assets[names[0]]), "999999")
        await self.control.post(
            "faults", path="withdraw/notify", kind="error_code", code=1000018, times=1
        )
        refused = await self._order("refused claim", names[0], "cancelled")
        await self._for_a_while(lambda: self._ended([refused.trans_id]))
        await self.lose_answer("withdraw/notify")
        await self.lose_answer("withdraw/cancel")
        await self._order("plain", names[0], "complete")
        await self._order("plain", names[-1], "complete")
        await self._order("bad address", names[0], "cancelled", address="not an address")
        await self._order("too many decimals", names[-1], "cancelled", more_decimals=True)
        taken_back = await self._order("taken back", names[0], "cancelled")
        try:
            await self.control.post(f"withdrawals/{taken_back.trans_id}", state="cancelled")
        except AdapterError:
            taken_back.ends = "complete"  # it was claimed already
        if self.rule == "replacement":
            await self._stuck_one()
        await self._for_a_while(self._at_rest)

    async def _stuck_one(self) -> None:
        orders = [w.trans_id for w in self.round.withdrawals]
        await self._for_a_while(lambda: self._ended(orders))
        await self.devnet.automine(None)
        stuck = await self._order("stuck", next(iter(self.assets)), "complete")

        async def replaced() -> bool:
            return bool(self.books(_replacements))

        await wait_until(f"{stuck.trans_id} to be replaced", replaced, LIMIT_S)
        await self.devnet.automine(BLOCK_S)

    async def _for_a_while(self, holds: Callable[[], Awaitable[bool]]) -> None:
        """Until it holds, or nothing has moved for a while."""
        ends = time.monotonic() + LIMIT_S
        seen, since = "", time.monotonic()
        while time.monotonic() < ends and not await holds():
            now = json.dumps(self.books(_moved))
            if now != seen:
                seen, since = now, time.monotonic()
            if time.monotonic() - since > QUIET_S:
                return
            await asyncio.sleep(0.3)

    async def _ended(self, trans_ids: Sequence[str]) -> bool:
        rows = {row["trans_id"]: row for row in await self.control.get("withdrawals")}
        return all(rows[one]["state"] in ("complete", "cancelled") for one in trans_ids)

    async def _at_rest(self) -> bool:
        if not await self._ended([w.trans_id for w in self.round.withdrawals]):
            return False
        rows = await self.control.get("deposits")
        credited = sum(1 for row in rows if row["credited"] != "0")
        return credited >= len(self.round.deposits) and not self.books(_unsent)

    def books(self, unit: Callable[[Tx], Any]) -> Any:
        """A look into the daemon's books beside it."""
        url = load(self.config_file).require_database().connect_url()
        store = ledger.open_ledger(url, SystemClock())
        try:
            return store.read_now(unit)
        finally:
            store.close()

    # --- the verdict ------------------------------------------------------------------------------

    async def judge(self, result: Result) -> None:
        """Chain and platform side by side; what is open must be waited for by somebody."""
        deposits = await self.control.get("deposits")
        orders = {row["trans_id"]: row for row in await self.control.get("withdrawals")}
        reasons: dict[str, str] = self.books(_reasons)
        done: Counter[str] = Counter()
        for made in self.round.deposits:
            rows = [
                row for row in deposits
                if row["symbol"] == made.symbol and row["address_to"] == made.address
                and (made.memo or "") == row["memo"]
            ]  # fmt: skip
            total = sum(self._units(made.symbol, row["credited"]) for row in rows)
            result.doubled += total > made.amount or sum(row["duplicate"] for row in rows)
            if total == made.amount:
                done["credited"] += 1
            else:
                self._open(result, f"deposit {made.address}", reasons)
        for order in self.round.withdrawals:
            row = orders[order.trans_id]
            paid = 0
            if order.kind != "bad address":
                paid = (await self.reader.balance(order.address, order.symbol)).amount
            result.doubled += paid > order.amount or bool(paid and row["state"] == "cancelled")
            if row["state"] == "complete":
                done["paid"] += 1
                result.lost += not paid
            elif row["state"] == "cancelled":
                done["sent back"] += 1
            else:
                self._open(result, f"order {order.trans_id}", reasons)
        asked = len(self.round.withdrawals)
        result.did = (
            f"credited {done['credited']} of {len(self.round.deposits)}, "
            f"paid {done['paid']} and sent back {done['sent back']} of {asked}"
        )
        others = sorted(set(reasons.values()) - set(result.why))
        if result.why:
            result.did += "; waits: " + "; ".join(dict.fromkeys(result.why))
        elif others:
            result.did += "; says: " + "; ".join(others[:2])
        if (self.rule, self.value) in DEEPER:
            result.did += " (platform_confirmations one higher)"

    def _open(self, result: Result, subject: str, reasons: dict[str, str]) -> None:
        """Not done: somebody must be able to see why."""
        why = reasons.get(subject) or reasons.get("everything")
        if why is None:
            result.lost += 1
            why = f"{subject}: nobody says why"
        result.why.append(why)

    def _units(self, symbol: str, text: str) -> int:
        return money.parse(text, self.assets[symbol].decimals)


def _moved(tx: Tx) -> list[str]:
    """What changes as long as the daemon gets on."""
    found = []
    for table in (schema.deposits, schema.payouts, schema.outbox):
        rows = tx.all(select(table.c.id, table.c.state))
        found.append(",".join(f"{row.id}{row.state}" for row in rows))
    return found


def _unsent(tx: Tx) -> int:
    table = schema.outbox
    rows = tx.all(
        select(table.c.id).where(table.c.state == "open", table.c.call != "internal/notify")
    )
    return len(rows)


def _replacements(tx: Tx) -> int:
    table = schema.attempts
    return len(tx.all(select(table.c.id).where(table.c.purpose == "replace")))


def _reasons(tx: Tx) -> dict[str, str]:
    """subject -> why it waits, from alarms, marks and unanswered messages."""
    found: dict[str, str] = {}
    general = ("platform_unreachable", "node_unreachable", "worker_failing", "register_refused",
               "order_bad")  # fmt: skip
    for row in tx.all(select(schema.alarms).where(schema.alarms.c.closed_at.is_(None))):
        if row.code in general:
            found["everything"] = f"{row.code} ({row.message[:70]})"
        elif not row.subject.startswith("payout:"):
            found[row.subject] = f"{row.code} ({row.message[:70]})"
    payouts = schema.payouts
    for row in tx.all(select(payouts)):
        why = row.held_reason or (row.reason if row.state == "QUEUED" else None)
        if why:
            found[f"order {row.trans_id}"] = f"held: {why[:80]}" if row.held_reason else why[:80]
    outbox, deposits = schema.outbox, schema.deposits
    waiting = or_(outbox.c.state == "parked", outbox.c.last_code > 0)
    for row in tx.all(select(outbox).where(waiting, outbox.c.state.in_(("open", "parked")))):
        kind, _, number = row.subject.partition(":")
        text = f"{row.call} is answered {row.last_code}, tried again"
        table = deposits if kind == "deposit" else payouts
        about = tx.one(select(table).where(table.c.id == int(number)))
        if about is not None:
            name = f"deposit {about.to}" if kind == "deposit" else f"order {about.trans_id}"
            found.setdefault(name, text)
    return found


# --- all of them ----------------------------------------------------------------------------------


@asynccontextmanager
async def local_chain(plugin: str) -> AsyncIterator[Any]:
    """A devnet that makes blocks; of the memo plugin, one with memos."""
    if plugin == MEMO:
        os.environ["CHAIN_ADAPTER_TRON_DEVNET"] = "memo"
    made: Any = await plugin_named(plugin, "flips").devnet("127.0.0.1:0")  # type: ignore[attr-defined]
    try:
        await made.automine(BLOCK_S)
        yield made
    finally:
        await made.close()


async def flip(rule: Rule, value: str, devnet: Any, plugin: str) -> Result:
    """One round; an error of it is its answer."""
    result = Result(rule.name, rule.values[0], value, "")
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chain-adapter-flip-"))
    one = Round(plugin, folder, devnet, rule.name, value)
    try:
        await one.prepare()
        await one.play()
        await one.judge(result)
    except (AdapterError, aiohttp.ClientError, TimeoutError) as error:
        result.lost, result.did = 1, f"the round broke: {error}"
    finally:
        await one.stack.aclose()
    result.seconds = time.monotonic() - begun
    if result.ok:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"{rule.name} = {value}: logs and state are kept in {folder}", file=sys.stderr)
    return result


async def all_flips(only: Sequence[str], parallel: int) -> list[Result]:
    cases = [
        (rule, value) for rule in RULES for value in rule.values[1:]
        if not only or rule.name in only
    ]  # fmt: skip
    results: dict[tuple[str, str], Result] = {}
    gate = asyncio.Semaphore(parallel)
    async with AsyncExitStack() as stack:
        shared = {
            name: await stack.enter_async_context(local_chain(name))
            for name in (PLAIN, MEMO)
            if any((rule.name in MEMO_RULES) == (name == MEMO) for rule, _ in cases)
        }

        async def one(rule: Rule, value: str) -> None:
            plugin = MEMO if rule.name in MEMO_RULES else PLAIN
            async with gate:
                if rule.name in OWN_CHAIN:
                    async with local_chain(plugin) as own:
                        result = await flip(rule, value, own, plugin)
                else:
                    result = await flip(rule, value, shared[plugin], plugin)
            results[rule.name, value] = result
            mark = "ok" if result.ok else "NOT OK"
            print(
                f"[{len(results):2}/{len(cases)}] {mark:6} {rule.name} = {value} "
                f"({result.seconds:.0f} s)", file=sys.stderr,
            )  # fmt: skip

        await asyncio.gather(*(one(rule, value) for rule, value in cases))
    return [results[rule.name, value] for rule, value in cases]


def table(results: Sequence[Result]) -> str:
    """Assumption, opposite, what the daemon did, doubled, lost."""
    titles = ("assumption", "opposite", "what the daemon did", "doubled", "lost")
    rows = [
        (f"{one.rule} = {one.assumed}", one.opposite, one.did, str(one.doubled), str(one.lost))
        for one in results
    ]
    widths = [max(len(row[i]) for row in [titles, *rows]) for i in range(len(titles))]
    lines = ["  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip()
             for row in [titles, tuple("-" * w for w in widths), *rows]]  # fmt: skip
    doubled, lost = sum(one.doubled for one in results), sum(one.lost for one in results)
    lines += ["", f"{len(results)} assumptions turned round: doubled {doubled}, lost {lost}"]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("only", nargs="*", metavar="RULE", help="these rules only")
    parser.add_argument("--parallel", type=int, default=2, metavar="N")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    unknown = set(args.only) - {rule.name for rule in RULES}
    if unknown:
        parser.error(f"no such rule: {', '.join(sorted(unknown))}")
    results = asyncio.run(all_flips(args.only, max(args.parallel, 1)))
    if args.json:
        print(json.dumps([{
            "rule": one.rule, "assumed": one.assumed, "opposite": one.opposite, "did": one.did,
            "doubled": one.doubled, "lost": one.lost, "ok": one.ok,
        } for one in results]))  # fmt: skip
    else:
        print(table(results))
    return 0 if all(one.ok for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
