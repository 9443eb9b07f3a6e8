"""The command line on a ledger with a policy: its signer is a process, operators sign by SSH."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from chain_adapter.sandbox.identity import open_identity
from chain_adapter.store import schema
from tests.keys.operators import Operators
from tests.shell.conftest import Answer, Shell, address

POLICY = """
version = 1
[operators]
{operators}
[approvals]
policy = 2
settle = 2
resume = 1
rotate = 2
[assets.REF]
per_transaction = "{most}"
per_hour = "unlimited"
per_day = "unlimited"
per_destination_per_day = "unlimited"
approve_above = "1"
[assets.REF.credits]
per_deposit = "10"
per_hour = "unlimited"
per_day = "unlimited"
[chains.main]
fee_per_transaction = "unlimited"
fee_per_day = "unlimited"
"""


class Desk:
    """`desk(...)` runs a command; `desk.sign` is what an operator does at home."""

    def __init__(self, shell: Shell, operators: Operators) -> None:
        self.shell = shell
        self.operators = operators
        self.keystore = shell.folder / "keys/keystore.json"
        self._count = 0
        identity = shell.folder / "identity"
        open_identity(identity)
        for ours, theirs in (("a.pem", "party_a_private.pem"), ("b.pem", "platform_public.pem")):
            (shell.folder / ours).write_bytes((identity / theirs).read_bytes())
            (shell.folder / ours).chmod(0o600)

    def __call__(self, *words: str) -> Answer:
        return self.shell(*words)

    def act(self, *words: str) -> Answer:
        return self.shell(*words, "--reason", "because")

    def policy(self, *names: str, most: str = "100") -> Path:
        path = self.shell.folder / f"policy-{most}.toml"
        path.write_text(POLICY.format(operators=self.operators.lines(*names), most=most))
        return path

    def with_policy(self, *names: str) -> Path:
        """Name a policy in the configuration, as it is at the first start."""
        path = self.policy(*names or ("ann", "bob"))
        text = self.shell.config.read_text()
        self.shell.config.write_text(f'policy = "{path.name}"\n{text}')
        return path

    def sign(self, who: str, text: str) -> str:
        """`ssh-keygen -Y sign` on a file with the text; the name of the signature's file."""
        self._count += 1
        path = self.shell.folder / f"approval-{self._count}-{who}"
        path.write_text(text)
        key = self.operators.keys[who]
        subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", "chain-adapter", "-f", str(key), str(path)],
            check=True, timeout=60, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return f"{path}.sig"

    def to_sign(self, *words: str) -> str:
        """The text that a command prints to be signed; standard output holds nothing else."""
        answer = self.act(*words)
        assert answer.status == 0, answer.err
        assert "ssh-keygen -Y sign" in answer.err
        assert answer.out.startswith("chain-adapter approval 1\n")
        return answer.out

    def document(self, *words: str) -> Any:
        answer = self.act(*words, "--json")
        assert answer.status == 0, answer.err
        return answer.document


def judged(desk: Desk, trans_id: str, amount: str = "5") -> int:
    """An order that the payer has screened."""
    one = desk.shell.order(trans_id, amount)
    units = str(int(float(amount) * 10**9))
    desk.shell.set(schema.payouts, one, to=address(1), amount=units)
    return one


def payout(desk: Desk, one: int) -> Any:
    return desk.shell.rows("payouts", "show", str(one))
