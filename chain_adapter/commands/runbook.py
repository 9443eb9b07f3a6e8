"""Writes the runbook into docs/operations.md: a section an alarm code, from the tables.

`python -m chain_adapter.commands.runbook` rewrites the part between the two marks in the current
directory; a test holds the document to what this page would write.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from chain_adapter.core.alarms import CODES
from chain_adapter.core.runbook import RUNBOOK

DOCUMENT = Path("docs/operations.md")
BEGIN = "<!-- runbook: written by `python -m chain_adapter.commands.runbook` -->"
END = "<!-- end of the runbook -->"
WIDTH = 128


def runbook() -> str:
    """All codes, the critical ones first."""
    parts = []
    for code, one in sorted(CODES.items(), key=lambda item: (item[1].severity, item[0])):
        text = RUNBOOK[code]
        parts += [
            f"### {code}",
            "",
            *_wrapped(f"*{one.severity}* · {one.meaning} Closes {one.ends}."),
            "",
            *_wrapped(f"**To do:** {one.todo}"),
            "",
            *_wrapped(text),
            "",
        ]
    return "\n".join(parts)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def filled(document: str) -> str:
    """`document` with today's runbook between the marks."""
    head, _, rest = document.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{runbook()}\n{END}{tail}"


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
