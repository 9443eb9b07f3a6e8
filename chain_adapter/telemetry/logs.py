"""Structured logs on standard error, as JSON lines or as text for people.

Every event, ours and those of libraries, passes `redact` just before it is rendered: values under
secret-like keys and all bytes are dropped, PEM blocks and passwords in URLs are cut out of texts.
Libraries are never logged below warning: at debug level some of them print what they handle.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, TextIO

import structlog

DROPPED = "[dropped]"

# Whole words of a key in snake_case, or the key as such.
_SECRET_WORDS = frozenset({
    "authorization", "cookie", "credential", "credentials", "mnemonic", "passphrase", "passwd",
    "password", "pin", "pins", "plaintext", "priv", "private", "pwd", "secret", "secrets", "seed",
    "seeds", "token", "tokens", "warrant", "xprv",
})  # fmt: skip
_SECRET_KEYS = frozenset({"data", "payload", "raw", "sign"})
_PUBLIC_ENDINGS = ("_file", "_path")  # the name of a file is no secret, and helps
_PEM = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
)
_URL_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_DEEPEST = 6


def is_secret(key: str) -> bool:
    """Whether a field of this name is dropped whatever it holds."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).lower().replace("-", "_")
    if name.endswith(_PUBLIC_ENDINGS):
        return False
    return name in _SECRET_KEYS or not _SECRET_WORDS.isdisjoint(name.split("_"))


def redact(thing: Any, depth: int = 0) -> Any:
    """`thing` without secrets: fit for a log, an event or a page."""
    if isinstance(thing, str):
        return _URL_PASSWORD.sub(rf"\1:{DROPPED}@", _PEM.sub(DROPPED, thing))
    if thing is None or isinstance(thing, bool | int | float):
        return thing
    if isinstance(thing, bytes | bytearray | memoryview):
        return f"[{len(thing)} bytes dropped]"
    if depth >= _DEEPEST:
        return "[too deep]"
    if isinstance(thing, Mapping):
        return {
            str(key): DROPPED if is_secret(str(key)) else redact(one, depth + 1)
            for key, one in thing.items()
        }
    if isinstance(thing, list | tuple | set | frozenset):
        return [redact(one, depth + 1) for one in thing]
    return redact(str(thing), depth + 1)


def _filter(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    kept: dict[str, Any] = {}
    for key, thing in event.items():
        if key in ("exc_info", "_record", "_from_structlog"):
            kept[key] = thing
        elif key != "event" and is_secret(key):
            kept[key] = DROPPED
        else:
            kept[key] = redact(thing)
    return kept


def configure(level: str = "info", form: str = "auto", stream: TextIO | None = None) -> None:
    """Send all logs to `stream` (standard error). `form`: "json", "console", "auto". Repeatable."""
    stream = stream or sys.stderr
    as_text = form == "console" or (form == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # The traceback becomes text first, without local variables, so that the filter sees it.
    last: list[Any] = [structlog.processors.format_exc_info, _filter]
    if as_text:
        last.append(structlog.dev.ConsoleRenderer(colors=stream.isatty()))
    else:
        last.append(structlog.processors.JSONRenderer(default=str))
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("chain_adapter").setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def get_logger(name: str = "") -> structlog.stdlib.BoundLogger:
    """A logger below "chain_adapter": `log = get_logger("watcher"); log.info("lost", endpoint=…)`.

    An event is named by its text, its facts are fields; nothing secret is ever handed to it, and
    what is by mistake is dropped by its name.
    """
    full = name if name.startswith("chain_adapter") else f"chain_adapter.{name}".rstrip(".")
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(full)
    return logger
