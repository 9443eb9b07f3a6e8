"""Every alarm has its paragraph, every paragraph its alarm, and the document is today's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chain_adapter.commands.options import GROUPS
from chain_adapter.commands.runbook import BEGIN, DOCUMENT, END, filled
from chain_adapter.commands.tree import COMMANDS
from chain_adapter.core.alarms import CODES
from chain_adapter.core.runbook import RUNBOOK

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / DOCUMENT).read_text(encoding="utf-8")
WORDS = {one.words for one in COMMANDS}


def sources() -> str:
    own = {"core/alarms.py", "core/runbook.py"}
    package = ROOT / "chain_adapter"
    return "\n".join(
        path.read_text(encoding="utf-8")
        for path in sorted(package.rglob("*.py"))
        if str(path.relative_to(package)) not in own
    )


def test_every_code_has_a_paragraph_and_no_paragraph_is_left_over() -> None:
    assert set(RUNBOOK) == set(CODES), "write the paragraph in core/runbook.py"


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_whole(code: str) -> None:
    one = CODES[code]
    assert one.severity in ("critical", "warning")
    for text in (one.meaning, one.todo, RUNBOOK[code]):
        assert text.strip().endswith((".", "*")), text
    assert len(RUNBOOK[code]) > 120, "what to look at, and what to do"
    assert f"### {code}\n" in TEXT


def test_every_code_is_raised_somewhere() -> None:
    text = sources()
    silent = [code for code in CODES if f'"{code}"' not in text]
    assert silent == [], "a code that nothing raises is a promise that is not kept"


def test_the_document_is_todays() -> None:
    assert BEGIN in TEXT
    assert END in TEXT
    assert filled(TEXT) == TEXT, "python -m chain_adapter.commands.runbook"


def test_commands_that_the_document_names_exist() -> None:
    """`payouts release ID` in backticks is a command of the program."""
    named = re.findall(r"`((?:[a-z][a-z-]+)(?: [a-z-]+)?)(?: [^`]*)?`", TEXT)
    wrong = []
    for text in named:
        words = tuple(text.split())
        if words[0] in GROUPS and len(words) == 2 and words not in WORDS:
            wrong.append(text)
    assert wrong == []
