"""Tells a webhook which alarms opened, last and closed, and a heartbeat that all goes on.

open and told alarms compared -> one JSON document for all that is new -> posted -> only then
remembered as told (in the ledger, so that a restart tells nothing twice and forgets nothing).
What comes within `group_s` of a message waits for the next: a storm is a few messages.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import structlog
from sqlalchemy import Row, select

from chain_adapter.config.sections import AlarmsConfig
from chain_adapter.core.alarms import CODES, Code
from chain_adapter.errors import ConfigError, KeyFileError, Unreachable
from chain_adapter.store import ledger, schema
from chain_adapter.store.store import Store, Tx
from chain_adapter.telemetry import METRICS, redact

log = structlog.get_logger(__name__)
LOOK_S = 1.0
LISTED_MOST = 20  # alarms of a kind in one message; the rest is counted by code
KEY = "herald"
T = schema.alarms
UNKNOWN = Code("warning", "Raised by another version of the program.", "Read its documents.")


class Line:
    """HTTP to one address whose path is a secret: errors name the host alone.

    Guarantees: no call takes longer than its timeout; no redirect, cookie or proxy is used.
    """

    def __init__(self, name: str, url: str, timeout_s: float) -> None:
        self.host = urlsplit(url).hostname or "?"
        self._name = name
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, document: bytes | None) -> None:
        """POST a JSON document, or GET with None. Raises `Unreachable` without a 2xx."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        method = "GET" if document is None else "POST"
        headers = {} if document is None else {"Content-Type": "application/json"}
        try:
            async with self._session.request(
                method, self._url, data=document, headers=headers, allow_redirects=False
            ) as response:
                if response.status // 100 != 2:
                    raise Unreachable(f"{self._name} {self.host}: HTTP {response.status}")
        except TimeoutError:
            raise Unreachable(
                f"{self._name} {self.host}: no answer within {self._timeout.total:g} s"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{self._name} {self.host}: {type(error).__name__}") from None

    async def close(self) -> None:
        """Give the connection back."""
        if self._session is not None:
            await self._session.close()


def url_of(config: AlarmsConfig, name: str) -> str | None:
    """The URL of "webhook" or "heartbeat"; None where there is none. `KeyFileError`."""
    file: Path | None = getattr(config, f"{name}_file")
    if file is None:
        url: str | None = getattr(config, name)
        return url
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"alarms.{name}_file {file} cannot be read: {error}") from None
    text = lines[0].strip() if lines else ""
    if urlsplit(text).scheme not in ("http", "https") or not urlsplit(text).hostname:
        raise ConfigError(f"alarms.{name}_file: the first line of {file} is no http(s) URL")
    return text


@dataclass(slots=True)
class Told:
    """What the webhook knows: open alarms by id with the time of telling, and the newest id."""

    at: dict[int, int] = field(default_factory=dict)
    last_id: int = 0

    def as_text(self) -> str:
        return json.dumps({"at": self.at, "last_id": self.last_id}, separators=(",", ":"))

    @classmethod
    def read(cls, tx: Tx) -> Told:
        found = json.loads(ledger.get(tx, KEY) or "{}")
        at = {int(one): when for one, when in found.get("at", {}).items()}
        return cls(at, found.get("last_id", 0))


@dataclass(frozen=True, slots=True)
class News:
    """What is to be told: ids by kind, and up to `LISTED_MOST` rows of each, critical first."""

    ids: Mapping[str, Sequence[int]]
    rows: Mapping[str, Sequence[Row[Any]]]
    codes: Mapping[str, Mapping[str, int]]
    open_now: Mapping[str, int]  # by severity

    def __bool__(self) -> bool:
        return any(self.ids.values())


def news(tx: Tx, told: Told, remind_us: int | None) -> News:
    """Compare what is open with what was told."""
    rows = tx.all(select(T.c.id, T.c.severity, T.c.acknowledged_at).where(T.c.closed_at.is_(None)))
    open_ids = {row.id for row in rows}
    # Opened and closed between two looks: still worth a line.
    passed = tx.all(select(T.c.id).where(T.c.id > told.last_id, T.c.closed_at.is_not(None)))
    ids = {
        "opened": sorted(open_ids - set(told.at)),
        "closed": sorted({*(set(told.at) - open_ids), *(row.id for row in passed)}),
        "reminders": [
            row.id
            for row in rows
            if remind_us is not None
            and row.severity == "critical"
            and row.acknowledged_at is None
            and told.at.get(row.id, tx.now_us) + remind_us <= tx.now_us
        ],
    }
    return News(
        ids,
        {kind: _listed(tx, some) for kind, some in ids.items()},
        {kind: _codes(tx, some) for kind, some in ids.items()},
        Counter(row.severity for row in rows),
    )


def _listed(tx: Tx, ids: Sequence[int]) -> Sequence[Row[Any]]:
    """Critical ones first, then the oldest."""
    if not ids:
        return ()
    found = tx.all(
        select(T).where(T.c.id >= min(ids), T.c.id <= max(ids)).order_by(T.c.severity, T.c.id)
    )
    wanted = set(ids)
    return [row for row in found if row.id in wanted][:LISTED_MOST]


