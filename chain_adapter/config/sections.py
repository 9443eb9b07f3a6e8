# ruff: noqa: RUF009 - `setting` returns a dataclass field
"""The sections that stand once in the file: database, platform, keys, console, log.

One frozen record a table; `settings.setting` puts kind, meaning and default beside each field.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from chain_adapter.config.kinds import (
    DATABASE_URL,
    DURATION_OR_NEVER,
    LISTEN,
    ON_OFF,
    PATH,
    TEXT,
    TEXTS,
    WEB_URL,
    Listen,
    choice,
    integer,
    is_loopback,
    seconds,
)
from chain_adapter.config.settings import setting
from chain_adapter.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseConfig:
    """`[database]`: where the books are kept."""

    url: str = setting(
        DATABASE_URL,
        "The database. SQLite: three slashes before a path that is relative to this file, four "
        "before an absolute one. PostgreSQL: `postgresql://user@host:5432/name`.",
        needed=True,
        example='"sqlite:///state/adapter.db"',
        quiet=True,
    )
    password_file: Path | None = setting(
        PATH,
        "File with the PostgreSQL password, so that it need not stand in `url`.",
        default=None,
        example='"state/database_password"',
    )

    @property
    def sqlite_file(self) -> Path | None:
        """The SQLite file; None for PostgreSQL."""
        prefix = "sqlite:///"
        return Path(self.url.removeprefix(prefix)) if self.url.startswith(prefix) else None

    def connect_url(self) -> str:
        """The URL to connect by, with the password out of its file. Raises `ConfigError`."""
        if self.password_file is None or self.sqlite_file is not None:
            return self.url
        try:
            lines = self.password_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise ConfigError(f"database.password_file: {self.password_file}: {why}") from None
        parts = urlsplit(self.url)
        user, _, host = parts.netloc.rpartition("@")
        if not user or not lines or not lines[0]:
            raise ConfigError(
                "database.password_file: the URL needs user@host, and the file a first line"
            )
        login = f"{user.partition(':')[0]}:{quote(lines[0], safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{host}"))

    @property
    def shown_url(self) -> str:
        """The URL without a password: fit for logs and errors."""
        parts = urlsplit(self.url)
        if "@" not in parts.netloc:
            return self.url
        user, _, host = parts.netloc.rpartition("@")
        return f"{parts.scheme}://{user.partition(':')[0]}@{host}{parts.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformConfig:
    """`[platform]`: the platform whose users deposit and withdraw, and our keys towards it."""

    url: str = setting(
        WEB_URL,
        "Where the platform answers; the calls are below `/api/v1/`.",
        needed=True,
        example='"http://127.0.0.1:9100"',
    )
    app_id: str = setting(
        TEXT, "The id under which the platform knows us.", needed=True, example='"your app_id"'
    )
    private_key_file: Path = setting(
        PATH,
        "Our RSA private key (PEM, or bare Base64 DER): it signs what we say and opens what we "
        "are told.",
        needed=True,
        example='"party_a_private.pem"',
    )
    platform_key_file: Path = setting(
        PATH,
        "The platform's RSA public key (PEM, or bare Base64 DER).",
        needed=True,
        example='"platform_public.pem"',
    )
    platform_confirmations: int | None = setting(
        integer(1, 10**6),
        "The depth at which the platform credits a deposit and completes a withdrawal. Below its "
        "own depth deposits would be lost silently, so there is no default; it may stand under a "
        "chain or an asset too. Only a platform on loopback may leave it out: then it is the "
        "chain's own depth.",
        default=None,
        shown="none; on loopback: the chain's `confirmations`",
        example="12",
    )
    timeout_s: float = setting(seconds(), "How long one call may take.", default=30.0, shown="30")
    poll_interval_s: float = setting(
        seconds(), "Pause between two questions for withdrawals, per symbol.", default=1.0,
        shown="1",
    )  # fmt: skip
    internal_notify: bool = setting(
        ON_OFF,
        "Whether sweeps, top-ups, cold transfers and voids are told to the platform; `off` keeps "
        "them in our own ledger alone.",
        default=True,
        shown='"on"',
    )
    ca_file: Path | None = setting(
        PATH,
        "PEM file with the certificate authorities to believe instead of the system's.",
        default=None,
        shown="the system's",
        example='"platform_ca.pem"',
    )
    tls_pins: tuple[str, ...] = setting(
        TEXTS,
        "Base64 SHA-256 hashes of public keys (SubjectPublicKeyInfo), one of which the platform's "
        "certificate must have.",
        default=(),
        shown="[]",
    )

    @property
    def on_loopback(self) -> bool:
        return is_loopback(self.url)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeysConfig:
    """`[keys]`: the keystore with the seed that all our chain keys come from."""

    keystore: Path = setting(
        PATH,
        "The encrypted keystore, made by `keys init`. Its public half and the signer's journal "
        "stand beside it; keep this directory on another disk than the database.",
        needed=True,
        example='"state/keystore.json"',
    )
    passphrase_file: Path = setting(
        PATH,
        "File with the passphrase of the keystore; its first line, readable by its owner alone.",
        needed=True,
        example='"state/passphrase"',
    )
    signer: str = setting(
        choice("embedded", "process"),
        "Where signing happens: in a process of its own that the daemon starts, or embedded in it "
        "(tests).",
        default="process",
        shown='"process"',
    )
    socket: Path | None = setting(
        PATH,
        "Unix socket of a signer process that was started by other means.",
        default=None,
        example='"/run/chain-adapter/signer.sock"',
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleConfig:
    """`[console]`: health, metrics and the operator's page."""

    listen: Listen = setting(
        LISTEN,
        "Address of `/health/live`, `/health/ready`, `/metrics` and the page; port 0 picks one. "
        "The page has no log-in: keep it on loopback or behind something that has one.",
        default=Listen("127.0.0.1", 9200),
        shown='"127.0.0.1:9200"',
    )
    unsent_limit_s: float = setting(
        seconds(),
        "`/health/ready` answers 503 when a message to the platform has waited this long.",
        default=300.0,
        shown="300",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmsConfig:
    """`[alarms]`: who is told when something is wrong, and how somebody notices our silence."""

    webhook: str | None = setting(
        WEB_URL,
        "Alarms that open, last and close are posted there as JSON; a redirect is not followed.",
        default=None,
        example='"https://alerts.example/chain-adapter"',
    )
    webhook_file: Path | None = setting(
        PATH,
        "File whose first line is that URL, where the URL itself is a secret; goes before "
        "`webhook`.",
        default=None,
        example='"webhook_url"',
    )
    group_s: float = setting(
        seconds(above=False),
        "After a message the next one waits so long: what comes meanwhile goes together.",
        default=10.0,
        shown="10",
    )
    remind_s: float | None = setting(
        DURATION_OR_NEVER,
        "A critical alarm that nobody acknowledged is told again after so long.",
        default=14400.0,
        shown='"4h"',
        key="remind",
    )
    heartbeat: str | None = setting(
        WEB_URL,
        "Fetched while `/health/ready` would say ready: whoever listens there calls you when it "
        "stops.",
        default=None,
        example='"https://heartbeats.example/chain-adapter"',
    )
    heartbeat_file: Path | None = setting(
        PATH,
        "File whose first line is that URL; goes before `heartbeat`.",
        default=None,
        example='"heartbeat_url"',
    )
    heartbeat_s: float = setting(
        seconds(), "Pause between two heartbeats.", default=60.0, shown="60"
    )
    timeout_s: float = setting(
        seconds(), "How long either may take to answer.", default=10.0, shown="10"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """`[log]`: what goes to standard error."""

    level: str = setting(
        choice("debug", "info", "warning", "error"),
        "The least severe level that is written. No level writes secrets.",
        default="info",
        shown='"info"',
    )
    format: str = setting(
        choice("auto", "json", "console"),
        "One JSON object a line, or text for people; `auto` is text on a terminal.",
        default="auto",
        shown='"auto"',
    )
