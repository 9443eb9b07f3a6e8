"""One round of money on local parts, told live.

devnet, sandbox, keys, daemon -> users with addresses of the pool -> deposits of every kind, with a
reorganisation and a SIGKILL in the middle -> withdrawals good, bad and stuck -> all at rest.
"""

from __future__ import annotations

import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from coincurve import PrivateKey

from chain_adapter import money, registry
from chain_adapter.assembly import plugin_of, pure_chain
from chain_adapter.chain import Asset, Chain, Devnet, DevnetPlugin
from chain_adapter.config import ChainConfig, load
from chain_adapter.demo.parts import Control, Process, command, wait_until
from chain_adapter.errors import ConfigError

CHAIN = "devnet"
CONFIRMATIONS = 3
PLATFORM_CONFIRMATIONS = 5
BLOCK_S = 0.25
REPLACE_AFTER_S = 2.0
SPECIAL_ORDERS = ("refused claim", "bad address", "too many decimals", "stuck")


@dataclass(slots=True)
class Deposit:
    """A deposit that must be credited once."""

    symbol: str
    address: str
    memo: str | None
    amount: int
    kind: str


@dataclass(slots=True)
class Withdrawal:
    """An order, and how it must end."""

    trans_id: str
    symbol: str
    address: str
    amount: int
    kind: str
    ends: str  # complete, cancelled


@dataclass(slots=True)
class Round:
    """What was done, for the comparison at the end."""

    deposits: list[Deposit] = field(default_factory=list)
    withdrawals: list[Withdrawal] = field(default_factory=list)
    ignored: dict[str, int] = field(default_factory=dict)  # kind -> how many
    funded: dict[str, int] = field(default_factory=dict)  # symbol -> to hot and gas address
    deposited: dict[str, int] = field(default_factory=dict)  # symbol -> at rest, before collecting
    unusable: dict[tuple[str, str], int] = field(default_factory=dict)  # not to be credited


