"""`keys init` on a terminal: the words are shown there alone, and asked back until right."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
from pathlib import Path

import pytest

from tests.shell.conftest import Shell, shell  # noqa: F401 - a fixture


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *words: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:  # the child
            os.execv(sys.executable, [sys.executable, "-m", "chain_adapter.cli", *words])
        self.shown = ""
        self._read = 0

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until it appears behind what was read before."""
        while True:
            found = re.compile(pattern).search(self.shown, self._read)
            if found:
                self._read = found.end()
                return found
            ready, _, _ = select.select([self._fd], [], [], 60)
            assert ready, f"still waiting for {pattern}: {self.shown}"
            self.shown += os.read(self._fd, 4096).decode()

    def say(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())

    def end(self) -> int:
        try:
            while more := os.read(self._fd, 4096):
                self.shown += more.decode()
        except OSError:
            pass  # the other end is closed
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_card_is_read_back(shell: Shell, tmp_path: Path) -> None:  # noqa: F811
    terminal = Terminal("keys", "init", "--config", str(shell.config))
    terminal.until(r"Go on\?")
    terminal.say("y")
    words = terminal.until(r"shown this once:\s+((?:[a-z]+ ){23}[a-z]+)\s")[1].split()
    first = int(terminal.until(r"word (\d+)\?")[1])
    terminal.say("zebra" if words[first - 1] != "zebra" else "zoo")
    terminal.until("another word")
    for _ in range(4):
        place = int(terminal.until(r"word (\d+)\? ")[1])
        terminal.say(words[place - 1].upper())
    terminal.until("The card is right")
    assert terminal.end() == 0
    assert (shell.folder / "keys/keystore.json").exists()
