"""An intent into a payload: everything that can fail is tried here.

State is asked in one round; funds are looked at before the dry run, so that a revert with the
funds at hand is the only thing that sends an order back for good. The reference block is a
solidified one, which no fork takes away; time is the chain's, so that our clock does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

from chain_adapter.chain import (
    FeeAboveLimit,
    InsufficientFunds,
    Intent,
    InvalidAddress,
    Rejected,
    Unavailable,
)
from chain_adapter_tron.address import NOBODY, key_of, of_public_key, sha256
from chain_adapter_tron.assets import Assets, Token
from chain_adapter_tron.codec import (
    MOST,
    TRANSFER,
    TRANSFER_ASSET,
    TRIGGER,
    Action,
    Raw,
    bandwidth_of,
    transfer_call,
    write_payload,
)
from chain_adapter_tron.draft import TRANSFER_TOPIC
from chain_adapter_tron.effect import fee_bound
from chain_adapter_tron.node import together
from chain_adapter_tron.settings import DAY_S, Settings
from chain_adapter_tron.state import Eyes, State, burned_bandwidth, message_of
from chain_adapter_tron.wire import DryRun

_SPREAD_MS = 60_000
_DAY_MS = DAY_S * 1000


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be moved: TRX where neither `token` nor `number`. `amount` None: all."""

    sender: bytes
    to: bytes
    asset: str
    token: Token | None
    number: str | None
    amount: int | None
    memo: bytes