class Scenario:
    """Builds the parts in `folder` and plays the round; `say` shows progress."""

    def __init__(self, chain: str, folder: Path, *, quiet: bool = False) -> None:
        self.plugin_name = chain
        self.folder = folder
        self.round = Round()
        self.random = random.Random(20)
        self.started_at = time.monotonic()
        self.stack = AsyncExitStack()
        self.config_file = folder / "adapter.toml"
        self._quiet = quiet
        self.devnet: Devnet
        self.control: Control
        self.daemon: Process
        self.pure: Chain
        self.reader: Chain
        self.hot = ""
        self.gas = ""
        self._platform_url = ""
        self._pool = 0

    def say(self, text: str) -> None:
        """Progress, on standard error."""
        if not self._quiet:
            elapsed = time.monotonic() - self.started_at
            print(f"[{elapsed:5.1f}s] {text}", file=sys.stderr, flush=True)

    @property
    def assets(self) -> Mapping[str, Asset]:
        return self.devnet.assets

    # --- parts ------------------------------------------------------------------------------------

    async def open(self, pool: int) -> None:
        """Start everything; returns when the pool of addresses is filled."""
        plugin = registry.plugin(self.plugin_name, "--chain")
        if not isinstance(plugin, DevnetPlugin):
            raise ConfigError(f"plugin {self.plugin_name!r} has no local chain of its own")
        self.say(f"starting a local {self.plugin_name} chain")
        self.devnet = await plugin.devnet("127.0.0.1:0")
        self.stack.push_async_callback(self.devnet.close)
        if not self.devnet.url.startswith("http"):
            raise ConfigError(f"the local chain of {self.plugin_name!r} lives in one process only")
        self.say(f"  node at {self.devnet.url}; assets: {', '.join(self.assets)}")
        sandbox_state = self.folder / "platform"
        sandbox = Process(
            "sandbox",
            ("sandbox", "--listen", "127.0.0.1:0", "--state", str(sandbox_state)),
            self.folder / "sandbox.log",
        )
        await sandbox.start()
        self.stack.push_async_callback(sandbox.stop)
        self.say(f"  platform (sandbox) at {sandbox.url}")
        self.control = Control(sandbox.url)
        self.stack.push_async_callback(self.control.close)
        await self._coins()
        self._platform_url, self._pool = sandbox.url, pool
        self._write_config(collect=False)
        made = await command("keys", "init", "--config", str(self.config_file), "--yes", "--json")
        self.hot = next(row["address"] for row in made if row["role"] == "hot")
        self.gas = next(row["address"] for row in made if row["role"] == "gas")
        self._open_reader()
        self.say(f"  keys made; hot address {self.hot}")
        await self._fund()
        await self.devnet.automine(BLOCK_S)
        self.daemon = Process(
            "daemon", ("run", "--config", str(self.config_file)), self.folder / "daemon.log"
        )
        await self.daemon.start()
        self.stack.push_async_callback(self.daemon.stop)
        self.say(f"  daemon ready, console at {self.daemon.url}")
        await wait_until(f"{pool} addresses in the pool", lambda: self._pool_holds(pool), 60)
        self.say("the daemon has filled the platform's pool of addresses")

    async def _coins(self) -> None:
        names = list(self.assets)
        for name in names:
            await self.control.post(
                "coins",
                symbol=name,
                main_symbol=names[0],
                memo=self.memo,
                decimals=self.assets[name].decimals,
                confirmations=PLATFORM_CONFIRMATIONS,
            )

    @property
    def memo(self) -> bool:
        return bool(self.devnet.node.get("memo", False))

    def _write_config(self, *, collect: bool) -> None:
        platform_url, pool = self._platform_url, self._pool
        state = self.folder / "platform"
        keys = self.folder / "keys"
        passphrase = keys / "passphrase"
        if not keys.exists():
            keys.mkdir(mode=0o700)
            passphrase.touch(0o600)
            passphrase.write_text(secrets.token_urlsafe(24) + "\n")
        lines = [
            "[database]",
            'url = "sqlite:///state/adapter.db"',
            "[platform]",
            f'url = "{platform_url}"',
            f'app_id = "{(state / "app_id").read_text().strip()}"',
            f'private_key_file = "{state / "party_a_private.pem"}"',
            f'platform_key_file = "{state / "platform_public.pem"}"',
            f"platform_confirmations = {PLATFORM_CONFIRMATIONS}",
            "poll_interval_s = 0.2",
            "[keys]",
            'keystore = "keys/keystore.json"',
            'passphrase_file = "keys/passphrase"',
            "[console]",
            'listen = "127.0.0.1:0"',
            f"[chains.{CHAIN}]",
            f'plugin = "{self.plugin_name}"',
            f"confirmations = {CONFIRMATIONS}",
            "poll_interval_s = 0.1",
            f"replace_after_s = {REPLACE_AFTER_S}",
            "collect_every_s = 0.5",
            *(["memo = true"] if self.memo else []),
            f"[chains.{CHAIN}.pool]",
            f"low = {pool}",
            f"high = {min(pool + 50, 4999)}",
            f"[chains.{CHAIN}.node]",
            *(f"{k} = {_toml(v)}" for k, v in self.devnet.node.items() if k != "memo"),
        ]
        for asset in self.assets.values():
            lines.append(f"[chains.{CHAIN}.assets.{asset.name}]")
            if asset.contract is not None:
                lines.append(f'contract = "{asset.contract}"')
            lines.append(f"decimals = {asset.decimals}")
            lines.append(f"collect = {_toml(collect)}")
            lines.append(f'collect_above = "{money.plain(self.minimum(asset), asset.decimals)}"')
            lines.append(f'min_deposit = "{money.plain(self.minimum(asset), asset.decimals)}"')
        self.config_file.write_text("\n".join(lines) + "\n")

    def unit(self, asset: Asset) -> int:
        """What the round counts as one coin: more where fees are coarse."""
        units: Mapping[str, int] = getattr(self.devnet, "demo_unit", {})
        return int(units.get(asset.name, 10**asset.decimals))

    def minimum(self, asset: Asset) -> int:
        """The least deposit: a thousandth of a coin."""
        return self.unit(asset) // 1000

    def _open_reader(self) -> None:
        """A second pair of eyes: balances asked from the node, not from the daemon."""
        config: ChainConfig = load(self.config_file).chain(CHAIN)
        self.pure = pure_chain(config)
        plugin, settings = plugin_of(config)
        self.reader = plugin.open(settings, config.plugin_assets(), config.endpoints[0], gate)
        self.stack.push_async_callback(self.reader.close)

    async def _fund(self) -> None:
        for asset in self.assets.values():
            amount = (100 if asset.contract is None else 10_000) * self.unit(asset)
            await self.devnet.pay(asset.name, self.hot, amount)
            self.round.funded[asset.name] = amount
            if asset.contract is None:
                await self.devnet.pay(asset.name, self.gas, amount // 10)
                self.round.funded[asset.name] += amount // 10
        await self.devnet.mine(2)

    async def _pool_holds(self, count: int) -> bool:
        rows = await self.control.get(f"addresses?symbol={next(iter(self.assets))}")
        return len(rows) >= (1 if self.memo else count)

    # --- deposits ---------------------------------------------------------------------------------

    async def _user(self, symbol: str) -> tuple[str, str | None]:
        made = await self.control.post("users", symbol=symbol)
        return made["address"], made["memo"] or None

    def amount(self, asset: Asset) -> int:
        """Ordinary amounts with odd last digits, so that equal sums are no accident."""
        least = self.minimum(asset)
        return 10 * least + self.random.randrange(1, least)

    async def deposits(self, count: int) -> None:
        """Make `count` deposits that must be credited, and some that must not."""
        self.say(f"making {count} deposits, and some that must not be credited")
        kinds = self._deposit_kinds()
        done = 0
        restarted = count < 4
        while done < count:
            kind, symbol = kinds[len(self.round.deposits) % len(kinds)]
            done += await self._deposit(kind, symbol, count - done)
            if not restarted and done >= count // 2:
                restarted = True
                await self._restart("in the middle of the deposits")
        await self._not_deposits()
        await self._reorganisation()

    def _deposit_kinds(self) -> list[tuple[str, str]]:
        names = list(self.assets)
        native = names[0]
        kinds = [("plain", name) for name in names]
        if hasattr(self.devnet, "split") and not self.memo:
            kinds += [("several users in one transaction", name) for name in names]
            kinds += [("twice to one address in one transaction", name) for name in names]
        # A contract's payment carries no memo of its own.
        if hasattr(self.devnet, "forward") and not self.memo:
            kinds.append(("through a contract", native))
        return kinds

    async def _deposit(self, kind: str, symbol: str, room: int) -> int:
        asset, made = self.assets[symbol], self.round.deposits
        if kind.startswith("several"):
            users = [await self._user(symbol) for _ in range(min(3, room))]
            payments = [(address, self.amount(asset)) for address, _ in users]
            await self.devnet.split(symbol, payments)  # type: ignore[attr-defined]
            made += [Deposit(symbol, to, None, amount, kind) for to, amount in payments]
            return len(payments)
        address, memo = await self._user(symbol)
        amount = self.amount(asset)
        if kind.startswith("twice"):
            part = amount // 3
            payments = [(address, part), (address, amount - part)]
            await self.devnet.split(symbol, payments)  # type: ignore[attr-defined]
        elif kind.startswith("through"):
            await self.devnet.forward(address, amount)  # type: ignore[attr-defined]
        else:
            await self.devnet.pay(symbol, address, amount, memo)
        made.append(Deposit(symbol, address, memo, amount, kind))
        return 1

    async def _not_deposits(self) -> None:
        """To a stranger, below the minimum, failing: seen, and never credited."""
        native = next(iter(self.assets.values()))
        await self.devnet.pay(native.name, self.stranger(), self.amount(native))
        self.round.ignored["to a stranger"] = 1
        for asset in self.assets.values():
            address, memo = await self._user(asset.name)
            amount = self.minimum(asset) - 1
            await self.devnet.pay(asset.name, address, amount, memo)
            self.round.unusable[asset.name, address] = amount
        self.round.ignored["below the minimum"] = len(self.assets)
        if hasattr(self.devnet, "failing"):
            address, _ = await self._user(native.name)
            await self.devnet.failing(address, self.amount(native))
            self.round.ignored["failing"] = 1

    async def _reorganisation(self) -> None:
        """A deposit is in a block, the block is dropped, the deposit comes again."""
        native = next(iter(self.assets.values()))
        address, memo = await self._user(native.name)
        amount = self.amount(native)
        await self.devnet.automine(None)
        await self.devnet.mine()
        await self.devnet.pay(native.name, address, amount, memo)
        await self.devnet.mine()
        head = (await self.reader.head()).ref.height
        await wait_until("the daemon to read the block", lambda: self._has_read(head), 30)
        await self.devnet.reorg(1)
        await self.devnet.mine(2)
        head = (await self.reader.head()).ref.height
        await wait_until("the daemon to follow", lambda: self._has_read(head), 30)
        self.say("a reorganisation dropped a deposit that was already seen; now it comes again")
        await self.devnet.pay(native.name, address, amount, memo)
        await self.devnet.automine(BLOCK_S)
        self.round.deposits.append(
            Deposit(native.name, address, memo, amount, "dropped by a reorganisation for a while")
        )

    async def _has_read(self, height: int) -> bool:
        status = await command("status", "--config", str(self.config_file), "--json")
        return int(status["chains"][CHAIN]["tip"] or 0) >= height

    async def _restart(self, when: str) -> None:
        await self.daemon.kill()
        self.say(f"SIGKILL to the daemon {when}; starting it again")
        await self.daemon.start()

    # --- withdrawals ------------------------------------------------------------------------------

    def stranger(self) -> str:
        """A fresh address that nobody of ours has a key of."""
        key = PrivateKey(self.random.randbytes(32))
        return self.pure.address_of(key.public_key.format())

    async def withdrawals(self, count: int) -> None:
        """Ask for `count` withdrawals, the odd ones among them."""
        self.say(f"asking for {count} withdrawals, some of which cannot be paid")
        names = list(self.assets)
        specials = SPECIAL_ORDERS[: max(0, count - 1)]
        if "refused claim" in specials:
            await self._refused_claim()
        for number in range(count - len(specials)):
            has_memo = self.pure.info.pays_memos and not number
            kind = "with a memo" if has_memo else "plain"
            await self._order(kind, names[number % len(names)], "complete", has_memo=has_memo)
        for kind in specials:
            if kind == "bad address":
                await self._order(kind, names[0], "cancelled", address="not an address")
            elif kind == "too many decimals":
                await self._order(kind, names[-1], "cancelled", more_decimals=True)
        if count >= 4:
            await self._restart("while withdrawals are being paid")
        await self._all_ended([w for w in self.round.withdrawals if w.kind != "stuck"])
        if "stuck" in specials:
            await self._stuck()

    async def _order(
        self,
        kind: str,
        symbol: str,
        ends: str,
        *,
        address: str | None = None,
        more_decimals: bool = False,
        has_memo: bool = False,
    ) -> Withdrawal:
        asset = self.assets[symbol]
        amount = self.amount(asset)
        text = money.plain(amount, asset.decimals)
        if more_decimals:
            text = f"1.{'0' * asset.decimals}5"
        to = address or self.stranger()
        memo = str(self.random.randrange(10**6)) if self.memo or has_memo else None
        body = {"symbol": symbol, "address_to": to, "amount": text, "memo": memo}
        made = await self.control.post(
            "withdrawals", **{k: v for k, v in body.items() if v is not None}
        )
        order = Withdrawal(made["trans_id"], symbol, to, amount, kind, ends)
        self.round.withdrawals.append(order)
        return order

    async def _refused_claim(self) -> None:
        """The platform refuses a claim: nothing is sent, the locks are voided, it goes back."""
        await self.control.post(
            "faults", path="withdraw/notify", kind="error_code", code=1000018, times=1
        )
        order = await self._order("refused claim", next(iter(self.assets)), "cancelled")
        await self._all_ended([order])
        self.say("a claim was refused: nothing was sent, the order went back to its user")

    async def _stuck(self) -> None:
        """No blocks for a while: the payment is replaced with a higher fee. Where transactions
        expire, it is lost by the node, dies by its expiry and is made anew."""
        lose = getattr(self.devnet, "lose", None)
        if lose is None:
            await self.devnet.automine(None)
        else:
            lose()
        order = await self._order("stuck", next(iter(self.assets)), "complete")

        async def again() -> bool:
            row = await self._platform_order(order)
            return len({h["txid"] for h in row["history"]}) >= 2

        await wait_until("a stuck payment to be made again", again, 150)
        how = "replaced with a higher fee" if lose is None else "proven dead by expiry, and rebuilt"
        self.say(f"a stuck payment was {how}; blocks go on")
        await self.devnet.automine(BLOCK_S)
        await self._all_ended([order])

    async def _platform_order(self, order: Withdrawal) -> Any:
        rows = await self.control.get("withdrawals")
        return next(row for row in rows if row["trans_id"] == order.trans_id)

    async def _all_ended(self, orders: list[Withdrawal], limit_s: float = 120) -> None:
        async def ended() -> bool:
            rows = {row["trans_id"]: row for row in await self.control.get("withdrawals")}
            return all(rows[o.trans_id]["state"] in ("complete", "cancelled") for o in orders)

        await wait_until(f"{len(orders)} withdrawals to end", ended, limit_s)

    async def settle(self, limit_s: float = 180) -> None:
        """Wait until every deposit is credited and nothing is left to tell."""
        expected = len(self.round.deposits)

        async def at_rest() -> bool:
            rows = await self.control.get("deposits")
            if sum(1 for row in rows if float(row["credited"]) > 0) < expected:
                return False
            status = await command("status", "--config", str(self.config_file), "--json")
            one = status["chains"][CHAIN]
            return int(one["unsent"]) == 0 and int(one["queued"]) == 0

        await wait_until("everything to come to rest", at_rest, limit_s, every_s=0.3)

    # --- collecting -------------------------------------------------------------------------------

    def deposit_addresses(self, symbol: str) -> set[str]:
        """Addresses of users that received this asset."""
        found = {d.address for d in self.round.deposits if d.symbol == symbol}
        return found | {address for name, address in self.round.unusable if name == symbol}

    async def at(self, addresses: set[str], symbol: str) -> int:
        """Sum of the balances that the node tells."""
        return sum([(await self.reader.balance(one, symbol)).amount for one in addresses])

    async def collect(self, limit_s: float = 180) -> None:
        """Note what lies on the users' addresses, then let the daemon collect it."""
        for name in self.assets:
            here = await self.at(self.deposit_addresses(name), name)
            unusable = sum(v for (s, _), v in self.round.unusable.items() if s == name)
            self.round.deposited[name] = here - unusable
        self.say("everything is at rest; now the deposits are collected to the hot wallet")
        await self.daemon.stop()
        self._write_config(collect=True)
        await self.daemon.start()
        tokens = [a for a in self.assets.values() if a.contract is not None]
        natives = [a for a in self.assets.values() if a.contract is None]

        async def collected() -> bool:
            for asset in (*tokens, *natives):
                for one in {d.address for d in self.round.deposits if d.symbol == asset.name}:
                    left = (await self.reader.balance(one, asset.name)).amount
                    if left >= self.minimum(asset):
                        return False
            status = await command("status", "--config", str(self.config_file), "--json")
            rows = await command("payouts", "list", "--config", str(self.config_file), "--json")
            resting = all(r["state"] in ("REPORTED", "CANCELLED", "REFUSED") for r in rows)
            return resting and int(status["chains"][CHAIN]["unsent"]) == 0

        await wait_until("deposits to be collected", collected, limit_s, every_s=0.5)
        await self.devnet.automine(None)
        self.say("all is collected; comparing chain, platform and books")


@asynccontextmanager
async def gate(method: str) -> AsyncIterator[None]:
    del method
    yield


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(v) for v in value) + "]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
