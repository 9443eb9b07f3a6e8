"""An intent into a payload: everything that can fail is tried here, in one round trip or two.

State is read at the newest block in one request: chain id, nonce, balances, prices, and the dry
run. Funds are looked at before the dry run, so that a revert with the funds at hand is the only
thing that sends an order back for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from chain_adapter.chain import InsufficientFunds, Intent, Payment, Rejected, Unavailable
from chain_adapter_evm import fees
from chain_adapter_evm.codec import (
    ZERO_ADDRESS,
    Unsigned,
    address_of,
    lock_of,
    parse_address,
    read_payload,
    word,
    write_payload,
)
from chain_adapter_evm.match import Assets, Token, number
from chain_adapter_evm.node import Node, NodeError
from chain_adapter_evm.proof import balance_call
from chain_adapter_evm.settings import Settings
from chain_adapter_evm.wire import header_of, text_of

TRANSFER_SELECTOR = bytes.fromhex("a9059cbb")
_PLAIN_GAS = 21_000
_TOKEN_GAS = 100_000  # where no estimate is to be had
_ONE_WEI = "0x1"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be moved. Neither token nor amount for a void; `amount` None: all."""

    to: bytes
    token: Token | None
    amount: int | None


@dataclass(frozen=True, slots=True)
class State:
    """The chain as of its newest block, for one sender."""

    chain_id: int
    nonce: int  # the account's latest count
    balance: int  # of the main coin
    tokens: int  # of the token that is paid
    market: fees.Market
    dry_run: str | NodeError | None  # what the token's transfer returned
    gas: int | NodeError  # the estimate


