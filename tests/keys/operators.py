"""Operators with real SSH keys, and the policy that names them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from chain_adapter.keys.approvals import Claim, approval_text, pay_claim
from chain_adapter.keys.rules import payments_text
from chain_adapter.keys.signer import (
    SignRequest,
)
from chain_adapter.platform_api.messages import DepositNotice
from tests.keys.test_ssh_signature import keygen, ssh_sign
from tests.keys.world import CHAIN, START

POLICY = """
version = 1
[operators]
{operators}
[approvals]
policy = 2
settle = 2
evidence = 2
[assets.REF]
per_transaction = "10"
per_hour = "20"
per_day = "30"
per_destination_per_day = "unlimited"
approve_above = "3"
approve_twice_above = "5"
[assets.REF.credits]
per_deposit = "100"
per_hour = "150"
per_day = "unlimited"
[chains.ref]
fee_per_transaction = "0.00001"
fee_per_day = "0.00002"
top_up_per_transaction = "1"
top_up_per_day = "2"
"""


@dataclass
class Operators:
    """SSH keys of three people, and what they sign."""

    folder: Path
    ledger_id: str = ""

    def __post_init__(self) -> None:
        self.keys: dict[str, Path] = {}
        for name in ("ann", "bob", "eve"):
            (self.folder / name).mkdir()
            self.keys[name] = keygen(self.folder / name, "ed25519")

    def lines(self, *names: str) -> str:
        return "\n".join(
            f'{n} = "{self.keys[n].with_suffix(".pub").read_text().strip()}"' for n in names
        )

    def sign(self, who: str, claim: Claim, *, expires: datetime = START + timedelta(days=1)) -> str:
        text = approval_text(claim, self.ledger_id, expires)
        return text + ssh_sign(self.keys[who], text.encode())


def claim_of(request: SignRequest, act: str = "pay") -> Claim:
    return pay_claim(request.payout, CHAIN, payments_text(request.intent.payments), act)


def notice(**changes: Any) -> DepositNotice:
    made = DepositNotice(
        request_id="r1", symbol="REF", txid="t1", address_to="a", amount="100", confirm=6,
        balance="0",
    )  # fmt: skip
    return replace(made, **changes)
