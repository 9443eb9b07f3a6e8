"""The platform's answer codes and what each means for the item that was being told.

A code of class *row* concerns one deposit, payout or address; one of class *connection* concerns
the peer, and then errors only delay. Codes are unsigned: none of them alone ever ends anything.
A code that is not in this table is of class *connection*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SUCCESS = 0
JSON_DECODE_ERROR = 100001
SYSTEM_ERROR = 100002
APP_ID_NOT_REGISTERED = 100003
SIGNATURE_ERROR = 100008
NOT_OUR_SYMBOL = 100009
TOO_MANY_ADDRESSES = 1000010
DEPOSIT_NOTIFY_FAILED = 1000011
REQUEST_ID_AND_TXID_DIFFER = 1000012
ONLY_ONE_ADDRESS = 1000014
TOKEN_ADDRESS_NOT_ALLOWED = 1000015
ADDRESS_TOO_LONG = 1000016
ADDRESS_UNKNOWN = 1000017
FINANCE_NOTIFY_ERROR = 1000018


class CodeClass(StrEnum):
    """Whom an error concerns."""

    SUCCESS = "success"
    CONNECTION = "connection"  # retried with capped backoff, for ever, with an alarm
    ROW = "row"  # retried on the schedule, then parked with an alarm


@dataclass(frozen=True, slots=True)
class Code:
    """One answer code in our words."""

    number: int
    meaning: str
    kind: CodeClass


_CONNECTION, _ROW = CodeClass.CONNECTION, CodeClass.ROW

CODES: Mapping[int, Code] = {
    code.number: code
    for code in (
        Code(SUCCESS, "success", CodeClass.SUCCESS),
        Code(JSON_DECODE_ERROR, "the platform could not read our JSON", _CONNECTION),
        Code(SYSTEM_ERROR, "system error of the platform", _CONNECTION),
        Code(APP_ID_NOT_REGISTERED, "app_id is not registered", _CONNECTION),
        Code(100004, "public key cannot be decoded", _CONNECTION),
        Code(100005, "app_id exists already", _CONNECTION),
        Code(100006, "error while decoding the public key", _CONNECTION),
        Code(100007, "private key cannot be decoded", _CONNECTION),
        Code(SIGNATURE_ERROR, "our signature was not accepted", _CONNECTION),
        Code(NOT_OUR_SYMBOL, "the symbol does not belong to this app_id", _CONNECTION),
        Code(TOO_MANY_ADDRESSES, "more than 100 addresses in one call", _ROW),
        Code(DEPOSIT_NOTIFY_FAILED, "the deposit was not taken", _ROW),
        Code(REQUEST_ID_AND_TXID_DIFFER, "request_id is known with another txid", _ROW),
        Code(1000013, "private key hash does not match", _CONNECTION),
        Code(ONLY_ONE_ADDRESS, "a memo coin has one address only", _ROW),
        Code(TOKEN_ADDRESS_NOT_ALLOWED, "a token's addresses are those of its main coin", _ROW),
        Code(ADDRESS_TOO_LONG, "the address is too long", _ROW),
        Code(ADDRESS_UNKNOWN, "the address or memo is not known to the platform", _ROW),
        Code(FINANCE_NOTIFY_ERROR, "finance notify error, such as an unknown trans_id", _ROW),
        Code(1000019, "app_id is disabled", _CONNECTION),
    )
}


def kind(code: int) -> CodeClass:
    """The class of a code; an unknown one is *connection*, so that it only delays."""
    known = CODES.get(code)
    return known.kind if known else CodeClass.CONNECTION


def is_row(code: int) -> bool:
    """Whether the code concerns this item only."""
    return kind(code) is CodeClass.ROW


def meaning(code: int) -> str:
    """The code in our words, for errors and alarms."""
    known = CODES.get(code)
    return known.meaning if known else "a code that the platform's documents do not name"
