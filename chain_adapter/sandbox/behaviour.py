"""What the sandbox decides where the platform's documents are silent, as rules with a value each.

Every rule names the assumption; its first value is what this sandbox does by itself, the others
are what another platform may do. `POST /sandbox/behaviour` turns one, `GET` lists them all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """`values[0]` is the default."""

    name: str
    values: tuple[str, ...]
    meaning: str


RULES: tuple[Rule, ...] = (
    # --- envelope
    Rule("code_form", ("number", "string"), '`code` of an answer as 0 or as "0"'),
    Rule(
        "answer_base64",
        ("url", "standard"),
        "Base64 of answers: URL-safe without padding, or the standard alphabet with padding",
    ),
    Rule("error_status", ("200", "400"), "HTTP status of an answer whose code is not 0"),
    Rule(
        "time",
        ("unchecked", "fresh"),
        "whether `time` more than five minutes off (seconds or milliseconds) is refused: 100002",
    ),
    Rule(
        "broken_envelope",
        ("100008", "100002"),
        "code for blocks that do not decrypt and an empty `sign`; a bad signature is the same",
    ),
    Rule(
        "plain_success",
        ("unsigned", "signed"),
        "success without a payload: empty `data` and `sign`, or a sealed `{}`",
    ),
    # --- amounts
    Rule("exponent", ("exact", "refuse"), "an amount with an exponent: taken exactly, or 100001"),
    Rule("amount_text", ("accept", "refuse"), "an amount as a JSON string: accepted, or 100001"),
    Rule("zero_amount", ("refuse", "accept"), "an `amount` of zero: 100001, or accepted"),
    Rule(
        "extra_decimals",
        ("refuse", "truncate"),
        "more decimals than the coin has: 100001, or the rest is cut off",
    ),
    # --- address/register, address/available
    Rule(
        "pool_limit",
        ("at_5000", "above_5000"),
        "refuse at 5,000 unused and what would pass it, or only while more than 5,000 are unused",
    ),
    Rule("known_address", ("accept", "refuse"), "an address registered before: success, or 100002"),
    Rule(
        "memo_again",
        ("refuse", "accept_same"),
        "a second registration of a memo coin: 1000014, or success for the same address",
    ),
    Rule(
        "memo_flag", ("ignore", "match"), "a `memo` flag other than the coin's: no matter, 100002"
    ),
    Rule("bad_address", ("none", "others"), "a call with one bad address stores none, or the rest"),
    Rule("token_available", ("main", "zero"), "the count of a token: its main coin's, or 0"),
    # --- deposit/notify
    Rule(
        "deposit_depth",
        ("at", "above", "refuse_below"),
        "credits when `confirm` reaches the coin's depth, when it exceeds it; or reaches it, and "
        "what comes earlier is refused: 1000011",
    ),
    Rule(
        "deposit_echo",
        ("nested", "bare"),
        "success carries {data: {request_id}}, or {request_id}",
    ),
    Rule(
        "changed_deposit",
        ("refuse", "ignore"),
        "a known request_id with other content: 1000011 or 1000012; or 0, the first record stays",
    ),
    Rule(
        "new_request_id",
        ("credit", "ignore"),
        "a new request_id for a known (symbol, txid, address_to, memo): credited again, or not",
    ),
    Rule(
        "status_zero_later",
        ("ignore", "reverse"),
        "`status` 0 after a credit: 0 and nothing changes, or the credit is taken back",
    ),
    Rule(
        "unheld_address",
        ("give", "refuse"),
        "a deposit to a registered address that no user holds: given to a new user, or 1000017",
    ),
    Rule("unknown_memo", ("refuse", "keep"), "unknown memo: 1000017, or kept and credited to none"),
    # --- withdraw/consume
    Rule("consume_order", ("oldest", "latest"), "which twenty are handed out when more wait"),
    Rule("consume_empty", ("signed", "unsigned"), "nothing to hand out: a sealed [], or no data"),
    Rule("trans_id_form", ("number", "string"), "`trans_id` as a number or as a string"),
    Rule("consume_amount", ("number", "string"), "`amount` and `fee` as number or string"),
    Rule("consume_fee", ("present", "absent"), "the optional `fee` of an order"),
    Rule("consume_memo", ("empty", "absent", "null"), "`memo` of an order without one"),
    # --- withdraw/notify
    Rule(
        "withdraw_depth", ("at", "above"), "completes when `confirm` reaches the depth, exceeds it"
    ),
    Rule(
        "late_claim",
        ("accept", "refuse"),
        "a first call with `confirm` above 0: counts as the claim too, or 1000018",
    ),
    Rule("claim_again", ("accept", "refuse"), "the same call once more: 0, or 1000018"),
    Rule(
        "smaller_confirm",
        ("ignore", "take"),
        "a smaller `confirm` than before: changes nothing, or is taken",
    ),
    Rule(
        "replacement",
        ("accept", "refuse", "ignore"),
        "another txid while paying: replaces the first; 1000018; or 0 and the first stays",
    ),
    Rule("notify_address", ("unchecked", "checked"), "another `address_to` than ordered: 1000018?"),
    Rule(
        "shared_txid",
        ("accept", "refuse"),
        "a second withdrawal to one address with one txid: told one by one, or 1000018",
    ),
    Rule("after_completion", ("accept", "refuse"), "a call after completion: 0, or 1000018"),
    Rule("after_cancel", ("refuse", "accept"), "a call after a cancel: 1000018, or 0; unchanged"),
    Rule(
        "token_fee", ("main", "own"), "`fee` of a token's transaction has the main coin's decimals"
    ),
    # --- withdraw/cancel, internal/notify
    Rule("cancel_again", ("accept", "refuse"), "a second cancel: 0, or 1000018"),
    Rule("cancel_paying", ("refuse", "accept"), "a cancel while paying: 1000018, or refunded"),
    Rule("cancel_unknown", ("1000018", "100002"), "code of a cancel for an unknown trans_id"),
    Rule(
        "internal_notify",
        ("on", "off"),
        'internal/notify is served, or "temporarily unavailable for third parties": 100002',
    ),
    Rule(
        "internal_again",
        ("update", "refuse"),
        "a repeat of (symbol, txid): updates confirm and fee, or 1000018",
    ),
)

_BY_NAME = {rule.name: rule for rule in RULES}


def defaults() -> dict[str, str]:
    """Every rule at its default."""
    return {rule.name: rule.values[0] for rule in RULES}


def values_of(name: str) -> tuple[str, ...] | None:
    """The values that a rule can have; None for an unknown rule."""
    rule = _BY_NAME.get(name)
    return rule.values if rule else None


def listing(current: dict[str, str]) -> list[dict[str, object]]:
    """Every rule with its value, its default, its choices and what it is about."""
    return [
        {
            "rule": rule.name,
            "value": current[rule.name],
            "default": rule.values[0],
            "values": list(rule.values),
            "meaning": rule.meaning,
        }
        for rule in RULES
    ]