class Builder:
    """Builds payloads through one endpoint."""

    def __init__(self, where: str, eyes: Eyes, settings: Settings, assets: Assets) -> None:
        self._where = where
        self._eyes = eyes
        self._settings = settings
        self._assets = assets

    async def build(self, intent: Intent) -> bytes:
        """The payload of an intent.

        Raises `Rejected` (for good only when no later time can mend it), `InsufficientFunds`,
        `FeeAboveLimit`, `Unavailable`.
        """
        order = self._order(intent)
        contract = None if order.token is None else order.token.key.hex()
        state = await self._eyes.look(order.sender, order.to, contract, order.number)
        self._check_prices(state, order)
        activates = order.token is None and not state.recipient_exists
        if order.token is None and state.recipient_is_contract and state.prices.refuses_contracts:
            raise Rejected("the recipient is a contract, which takes no such payment",
                           for_good=True)  # fmt: skip
        amount = self._token_amount(order, state)
        energy = most_energy = 0
        if order.token is not None:
            spare = state.token - amount
            energy, most_energy = await self._energy(order, order.token, amount, spare)
        fee_limit = most_energy * state.prices.energy
        if fee_limit > self._settings.energy_fee_cap:
            raise FeeAboveLimit(
                f"energy may cost {fee_limit} sun, above energy_fee_cap "
                f"({self._settings.energy_fee_cap})"
            )
        raw = self._raw(intent, order, state, amount, fee_limit)
        most = fee_bound(raw, activates, self._settings)
        if most > intent.fee_limit:
            raise FeeAboveLimit(f"it may cost {most} sun, the limit is {intent.fee_limit}")
        burned = self._burned(order, state, raw, energy, activates)
        if order.asset == self._assets.native and order.amount is None:
            # the length of the amount's encoding is at most that of all there is: `most` holds
            amount = self._all(state, burned, most)
            raw = self._raw(intent, order, state, amount, fee_limit)
        pays = amount if order.asset == self._assets.native else 0
        if state.balance < pays + burned:
            # asked for in full, so that one payment is enough whatever is free by then
            short_by = pays + self._more(most) - state.balance
            raise InsufficientFunds(self._assets.fee_asset, short_by)
        return write_payload(intent.public_key, activates, raw)

    # --- what is asked --------------------------------------------------------------------------

    def _order(self, intent: Intent) -> Order:
        sender = key_of(intent.sender)
        if of_public_key(intent.public_key) != sender:
            raise Rejected(f"the public key is not that of {intent.sender}")
        if intent.replaces or not intent.payments:
            raise Rejected(
                "a transaction of this chain has no lock: it is neither replaced nor voided, it "
                "expires"
            )
        if len(intent.payments) > 1:
            raise Rejected("one payment a transaction on this chain")
        payment = intent.payments[0]
        try:
            to = key_of(payment.to)
        except InvalidAddress as error:
            raise Rejected(str(error), for_good=True) from None
        if to == NOBODY:
            raise Rejected("the zero address belongs to nobody", for_good=True)
        if payment.amount is not None and payment.amount <= 0:
            raise Rejected(f"an amount of {payment.amount} pays nobody", for_good=True)
        token = self._assets.tokens.get(payment.asset)
        issued = self._assets.issued.get(payment.asset)
        if token is None and issued is None and payment.asset != self._assets.native:
            raise Rejected(f"no asset {payment.asset} is configured on this chain")
        most = MOST if token is None else (1 << 256) - 1
        if payment.amount is not None and payment.amount > most:
            raise Rejected("an amount that no transaction can hold", for_good=True)
        if token is None and to == sender:
            raise Rejected("the chain takes no payment to oneself", for_good=True)
        return Order(
            sender=sender,
            to=to,
            asset=payment.asset,
            token=token,
            number=None if issued is None else issued.id,
            amount=payment.amount,
            memo=b"" if payment.memo is None else payment.memo.encode(),
        )

    def _check_prices(self, state: State, order: Order) -> None:
        """The bounds of the settings hold: `inspect` promises them to the signer."""
        prices, settings = state.prices, self._settings
        asked = {
            "bandwidth_price": (prices.byte, settings.bandwidth_price),
            "memo_fee": (prices.memo if order.memo else 0, settings.memo_fee),
            "activation_fee": (
                prices.new_account + prices.new_account_bandwidth,
                settings.activation_fee,
            ),
        }
        for name, (price, bound) in asked.items():
            if price > bound:
                raise FeeAboveLimit(f"the chain asks {price} sun, {name} allows {bound}")

    # --- what it comes to -----------------------------------------------------------------------

    def _token_amount(self, order: Order, state: State) -> int:
        """The amount, its token at hand. Of TRX, "all" is settled once the fee is known."""
        if order.token is None and order.number is None:
            return state.balance if order.amount is None else order.amount
        amount = state.token if order.amount is None else order.amount
        if amount > state.token or not amount:
            raise InsufficientFunds(order.asset, max(amount - state.token, 1))
        return amount

    async def _energy(self, order: Order, token: Token, amount: int, spare: int) -> tuple[int, int]:
        """Energy as of now, by a dry run that must move just this, and the most to allow: what it
        would take if the recipient had no such token, which may be so by then. With the margin.

        Who pays all it has (`spare` 0) collects to an address that has some: nothing more is
        allowed there, since it would have to be brought to every such address first.
        """
        data = transfer_call(order.to, amount)
        fresh = sha256(b"nobody" + order.to)[:20]
        answer, estimate, dearest = await together(
            self._eyes.dry_run(order.sender, token.key, data),
            self._eyes.estimate(order.sender, token.key, data),
            self._eyes.dry_run(order.sender, token.key, transfer_call(fresh, amount)),
        )
        self._check_dry_run(answer, order, token, amount)
        energy = max(answer.energy_used, estimate)
        if energy <= 0:
            raise Unavailable(f"{self._where} tells no energy for a transfer of {token.name}")
        most = max(energy, dearest.energy_used) if spare else energy
        return self._with_margin(energy), self._with_margin(most)

    def _with_margin(self, energy: int) -> int:
        return energy + energy * self._settings.energy_margin_percent // 100

    def _check_dry_run(self, answer: DryRun, order: Order, token: Token, amount: int) -> None:
        said = message_of(answer.result.message)
        failed = any(one.ret == "FAILED" for one in answer.transaction.ret)
        if failed and "revert" in said.lower():
            raise Rejected(f"the dry run reverts: {said[:200]}", for_good=True)
        if failed or not answer.result.result:
            code = answer.result.code or "no result"
            if code == "no result" and not failed:
                raise Unavailable(f"{self._where}: the dry run of {token.name} told nothing")
            raise Rejected(f"the dry run of {token.name} fails: {code} {said[:200]}")
        if answer.logs is None:
            return  # the node does not tell; what the call returns is no use: USDT returns false
        pair = (order.sender.hex(), order.to.hex())
        for log in answer.logs:
            if log.topics[:1] == [TRANSFER_TOPIC] and len(log.topics) == 3:
                told = (log.topics[1][24:].lower(), log.topics[2][24:].lower())
                if told == pair and log.data.lower() == f"{amount:064x}":
                    return
        raise Rejected(f"the dry run of {token.name} succeeds and does not move {amount}")

    def _raw(self, intent: Intent, order: Order, state: State, amount: int, fee_limit: int) -> Raw:
        if order.token is not None:
            data = transfer_call(order.to, amount)
            action = Action(TRIGGER, order.sender, order.token.key, data=data)
        elif order.number is not None:
            number = order.number.encode()
            action = Action(TRANSFER_ASSET, order.sender, order.to, amount, number)
        else:
            action = Action(TRANSFER, order.sender, order.to, amount)
        # Nothing but time tells two equal payments apart: the salt goes into both times. The one
        # that is not looked at by the chain takes most of it.
        salt = sha256(b"salt" + intent.salt)
        lasts_ms = self._settings.expiration_s * 1000
        earlier_ms = int.from_bytes(salt[:4], "big") % min(_SPREAD_MS, lasts_ms // 5)
        before_ms = int.from_bytes(salt[4:12], "big") % _DAY_MS
        return Raw(
            ref_block_bytes=state.ref_block[6:8],
            ref_block_hash=state.ref_block[8:16],
            expiration=state.head_ms + lasts_ms - earlier_ms,
            timestamp=max(state.head_ms - before_ms, 1),
            kind=action.kind,
            action=action,
            data=order.memo,
            fee_limit=fee_limit,
        )

    def _all(self, state: State, burned: int, most: int) -> int:
        """All TRX less what it burns. One sun stays where that is nothing: bandwidth that is free
        now may be used up by then, and the payment is made anew."""
        amount = state.balance - max(burned, 1)
        if amount <= 0:
            raise InsufficientFunds(self._assets.fee_asset, self._more(most) + 1 - state.balance)
        return amount

    def _burned(self, order: Order, state: State, raw: Raw, energy: int, activates: bool) -> int:
        """Sun that it would burn now: what is free or staked burns nothing."""
        burned = burned_bandwidth(state, bandwidth_of(raw.encode()), activates=activates)
        burned += max(energy - state.energy, 0) * state.prices.energy
        return burned + (state.prices.memo if order.memo else 0)

    def _more(self, fee: int) -> int:
        return fee + fee * self._settings.headroom_percent // 100
