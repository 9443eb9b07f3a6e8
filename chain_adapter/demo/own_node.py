"""`demo --endpoint URL --funded-key-file F`: the round of the demo on the visitor's own node.

key and node -> what it will cost, and a question -> sandbox, keys, daemon as ever -> deposits and
withdrawals in small amounts, with a SIGKILL in the middle -> comparison to the unit -> what is left
goes back. Recipients are addresses whose keys are kept until then, so that nothing is lost.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from chain_adapter import money, registry
from chain_adapter.chain import (
    Asset,
    Chain,
    ChainError,
    Family,
    Intent,
    Payment,
    Unavailable,
)
from chain_adapter.demo import report
from chain_adapter.demo.parts import Control, Process, command, wait_until
from chain_adapter.demo.scenario import Scenario, gate
from chain_adapter.demo.truth import Verdict, compare
from chain_adapter.errors import AdapterError, ConfigError, KeyFileError, Unreachable
from chain_adapter.keys.schemes import Scheme, scheme_named
from chain_adapter.keys.secret_files import read_secret, write_private
from chain_adapter.registry import settings_of

COIN, DECIMALS = "COIN", 18
DEPOSITS, WITHDRAWALS = 3, 3
FEES_A_COIN = 1200
"""A coin of the round, in fees: a deposit is a hundredth of it, and worth being collected."""
PATIENCE_S = 900.0  # for a chain with slow blocks


class OwnNode:
    """The funded key on the visitor's chain, in the shape of a devnet as far as the round needs it.

    Guarantees: one transaction after another, each under a nonce of its own.
    """

    def __init__(self, plugin_name: str, url: str, key: bytes) -> None:
        plugin = registry.plugin(plugin_name, "--chain")
        self.url = url
        self.assets: Mapping[str, Asset] = {COIN: Asset(COIN, None, DECIMALS)}
        self.node: Mapping[str, Any] = {"endpoints": [url]}
        settings = settings_of(plugin, dict(self.node), "--endpoint")
        self.chain: Chain = plugin.open(settings, self.assets, url, gate)
        if self.chain.info.family is not Family.ACCOUNT:
            raise ConfigError(f"--chain {plugin_name}: only chains with accounts can be shown so")
        self.scheme: Scheme = scheme_named(self.chain.info.scheme)
        self._keys: dict[str, bytes] = {}
        self.address = self.keep(key)
        self.fee = 0
        self._locks: dict[str, frozenset[str]] = {}
        self._sending = asyncio.Lock()

    @property
    def demo_unit(self) -> Mapping[str, int]:
        return {COIN: FEES_A_COIN * self.fee}

    @property
    def where(self) -> str:
        """Host of the node; the path may hold a provider's key."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    def keep(self, key: bytes) -> str:
        """The address of a private key that this round may sign with."""
        try:
            address = self.chain.address_of(self.scheme.public_key(key))
        except ValueError:
            raise KeyFileError("funded key: these bytes are no private key") from None
        self._keys[address] = key
        return address

    async def balance(self, address: str) -> int:
        return (await self.chain.balance(address, COIN)).amount

    async def measure(self) -> None:
        """What one payment may cost now. Raises `ChainError`."""
        intent = await self._intent(self.address, self._nobody(), 1)
        self.fee = self.chain.inspect(await self.chain.build(intent)).max_fee

    def _nobody(self) -> str:
        return self.chain.address_of(self.scheme.public_key(secrets.token_bytes(32)))

    async def _intent(self, sender: str, to: str, amount: int | None) -> Intent:
        return Intent(
            sender=sender,
            public_key=self.scheme.public_key(self._keys[sender]),
            payments=(Payment(COIN, to, amount),),
            fee_limit=await self.balance(sender),
            reserved=self._locks.get(sender, frozenset()),
            salt=secrets.token_bytes(16),
        )

    async def send(self, sender: str, to: str, amount: int | None) -> str:
        """Sign and send one payment (None: all, less the fee); the txid. Raises `ChainError`."""
        async with self._sending:
            payload = await self.chain.build(await self._intent(sender, to, amount))
            effect = self.chain.inspect(payload)
            key = self._keys[sender]
            signed = self.chain.assemble(
                payload, [self.scheme.sign(key, one.message) for one in effect.to_sign]
            )
            await self.chain.broadcast(signed)
            used = self._locks.get(sender, frozenset())
            self._locks[sender] = used | frozenset(effect.locks)
        return signed.txid

    # --- what the round calls ---------------------------------------------------------------------

    async def pay(self, asset: str, to: str, amount: int, memo: str | None = None) -> str:
        """From the funded key, without waiting for a block."""
        del asset, memo
        return await self.send(self.address, to, amount)

    async def automine(self, every_s: float | None) -> None:
        """Blocks come as they come."""

    async def close(self) -> None:
        await self.chain.close()


