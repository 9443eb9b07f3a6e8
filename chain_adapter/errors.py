"""Every exception of the core on one page.

`AdapterError` carries a message written for the operator: what happened, on what, what to do.
`exit_status` is what a command ends with when the error reaches the command line.
The errors that a chain plugin raises stand in `chain.py`, beside the interface.
"""

from __future__ import annotations


class AdapterError(Exception):
    """Base of all errors of chain-adapter. The text is for a person and holds no secret."""

    exit_status = 1


class ConfigError(AdapterError):
    """Wrong use or configuration: a key, a file, a command line. Nothing was changed."""

    exit_status = 2


class Unreachable(AdapterError):
    """Something needed did not answer: node, platform, database, signer."""

    exit_status = 3


# --- amounts ------------------------------------------------------------------------------------


class AmountError(AdapterError):
    """A text that is no exact amount of this asset; never rounded (docs/protocol.md, amounts)."""


# --- platform -----------------------------------------------------------------------------------


class PlatformUnreachable(Unreachable):
    """No answer, HTTP error, no JSON, a bad signature or an answer to another question.

    All are of class *connection*: they delay, and decide nothing about the item.
    """


class PlatformRefused(AdapterError):
    """The platform answered with a code other than 0.

    `code` is the number it sent, `row` tells whether it concerns this item only (class *row*) or
    the connection (class *connection*). The code is unsigned: only TLS makes it believable.
    """

    def __init__(self, call: str, code: int, message: str, *, row: bool) -> None:
        super().__init__(f"{call}: platform answered code {code}: {message}")
        self.call = call
        self.code = code
        self.message = message
        self.row = row


class EnvelopeError(AdapterError):
    """An envelope that does not open. One error for every cause, on purpose (no oracle)."""


# --- store --------------------------------------------------------------------------------------


class StoreError(AdapterError):
    """The database refused, is of another version or another ledger, or is damaged."""


class SchemaMismatch(StoreError):
    """The database was written by another version. The text says which command mends it."""

    exit_status = 2


class LedgerMismatch(StoreError):
    """Database and keys belong to different ledgers, or the database is unexpectedly empty."""

    exit_status = 2


class AlreadyRunning(StoreError):
    """Another daemon holds this database."""

    exit_status = 2


class LeaseLost(StoreError):
    """The lease ran out, was taken over, or the connection under it was lost."""


class StateConflict(StoreError):
    """A row was not in the state that its transition starts from; nothing was changed."""


class UnknownRow(StoreError):
    """No such deposit, payout, outbox item, inbox item or alarm."""


# --- keys ---------------------------------------------------------------------------------------


class KeyFileError(AdapterError):
    """A key file or the keystore is missing, unreadable, damaged, or the passphrase is wrong."""

    exit_status = 2


class SigningRefused(AdapterError):
    """The signer will not sign this: effect, intent, warrant, journal or policy disagree.

    `for_good` tells that no later time can change the answer.
    """

    def __init__(self, why: str, *, for_good: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.for_good = for_good


class SigningWaits(SigningRefused):
    """The signer would sign it at another time, or once somebody says so; nothing is wrong with it.

    `waits_for`: "switch" (the kill switch is on), "approval" (operators must sign), "policy" (a
    limit of the policy in force: a window must pass, or operators must change it).
    """

    def __init__(self, why: str, waits_for: str) -> None:
        super().__init__(why)
        self.waits_for = waits_for