class Builder:
    """Builds payloads through one node."""

    def __init__(self, node: Node, settings: Settings, assets: Assets) -> None:
        self._node = node
        self._settings = settings
        self._assets = assets

    async def build(self, intent: Intent) -> bytes:
        """The payload of an intent.

        Raises `Rejected` (for good only when no later time can mend it), `InsufficientFunds`,
        `FeeAboveLimit`, `Unavailable`.
        """
        sender = bytes.fromhex(parse_address(intent.sender)[2:])
        if address_of(intent.public_key) != sender:
            raise Rejected(f"the public key is not that of {intent.sender}")
        replaced = [read_payload(payload) for payload in intent.replaces]
        if any(one.sender != sender for one in replaced):
            raise Rejected(f"a replaced attempt is not of {intent.sender}")
        order = self._order(intent, sender)
        state = await self._state(sender, order)
        if any(one.tx.chain_id != state.chain_id for one in replaced):
            raise Rejected(f"a replaced attempt is of another chain than {state.chain_id}")
        nonce = _nonce(intent, state, [one.tx for one in replaced])
        gas = self._gas(intent, order, state)
        rivals = [one.tx for one in replaced if one.tx.nonce == nonce]
        offer = fees.offer(self._settings, state.market, gas, intent.fee_limit, rivals)
        most_fee = gas * offer.max_fee + self._settings.l1_fee_bound
        value, data = self._money(order, state, most_fee)
        to = order.to if order.token is None else order.token.key
        tx = Unsigned(state.chain_id, nonce, offer.max_fee, offer.tip, gas, to, value, data)
        return write_payload(intent.public_key, tx)

    # --- what is asked --------------------------------------------------------------------------

    def _order(self, intent: Intent, sender: bytes) -> Order:
        if not intent.payments:
            if not intent.replaces:
                raise Rejected("an intent without payments and without anything to void")
            return Order(sender, None, 0)
        if len(intent.payments) > 1:
            raise Rejected("one payment a transaction on this chain")
        payment: Payment = intent.payments[0]
        if payment.memo is not None:
            raise Rejected("this chain has no memos", for_good=True)
        to = bytes.fromhex(parse_address(payment.to)[2:])
        if to == ZERO_ADDRESS:
            raise Rejected("the zero address belongs to nobody", for_good=True)
        if payment.amount is not None and payment.amount <= 0:
            raise Rejected(f"an amount of {payment.amount} pays nobody", for_good=True)
        if payment.amount is not None and payment.amount.bit_length() > 256:
            raise Rejected("an amount above 2^256 exists on no EVM chain", for_good=True)
        if payment.asset == self._assets.native:
            return Order(to, None, payment.amount)
        token = self._assets.tokens.get(payment.asset)
        if token is None:
            raise Rejected(f"no asset {payment.asset} is configured on this chain")
        return Order(to, token, payment.amount)

    async def _state(self, sender: bytes, order: Order) -> State:
        account = "0x" + sender.hex()
        at = "latest"
        calls: list[tuple[str, list[Any]]] = [
            ("eth_chainId", []),
            ("eth_getTransactionCount", [account, at]),
            ("eth_getBalance", [account, at]),
            ("eth_getBlockByNumber", [at, False]),
            ("eth_gasPrice" if self._settings.fees == "legacy" else "eth_maxPriorityFeePerGas", []),
        ]
        fixed = len(calls)
        if order.token is not None:
            calls.append(("eth_call", [balance_call(order.token.address, sender), at]))
        if order.token is None or order.amount is not None:
            calls += self._dry_run(account, order, order.amount)
        answers = await self._node.mixed(calls)
        header = self._take(answers[3], "eth_getBlockByNumber", header_of)
        if header is None:
            raise Unavailable(f"{self._node.name} tells no newest block")
        base_fee = header.baseFeePerGas
        market = fees.Market(
            None if base_fee is None else self._number(base_fee),
            await self._suggested(answers[4], base_fee is None),
        )
        tokens = 0
        rest = answers[fixed:]
        if order.token is not None:
            tokens = self._word(self._text(rest[0], "eth_call"))
            rest = rest[1:]
            if not rest:  # all of it: how much that is was not known before
                more = await self._node.mixed(self._dry_run(account, order, tokens))
                rest = more
        return State(
            chain_id=self._number(self._text(answers[0], "eth_chainId")),
            nonce=self._number(self._text(answers[1], "eth_getTransactionCount")),
            balance=self._number(self._text(answers[2], "eth_getBalance")),
            tokens=tokens,
            market=market,
            dry_run=None if order.token is None else self._maybe(rest[0]),
            gas=self._estimate(rest[-1]),
        )

    def _dry_run(
        self, account: str, order: Order, amount: int | None
    ) -> list[tuple[str, list[Any]]]:
        if order.token is None:
            value = _ONE_WEI if amount is None else hex(amount)
            call = {"from": account, "to": "0x" + order.to.hex(), "value": value}
            return [("eth_estimateGas", [call])]
        data = "0x" + transfer_data(order.to, amount or 0).hex()
        call = {"from": account, "to": order.token.address, "data": data}
        return [("eth_call", [call, "latest"]), ("eth_estimateGas", [call])]

    async def _suggested(self, answer: bytes | NodeError, without_base_fee: bool) -> int | None:
        """Tip, or gas price where there is no base fee; None where the node suggests none."""
        if without_base_fee and self._settings.fees != "legacy":
            (answer,) = await self._node.mixed([("eth_gasPrice", [])])
        if isinstance(answer, NodeError):
            if answer.no_such_method and not without_base_fee:
                return None
            raise answer
        return self._number(self._text(answer, "eth_gasPrice"))

    # --- what it comes to -----------------------------------------------------------------------

    def _gas(self, intent: Intent, order: Order, state: State) -> int:
        """Gas to allow. Looks at funds first, then at what the dry run said."""
        void = not intent.payments
        amount = order.amount
        if order.token is not None:
            wanted = state.tokens if amount is None else amount
            if wanted > state.tokens or not wanted:
                raise InsufficientFunds(order.token.name, max(wanted - state.tokens, 1))
        elif amount is not None and amount > state.balance:
            self._short_of_coin(amount + self._rough_fee(state, _PLAIN_GAS), state.balance)
        if isinstance(state.dry_run, NodeError):
            self._refused(state.dry_run)
        elif state.dry_run is not None and not _returned_true(state.dry_run):
            raise Rejected("the token's transfer returns false: it refuses this", for_good=True)
        gas = state.gas
        if isinstance(gas, NodeError):
            if void:
                return _PLAIN_GAS  # it pays nobody, so nothing of it can fail but its price
            if not gas.reverted:
                self._short_for_dry_run(order, state)
            self._refused(gas)
            raise gas
        if gas > _PLAIN_GAS:
            gas += gas * self._settings.gas_margin_percent // 100
        if gas > self._settings.gas_cap:
            raise Rejected(f"it needs {gas} gas, above gas_cap ({self._settings.gas_cap})")
        return gas

    def _refused(self, error: NodeError) -> None:
        if error.reverted:
            raise Rejected(f"the dry run reverts: {error.message[:200]}", for_good=True)
        raise error

    def _short_for_dry_run(self, order: Order, state: State) -> None:
        """A dry run that failed without a revert, and could not have been paid for anyway."""
        if order.token is None:
            need = (order.amount or 1) + self._rough_fee(state, _PLAIN_GAS)
        else:
            need = self._rough_fee(state, _TOKEN_GAS)
        if need > state.balance:
            self._short_of_coin(need, state.balance)

    def _rough_fee(self, state: State, gas: int) -> int:
        base_fee = (state.market.base_fee or 0) * self._settings.base_fee_multiple
        return gas * (base_fee + (state.market.suggested or 0)) + self._settings.l1_fee_bound

    def _money(self, order: Order, state: State, most_fee: int) -> tuple[int, bytes]:
        """Value and data, the funds for both at hand."""
        headroom = most_fee * self._settings.headroom_percent // 100
        if order.token is not None:
            if state.balance < most_fee:
                self._short_of_coin(most_fee + headroom, state.balance)
            amount = state.tokens if order.amount is None else order.amount
            return 0, transfer_data(order.to, amount)
        if order.amount is None:
            if state.balance <= most_fee:
                self._short_of_coin(most_fee + headroom + 1, state.balance)
            return state.balance - most_fee, b""
        if state.balance < order.amount + most_fee:
            self._short_of_coin(order.amount + most_fee + headroom, state.balance)
        return order.amount, b""

    def _short_of_coin(self, need: int, balance: int) -> None:
        raise InsufficientFunds(self._assets.fee_asset, need - balance)

    # --- answers --------------------------------------------------------------------------------

    def _estimate(self, answer: bytes | NodeError) -> int | NodeError:
        if isinstance(answer, NodeError):
            return answer
        return self._number(self._text(answer, "eth_estimateGas"))

    def _maybe(self, answer: bytes | NodeError) -> str | NodeError:
        return answer if isinstance(answer, NodeError) else self._text(answer, "eth_call")

    def _text(self, answer: bytes | NodeError, method: str) -> str:
        return self._take(answer, method, text_of)  # type: ignore[no-any-return]

    def _take(self, answer: bytes | NodeError, method: str, decode: Any) -> Any:
        if isinstance(answer, NodeError):
            raise answer
        try:
            return decode(answer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unavailable(
                f"{self._node.name}: {method}: an answer of another shape: {error}"
            ) from None

    def _number(self, text: str) -> int:
        return number(self._node.name, text)

    def _word(self, text: str) -> int:
        try:
            return word(text)
        except ValueError as error:
            raise Unavailable(f"{self._node.name}: balanceOf: {error}") from None


def _nonce(intent: Intent, state: State, replaced: list[Unsigned]) -> int:
    if replaced:
        nonces = {tx.nonce for tx in replaced}
        nonce = min(nonces)
        if len(nonces) > 1 and intent.payments:
            raise Rejected(
                f"the open attempts share no nonce ({sorted(nonces)}): both could be included"
            )
        if nonce < state.nonce:
            raise Rejected(
                f"nonce {nonce} of {intent.sender} is used: the blocks will tell by what"
            )
        return nonce
    nonce = state.nonce
    sender = parse_address(intent.sender)
    while lock_of(sender, nonce) in intent.reserved:
        nonce += 1
    return nonce


def transfer_data(to: bytes, amount: int) -> bytes:
    """Calldata of ERC-20 `transfer(to, amount)`: exactly 68 bytes."""
    return TRANSFER_SELECTOR + to.rjust(32, b"\0") + amount.to_bytes(32, "big")


def _returned_true(result: str) -> bool:
    """Nothing (old tokens return nothing), or a first word that is not zero."""
    digits = result[2:]
    return not digits or bool(digits[:64].strip("0"))