class OwnScenario(Scenario):
    """The round without what only a local chain can be made to do."""

    def __init__(self, chain: str, folder: Path, node: OwnNode, *, quiet: bool) -> None:
        super().__init__(chain, folder, quiet=quiet)
        self.random.seed(secrets.token_bytes(8))
        self.own = node
        self.devnet: Any = node
        self.hot_funds = 0

    def stranger(self) -> str:
        """A recipient whose key is kept, so that what it gets can go back."""
        key = secrets.token_bytes(32)
        address = self.own.keep(key)
        path = self.folder / "recipients" / address
        write_private(path, key.hex().encode() + b"\n", overwrite=False)
        return address

    async def open(self, pool: int) -> None:
        sandbox = Process(
            "sandbox",
            ("sandbox", "--listen", "127.0.0.1:0", "--state", str(self.folder / "platform")),
            self.folder / "sandbox.log",
        )
        await sandbox.start()
        self.stack.push_async_callback(sandbox.stop)
        self.control = Control(sandbox.url)
        self.stack.push_async_callback(self.control.close)
        await self._coins()
        self._platform_url, self._pool = sandbox.url, pool
        self._write_config(collect=False)
        made = await command("keys", "init", "--config", str(self.config_file), "--yes", "--json")
        self.hot = next(row["address"] for row in made if row["role"] == "hot")
        self.gas = next(row["address"] for row in made if row["role"] == "gas")
        self._open_reader()
        self.say(f"keys made; hot address {self.hot}")
        await self.own.send(self.own.address, self.hot, self.hot_funds)
        self.round.funded[COIN] = self.hot_funds
        await wait_until("the hot address to be funded", self._is_funded, PATIENCE_S)
        self.daemon = Process(
            "daemon", ("run", "--config", str(self.config_file)), self.folder / "daemon.log"
        )
        await self.daemon.start()
        self.stack.push_async_callback(self.daemon.stop)
        self.say(f"daemon ready, console at {self.daemon.url}")
        await wait_until(f"{pool} addresses in the pool", lambda: self._pool_holds(pool), 60)

    async def _is_funded(self) -> bool:
        return await self.own.balance(self.hot) >= self.hot_funds

    def _write_config(self, *, collect: bool) -> None:
        """As the demo has it, at the pace of a chain whose blocks are not made for it."""
        super()._write_config(collect=collect)
        slow = {
            "replace_after_s = 2.0": "replace_after_s = 120",
            "collect_every_s = 0.5": f"collect_every_s = 5\nfee_cap = {self._fee_cap()}",
        }
        text = self.config_file.read_text()
        for old, new in slow.items():
            text = text.replace(old, new)
        self.config_file.write_text(text)

    def _fee_cap(self) -> str:
        return f'"{money.plain(10 * self.own.fee, DECIMALS)}"'

    async def play(self, deposits: int, withdrawals: int) -> None:
        """Deposits with a SIGKILL in the middle, then withdrawals, one of them to no address."""
        self.say(f"making {deposits} deposits")
        for number in range(deposits):
            await self._deposit("plain", COIN, 1)
            if number == deposits // 2:
                await self._restart("in the middle of the deposits")
        self.say(f"asking for {withdrawals} withdrawals")
        for _ in range(max(withdrawals - 1, 0)):
            await self._order("plain", COIN, "complete")
        if withdrawals:
            await self._order("bad address", COIN, "cancelled", address="not an address")
        await self._all_ended(self.round.withdrawals, PATIENCE_S)
        await self.settle(PATIENCE_S)
        await self.collect(PATIENCE_S)

    async def give_back(self) -> int:
        """What recipients and the hot address hold goes to the funded key; what stays behind."""
        for order in self.round.withdrawals:
            if order.ends == "complete":
                await self.own.send(order.address, self.own.address, None)
        left = await self.own.balance(self.hot) - 4 * self.own.fee
        if left > 0:
            await self._order_back(left)
        await wait_until("the recipients to be empty", self._are_empty, PATIENCE_S)
        every = self.deposit_addresses(COIN) | {self.hot}
        return await self.at(every, COIN)

    async def _order_back(self, amount: int) -> None:
        made = await self.control.post(
            "withdrawals", symbol=COIN, address_to=self.own.address,
            amount=money.plain(amount, DECIMALS),
        )  # fmt: skip

        async def complete() -> bool:
            rows = {row["trans_id"]: row for row in await self.control.get("withdrawals")}
            return str(rows[made["trans_id"]]["state"]) == "complete"

        await wait_until("the rest to go back", complete, PATIENCE_S)

    async def _are_empty(self) -> bool:
        paid = [one.address for one in self.round.withdrawals if one.ends == "complete"]
        return await self.at(set(paid), COIN) <= len(paid) * self.own.fee


