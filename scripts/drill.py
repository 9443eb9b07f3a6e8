"""The drill: lose the database twice while money moves, bring it back, and count.

The demo's parts (node, platform, daemon as processes) -> money in and out -> a copy of the books
while they are in use -> more money -> SIGKILL, the database is lost -> the copy is put back, the
daemon runs on it, `recover` finds what came since -> SIGKILL, the database is lost, nothing is put
back -> `recover` makes the books anew from chain and keys -> everything is compared to the unit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chain_adapter.demo.parts import command, wait_until
from chain_adapter.demo.scenario import CHAIN, Scenario
from chain_adapter.demo.truth import Verdict, compare

ADDRESSES = 40  # derived ahead: more than the drill registers after its copy


@dataclass(slots=True)
class Drill:
    """One drill; `ids` are the request ids that the platform has been told, with their txid."""

    scenario: Scenario
    ids: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def database(self) -> Path:
        return self.scenario.folder / "state" / "adapter.db"

    async def asked(self, *words: str) -> Any:
        """The answer of a command on the drill's configuration."""
        return await command(*words, "--config", str(self.scenario.config_file), "--json")

    async def lose(self, why: str) -> None:
        """The daemon dies at once, and its database with it."""
        await self.scenario.daemon.kill()
        self._remove()
        self.scenario.say(f"SIGKILL, and the database is lost: {why}")

    def _remove(self) -> None:
        for end in ("", "-wal", "-shm", ".lock"):
            Path(f"{self.database}{end}").unlink(missing_ok=True)

    async def note(self) -> None:
        """No request id may have changed since the last time: that would be money twice."""
        rows = await self.scenario.control.get("deposits")
        now = {row["request_id"]: row["txid"] for row in rows}
        gone = {one for one in self.ids if now.get(one) != self.ids[one]}
        if gone or len(set(now.values())) != len({row["txid"] for row in rows}):
            self.problems.append(f"request ids changed: {sorted(gone)}")
        self.problems += [f"credited twice: {row}" for row in rows if row["duplicate"]]
        self.ids = now

    async def in_flight(self) -> asyncio.Task[None]:
        """A withdrawal that is being paid, as the platform has it; the task ends when it has."""
        before = {row["trans_id"] for row in await self.scenario.control.get("withdrawals")}
        ending = asyncio.create_task(self.scenario.withdrawals(1))

        async def claimed() -> bool:
            rows = await self.scenario.control.get("withdrawals")
            return any(r["state"] == "paying" for r in rows if r["trans_id"] not in before)

        await wait_until("a withdrawal to be claimed", claimed, 60, every_s=0.02)
        return ending

    async def sound(self, when: str) -> None:
        """The books hold together."""
        await self.asked("db", "check")
        self.scenario.say(f"db check: the books are sound {when}")


async def drill(chain: str, deposits: int, withdrawals: int, *, quiet: bool) -> dict[str, Any]:
    """One drill; what came of it. `ok` only if nothing is lost, doubled or different by a unit."""
    folder = Path(tempfile.mkdtemp(prefix="chain-adapter-drill-"))
    scenario = Scenario(chain, folder, quiet=quiet)
    one = Drill(scenario)
    begun = time.monotonic()
    verdict: Verdict | None = None
    try:
        await scenario.open(pool=2 * deposits + 16)
        await scenario.deposits(deposits)
        await scenario.withdrawals(withdrawals)
        copy = folder / "copy.db"
        made = await one.asked("db", "backup", str(copy))
        scenario.say(f"a copy of the books beside the running daemon: {made['events']} events")
        await scenario.deposits(deposits)
        await scenario.withdrawals(1)
        await one.note()
        ending = await one.in_flight()
        await one.lose("a copy is there, some minutes old; a payment is under way")
        await one.asked("db", "restore", str(copy))
        await scenario.daemon.start()
        scenario.say("the copy is put back, and the daemon runs on it")
        await ending
        scenario.say("the payment that was under way has ended, once")
        await scenario.daemon.stop()
        found = await one.asked(
            "recover", "--chain", CHAIN, "--from", "0", "--addresses", str(ADDRESSES)
        )
        scenario.say(f"recover: {found['new_deposits']} deposits that the copy did not know")
        await scenario.daemon.start()
        await scenario.settle()
        await one.note()
        await one.sound("after the older copy")
        ending = await one.in_flight()
        await one.lose("nothing is there to put back; a payment is under way")
        found = await one.asked(
            "recover", "--chain", CHAIN, "--from", "0",
            "--addresses", str(2 * deposits + 16 + ADDRESSES),
        )  # fmt: skip
        scenario.say(
            f"recover: {found['addresses']} addresses, {sum(found['deposits'].values())} deposits, "
            f"blocks {found['from']} to {found['to']}"
        )
        await scenario.daemon.start()
        await ending
        await scenario.withdrawals(1)
        await scenario.settle()
        await one.note()
        await scenario.collect()
        await one.sound("after the empty database")
        verdict = await compare(scenario)
    finally:
        await scenario.stack.aclose()
        if verdict is not None and verdict.ok and not one.problems:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            print(f"logs and state are kept in {folder}", file=sys.stderr)
    difference = {line.asset: line.difference for line in verdict.lines}
    return {
        "deposits": {
            "made": verdict.made, "credited": verdict.credited, "doubled": verdict.doubled,
            "missing": verdict.missing,
        },
        "withdrawals": {
            "asked": verdict.asked, "paid": verdict.paid, "cancelled": verdict.cancelled,
            "doubled": verdict.paid_twice,
        },
        "difference_base_units": difference,
        "request_ids": len(one.ids),
        "problems": [*one.problems, *verdict.wrong_end],
        "seconds": round(time.monotonic() - begun, 1),
        "ok": verdict.ok and not one.problems,
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--chain", default="evm", help="plugin with a local chain (default evm)")
    parser.add_argument("--deposits", type=int, default=6, help="before the copy, and after it")
    parser.add_argument("--withdrawals", type=int, default=4, help="before the copy")
    parser.add_argument("--json", action="store_true", help="one JSON document, nothing else")
    args = parser.parse_args()
    made = asyncio.run(drill(args.chain, args.deposits, args.withdrawals, quiet=args.json))
    if args.json:
        print(json.dumps(made))
    else:
        for name, value in made.items():
            print(f"{name:22} {json.dumps(value)}")
    return 0 if made["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
