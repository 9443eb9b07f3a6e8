"""Processes of the demo and the sandbox's control calls."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from chain_adapter.errors import AdapterError, Unreachable

READY_S = 90.0


class Process:
    """A command of this program as a process; its log goes to a file."""

    def __init__(
        self, name: str, arguments: Sequence[str], log: Path, *, module: str = "chain_adapter.cli"
    ) -> None:
        self.name = name
        self._module = module
        self.url = ""
        self.ready: dict[str, Any] = {}  # its ready line
        self._arguments = list(arguments)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start and wait for the ready line. Raises `Unreachable` with the end of the log."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, *self._arguments,
                stdout=asyncio.subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = await self._process.stdout.readline()
            self.ready = json.loads(line)
            self.url = str(self.ready["url"])
        except (TimeoutError, ValueError, KeyError):
            await self.kill()
            raise Unreachable(f"{self.name} did not become ready:\n{self.tail()}") from None

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def kill(self) -> None:
        """SIGKILL, at once."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(number)
            try:
                async with asyncio.timeout(20):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        return int(self._process.returncode or 0)

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        try:
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


async def answer(*arguments: str) -> tuple[int, bytes]:
    """Run a command of this program whose answer may be no (exit 1); its status and output.

    Raises `AdapterError` with its words.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "chain_adapter.cli", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    status = int(process.returncode or 0)
    if status > 1 or (status and not out):
        raise AdapterError(f"`{' '.join(arguments[:3])}` failed: {err.decode().strip()[-800:]}")
    return status, out


async def command(*arguments: str) -> Any:
    """As `answer`, for a command that has to succeed; its JSON."""
    status, out = await answer(*arguments)
    if status:
        raise AdapterError(f"`{' '.join(arguments[:3])}` says no: {out.decode()[-800:]}")
    return json.loads(out)


class Control:
    """The sandbox's control calls (see the reference of the sandbox in docs/protocol.md)."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    async def get(self, path: str) -> Any:
        """One GET; its JSON."""
        async with self._session.get(f"{self.url}/sandbox/{path}") as answer:
            return await self._read(answer)

    async def post(self, path: str, /, **body: Any) -> Any:
        """One POST; its JSON. Raises `AdapterError` for a refusal."""
        async with self._session.post(f"{self.url}/sandbox/{path}", json=body) as answer:
            return await self._read(answer)

    async def _read(self, answer: aiohttp.ClientResponse) -> Any:
        if answer.status != 200:
            text = (await answer.text())[:300]
            raise AdapterError(f"sandbox answered {answer.status} to {answer.url.path}: {text}")
        return await answer.json()

    async def close(self) -> None:
        await self._session.close()


async def wait_until(
    what: str, holds: Callable[[], Awaitable[bool]], limit_s: float, every_s: float = 0.1
) -> None:
    """Ask until it holds. Raises `AdapterError` naming what did not come about."""
    try:
        async with asyncio.timeout(limit_s):
            while not await holds():  # noqa: ASYNC110 - other processes tell no event
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise AdapterError(f"after {limit_s:.0f} s still waiting for: {what}") from None