# --- what it costs, and the question --------------------------------------------------------------


def _plan(node: OwnNode, deposits: int, withdrawals: int, balance: int) -> tuple[int, str]:
    """Base units that go to the hot address first, and the plan in words. `ConfigError`."""
    payment = 12 * node.fee  # a little above what a deposit or withdrawal of the round is
    count = 2 + 2 * deposits + 2 * max(withdrawals - 1, 0)
    fees = count * node.fee
    hot = withdrawals * (payment + 2 * node.fee) + 6 * node.fee
    moved = hot + deposits * payment
    if balance < moved + 2 * fees:
        raise ConfigError(
            f"{node.address} holds {_shown(balance)}, the round needs {_shown(moved + 2 * fees)}: "
            f"{_shown(moved)} that come back, and up to {_shown(2 * fees)} of fees"
        )
    return hot, (
        f"{count} transactions: about {_shown(fees)} of fees as the chain asks now, at most twice "
        f"that.\n{_shown(moved)} are moved, and come back to {node.address} at the end."
    )


def _shown(amount: int) -> str:
    return f"{money.plain(amount, DECIMALS)} {COIN}"


def _ask(text: str, folder: Path) -> None:
    print(
        f"{text}\nKeys that are made for it are kept in {folder} until all is back.\n"
        "Type yes to go on: ",
        end="", file=sys.stderr, flush=True,
    )  # fmt: skip
    if sys.stdin.readline().strip().lower() != "yes":
        raise ConfigError("nothing was sent")


def read_key(path: Path) -> bytes:
    """32 bytes as hex, 0x or not. Raises `KeyFileError`, which never holds the key."""
    text = read_secret(path, "funded key").decode("ascii", "replace").strip()
    try:
        key = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        key = b""
    if len(key) != 32:
        raise KeyFileError(f"funded key: {path} does not hold 64 hex digits")
    return key


async def play(
    chain: str, endpoint: str, key: bytes, deposits: int, withdrawals: int, *,
    yes: bool, as_json: bool,
) -> int:  # fmt: skip
    """One round; the exit status."""
    node = OwnNode(chain, endpoint, key)
    folder = Path(tempfile.mkdtemp(prefix="chain-adapter-demo-"))
    started = time.monotonic()
    verdict: Verdict | None = None
    left: int | None = None
    scenario = OwnScenario(chain, folder, node, quiet=False)
    try:
        identity, balance = await node.chain.identity(), await node.balance(node.address)
        await node.measure()
        hot, plan = _plan(node, deposits, withdrawals, balance)
        text = f"{identity} at {node.where}; {node.address} holds {_shown(balance)}.\n{plan}"
        if yes:
            print(text, file=sys.stderr)
        elif sys.stdin.isatty():
            _ask(text, folder)
        else:
            raise ConfigError(f"{text}\nsay --yes to go on without a question")
        scenario.hot_funds = hot
        await scenario.open(pool=deposits + 4)
        await scenario.play(deposits, withdrawals)
        verdict = await compare(scenario)
        left = await scenario.give_back()
    except ChainError as error:
        text = f"{node.where}: {str(error).replace(endpoint, node.where)}"
        raise (Unreachable if isinstance(error, Unavailable) else AdapterError)(text) from None
    finally:
        await scenario.stack.aclose()
        await node.close()
        if (verdict is not None and verdict.ok and left == 0) or not scenario.hot:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            held = "" if left is None else f" with keys that hold {_shown(left)}"
            print(f"logs and state are kept in {folder}{held}", file=sys.stderr)
    seconds = time.monotonic() - started
    if as_json:
        print(json.dumps({**report.as_json(verdict, seconds), "left_base_units": str(left)}))
    else:
        print(report.as_text(scenario, verdict, seconds))
    return 0 if verdict.ok else 1


def main(
    chain: str, endpoint: str, key_file: Path, deposits: int | None, withdrawals: int | None, *,
    yes: bool, as_json: bool,
) -> int:  # fmt: skip
    """The command; None takes the usual number."""
    return asyncio.run(
        play(
            chain,
            endpoint,
            read_key(key_file),
            DEPOSITS if deposits is None else deposits,
            WITHDRAWALS if withdrawals is None else withdrawals,
            yes=yes,
            as_json=as_json,
        )
    )
