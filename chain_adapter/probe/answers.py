"""What came out of a question, and which settings follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

UNKNOWN = "unknown"
"""The platform could not be made to show it; the answer says what would."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A line of the configuration that follows from an answer."""

    table: str  # "platform", "chains.main"
    key: str
    value: str  # as TOML has it
    why: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`rule` is the name under which docs/protocol.md and the sandbox know the question.

    `risk` says what it means for money where it is not the safe side.
    """

    rule: str
    question: str
    answer: str
    evidence: str
    subject: str = ""  # the symbol it was asked of
    risk: str = ""
    settings: tuple[Setting, ...] = ()

    @property
    def is_known(self) -> bool:
        return self.answer != UNKNOWN

    def document(self) -> dict[str, Any]:
        return {
            "rule": self.rule,
            "subject": self.subject,
            "question": self.question,
            "answer": self.answer,
            "evidence": self.evidence,
            "risk": self.risk,
        }


@dataclass(slots=True)
class Findings:
    """All answers of one run."""

    answers: list[Answer] = field(default_factory=list)

    def add(self, *answers: Answer) -> None:
        self.answers += answers

    def of(self, rule: str) -> Answer | None:
        """The first answer to a rule, if it was asked."""
        return next((one for one in self.answers if one.rule == rule), None)

    def settings(self) -> list[Setting]:
        """The settings that follow, each once."""
        found: dict[tuple[str, str], Setting] = {}
        for answer in self.answers:
            for one in answer.settings:
                found.setdefault((one.table, one.key), one)
        return list(found.values())

    def document(self) -> dict[str, Any]:
        return {
            "answers": [one.document() for one in self.answers],
            "settings": [
                {"table": one.table, "key": one.key, "value": one.value, "why": one.why}
                for one in self.settings()
            ],
            "unknown": [one.rule for one in self.answers if not one.is_known],
            "risks": [one.risk for one in self.answers if one.risk],
        }


def as_toml(settings: Iterable[Setting]) -> str:
    """The settings as lines for the configuration, grouped by table."""
    tables: dict[str, list[Setting]] = {}
    for one in settings:
        tables.setdefault(one.table, []).append(one)
    lines: list[str] = []
    for table, rows in tables.items():
        lines += [f"[{table}]", *(f"{one.key} = {one.value}  # {one.why}" for one in rows), ""]
    return "\n".join(lines)


def as_text(findings: Findings) -> str:
    """For people: question, answer, how it was seen; then what follows."""
    width = max((len(_name(one)) for one in findings.answers), default=0)
    lines: list[str] = []
    for one in findings.answers:
        lines.append(f"{_name(one).ljust(width)}  {one.answer}")
        lines.append(f"{' ' * width}  {one.question} {one.evidence}")
        if one.risk:
            lines.append(f"{' ' * width}  RISK: {one.risk}")
    settings = findings.settings()
    lines += ["", "Settings that follow:", as_toml(settings) if settings else "none: the defaults"]
    unknown = _listed([one.rule for one in findings.answers if not one.is_known])
    if unknown:
        lines += ["Not shown by the platform; ask it, or give it what the answer says:", unknown]
    return "\n".join(lines)


def _name(one: Answer) -> str:
    return f"{one.rule} {one.subject}".rstrip()


def _listed(names: Sequence[str]) -> str:
    return "  " + ", ".join(dict.fromkeys(names)) if names else ""