def _codes(tx: Tx, ids: Sequence[int]) -> Mapping[str, int]:
    if not ids:
        return {}
    wanted = set(ids)
    found = tx.all(select(T.c.id, T.c.code).where(T.c.id >= min(ids), T.c.id <= max(ids)))
    return dict(Counter(row.code for row in found if row.id in wanted))


def document(instance: str, at_us: int, what: News) -> dict[str, Any]:
    """The message. `text` is a line that chat programs show as it is."""
    words = {"opened": "opened", "reminders": "not seen to", "closed": "closed"}
    told = []
    for kind, word in words.items():
        if what.ids[kind]:
            codes = ", ".join(f"{code} {count}" for code, count in what.codes[kind].items())
            told.append(f"{len(what.ids[kind])} {word} ({codes})")
    first = next((rows[0] for rows in (what.rows["opened"], what.rows["reminders"]) if rows), None)
    detail = "" if first is None else f": {first.code} {first.subject}: {redact(first.message)}"
    return {
        "source": "chain-adapter",
        "instance": instance,
        "sent_at": _iso(at_us),
        "text": f"chain-adapter {instance}: {'; '.join(told)}{detail}",
        "open": {"critical": 0, "warning": 0, **what.open_now},
        **{
            kind: {
                "count": len(what.ids[kind]),
                "codes": what.codes[kind],
                "alarms": [_alarm(row) for row in what.rows[kind]],
            }
            for kind in words
        },
    }


def _alarm(row: Row[Any]) -> dict[str, Any]:
    code = CODES.get(row.code, UNKNOWN)
    return {
        "id": row.id,
        "code": row.code,
        "severity": row.severity,
        "subject": row.subject,
        "message": redact(row.message),
        "count": row._mapping["count"],
        "opened_at": _iso(row.opened_at),
        "last_at": _iso(row.last_at),
        "closed_at": None if row.closed_at is None else _iso(row.closed_at),
        "acknowledged_by": row.acknowledged_by,
        "meaning": code.meaning,
        "todo": code.todo,
        "runbook": f"docs/operations.md#{row.code}",
    }


def _iso(at_us: int) -> str:
    moment = datetime.fromtimestamp(at_us // 1_000_000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Herald:
    """Guarantees: every alarm that is open is told once at least, and its end; nothing of the
    daemon waits for the webhook.

    Does not guarantee: a message for each alarm, nor that one is told at once.
    """

    def __init__(self, store: Store, config: AlarmsConfig, line: Line, instance: str) -> None:
        self._store = store
        self._group_s = config.group_s
        self._remind_us = None if config.remind_s is None else int(config.remind_s * 1_000_000)
        self._line = line
        self._instance = instance
        self._told: Told | None = None

    async def step(self) -> float:
        """Tell what is new, if anything; the pause. Raises `Unreachable`: the loop backs off."""
        if self._told is None:
            self._told = await self._store.read(Told.read)
        told = self._told
        what, now_us = await self._store.read(
            lambda tx: (news(tx, told, self._remind_us), tx.now_us)
        )
        if not what:
            return LOOK_S
        body = json.dumps(document(self._instance, now_us, what), ensure_ascii=False).encode()
        try:
            await self._line.send(body)
        except Unreachable:
            METRICS.alarm_messages.labels("failed").inc()
            raise
        METRICS.alarm_messages.labels("sent").inc()
        after = self._after(told, what, now_us)
        await self._store.write(lambda tx: ledger.put(tx, KEY, after.as_text()))
        self._told = after
        log.info("alarms_told", opened=len(what.ids["opened"]), closed=len(what.ids["closed"]))
        return max(self._group_s, LOOK_S)

    @staticmethod
    def _after(told: Told, what: News, now_us: int) -> Told:
        gone = set(what.ids["closed"])
        at = {one: when for one, when in told.at.items() if one not in gone}
        at |= dict.fromkeys((*what.ids["opened"], *what.ids["reminders"]), now_us)
        newest = max((told.last_id, *at, *gone))
        return Told(at, newest)


class Heartbeat:
    """Guarantees: silence when the daemon is not ready, stands still or is gone.

    Does not guarantee: that each beat arrives; whoever listens allows for a lost one.
    """

    def __init__(
        self, config: AlarmsConfig, line: Line, reasons: Callable[[], Awaitable[Sequence[str]]]
    ) -> None:
        self._every_s = config.heartbeat_s
        self._line = line
        self._reasons = reasons
        self._is_silent = False

    async def step(self) -> float:
        """One beat, or none with the reason in the log."""
        reasons = await self._reasons()
        if reasons:
            if not self._is_silent:
                log.warning("heartbeat_stops", reasons=list(reasons))
            self._is_silent = True
            return min(self._every_s, 5.0)
        self._is_silent = False
        try:
            await self._line.send(None)
        except Unreachable:
            METRICS.heartbeats.labels("failed").inc()
            raise
        METRICS.heartbeats.labels("sent").inc()
        return self._every_s
