"""The one table of alarm codes: how bad it is, what it means, what to do.

The runbook in docs/operations.md is generated from it and from `core.runbook`; a code that is
raised but not listed is a KeyError in the first test that raises it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Ends(StrEnum):
    """When an alarm is closed: by itself either way."""

    CAUSE = "when its cause is gone"
    ACKNOWLEDGED = "when it is acknowledged: it tells of something that happened, not of a state"


@dataclass(frozen=True, slots=True)
class Code:
    """Severity: "critical" (money may be at stake), "warning" (somebody should look today).

    What to look at and to do in detail stands in `core.runbook`, a paragraph a code.
    """

    severity: str
    meaning: str
    todo: str
    ends: Ends = Ends.CAUSE


CODES: dict[str, Code] = {
    "worker_failing": Code(
        "warning",
        "A loop of the daemon has failed several times in a row and keeps retrying.",
        "Read the message: it names the part and the cause. Mend the cause; the loop goes on.",
    ),
    "platform_unreachable": Code(
        "warning",
        "The platform does not answer, or not believably. Nothing is lost; all waits.",
        "Check network, TLS pins, app_id and keys with `chain-adapter check`.",
    ),
    "node_unreachable": Code(
        "warning",
        "No endpoint of the chain answers.",
        "Check the node; scanning goes on by itself from the same block.",
    ),
    "endpoints_differ": Code(
        "critical",
        "Two endpoints show different blocks at credit depth. Crediting on the chain is paused.",
        "Find out which one is on the wrong chain, remove it, then `chains resume`.",
    ),
    "endpoint_outvoted": Code(
        "critical",
        "An endpoint shows another block than the quorum. It is outvoted; crediting goes on.",
        "Find out why it is on another branch, and replace it.",
    ),
    "endpoint_missing": Code(
        "warning",
        "Fewer endpoints answer than should. Crediting waits for them for `alone_after`, then "
        "goes on with those that do.",
        "Mend or replace the endpoint that the message names.",
    ),
    "readings_differ": Code(
        "critical",
        "Two readings of one block differ: an endpoint lied, or left something out. What differs "
        "is held, what was missed is taken up.",
        "The message names both endpoints. Compare the transactions with a third one.",
        Ends.ACKNOWLEDGED,
    ),
    "deep_reorg": Code(
        "critical",
        "A reorganisation reached a final block or went deeper than the limit. Chain paused.",
        "Compare REVERSED deposits with the platform by hand, then `chains resume`.",
    ),
    "deposit_held": Code(
        "warning",
        "A deposit waits for a person.",
        "`deposits list --state HELD`, `why TXID`; then `deposits release` or `ignore`.",
    ),
    "deposit_reversed": Code(
        "critical",
        "A deposit that was confirmed or credited lost its block.",
        "Tell the platform; there is no call that takes a credit back.",
        Ends.ACKNOWLEDGED,
    ),
    "late_find": Code(
        "warning",
        "A later reading found more of a deposit that was already confirmed.",
        "See `inbox list`; it is never notified a second time by itself.",
        Ends.ACKNOWLEDGED,
    ),
    "order_changed": Code(
        "critical",
        "The platform handed out a known trans_id with other content. The payout is held.",
        "Ask the platform which content is right; refuse or release the payout.",
    ),
    "order_bad": Code(
        "warning",
        "A row of a consume answer could not be read. The other rows were taken.",
        "Ask the platform about the row in the message.",
    ),
    "payout_held": Code(
        "warning",
        "A payout waits for a person.",
        "`payouts list --held`, `why TRANS_ID`; then `payouts release` or `refuse`.",
    ),
    "hot_wallet_short": Code(
        "warning",
        "The hot wallet cannot pay everything that waits.",
        "Fund the hot address; smaller withdrawals go on meanwhile.",
    ),
    "gas_short": Code(
        "warning",
        "The gas address cannot pay a top-up; token deposits are not collected.",
        "Fund the gas address (`addresses list` shows it).",
    ),
    "hot_below_floor": Code(
        "warning",
        "The hot wallet holds less of an asset than its floor.",
        "Fund the hot address before withdrawals have to wait.",
    ),
    "fee_above_cap": Code(
        "warning",
        "The chain asks a higher fee than the cap allows; the payout waits or is stuck.",
        "Raise `fee_cap` of the chain, or wait for fees to fall.",
    ),
    "claim_failing": Code(
        "critical",
        "A claim keeps failing while other calls succeed; its account waits behind it.",
        "`outbox list`; ask the platform; `payouts refuse` voids it.",
    ),
    "claim_not_heard": Code(
        "warning",
        "The platform lists a withdrawal whose claim it acknowledged. The claim is repeated.",
        "If it goes on, ask the platform whether our calls reach it.",
    ),
    "claim_refused": Code(
        "warning",
        "The platform refused a claim. The transaction was not sent; its locks are voided.",
        "Usually the user cancelled. `why TRANS_ID` shows the code.",
    ),
    "outbox_parked": Code(
        "warning",
        "An item was refused at every try of its schedule and is parked.",
        "`outbox list --state parked`, then `outbox retry ID`.",
    ),
    "paid_not_accepted": Code(
        "critical",
        "A withdrawal is paid and final, but the platform does not accept the notification.",
        "Settle it with the platform; the payout is held.",
    ),
    "foreign_use": Code(
        "critical",
        "An address of ours signed a transaction that our journal does not know.",
        "Somebody else has the key, or another system uses it. Nothing is signed for the "
        "account until `alarms ack`.",
        Ends.ACKNOWLEDGED,
    ),
    "malleated": Code(
        "warning",
        "A payment of ours was included under another txid with the same locks and payments.",
        "Nothing: the payout follows the new txid.",
        Ends.ACKNOWLEDGED,
    ),
    "payment_failed": Code(
        "critical",
        "A claimed payment was included but did not do what its bytes say.",
        "See `why TRANS_ID`. One new attempt is made if a dry run passes, else it is held.",
    ),
    "journal_lacks": Code(
        "critical",
        "The database names a signed attempt that the signer's journal lacks.",
        "The journal is older than the database. See docs/operations.md, lost journal.",
    ),
    "credit_limit": Code(
        "warning",
        "A deposit is above what the policy lets us credit by ourselves; it is not told yet.",
        "Look at it (`why TXID`), then sign an approval, or wait for the window to pass.",
    ),
    "approval_needed": Code(
        "warning",
        "The policy lets this leave only with operators' approval; it waits, others go on.",
        "`payouts approve ID` shows what to sign; without it the payout goes back at `hold_limit`.",
    ),
    "policy_limit": Code(
        "warning",
        "A limit of the policy does not let this leave now.",
        "Wait for the window to pass, or `policy propose` another one.",
    ),
    "signing_stopped": Code(
        "critical",
        "The kill switch is on: nothing is signed. Reading and reporting go on.",
        "Find out why; then `chain-adapter resume`.",
    ),
    "signing_refused": Code(
        "critical",
        "The signer refused to sign a payout.",
        "The message says which of intent, effect, warrant, journal or policy disagrees.",
    ),
    "window_full": Code(
        "critical",
        "Twenty withdrawals keep the platform's page from moving.",
        "Fund, approve or refuse them; the oldest are sent back one at a time.",
    ),
    "pool_mismatch": Code(
        "warning",
        "The platform counts more unused addresses than we have registered.",
        "Some were registered from another database: `recover` finds them.",
    ),
    "register_refused": Code(
        "warning",
        "The platform refuses to register addresses.",
        "The message has the code; memo coins hold one address only.",
    ),
    "reconciliation": Code(
        "critical",
        "A day's books disagree with the chain or the platform.",
        "`reconcile --day DAY`; `why` explains each subject. Nothing is mended by itself.",
    ),
    "recover_needed": Code(
        "critical",
        "The ledger is new, but its keys have signed before: it does not know yet what. Nothing "
        "is credited or signed on the chain.",
        "`recover --chain NAME --from H --addresses K`; see docs/recovery.md.",
    ),
    "unlisted_deposit": Code(
        "warning",
        "Somebody deposited an asset that is off. It is not credited.",
        "`inbox list`; `deposits release` credits it, `inbox dismiss` leaves it.",
    ),
    "imported_listed": Code(
        "critical",
        "The platform lists a withdrawal that was imported as paid by another system.",
        "Have it completed at the platform with the txid in the message; it is never paid again.",
    ),
}
