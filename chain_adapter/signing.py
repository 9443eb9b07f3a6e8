"""The signer as the configuration wants it: in a child process, behind a socket, or embedded.

Configuration -> policy, chains, RSA keys -> `LocalSigner` (in the signer's process), or a
connection to one. The daemon gets a `Held`: the signer, who seals its messages, how to let go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from chain_adapter.assembly import envelope, signer_chains
from chain_adapter.config import Config, Profile
from chain_adapter.errors import ConfigError, KeyFileError
from chain_adapter.keys.process import child_argv, end_child, start_child
from chain_adapter.keys.remote import RemoteSigner
from chain_adapter.keys.secret_files import check_private, read_passphrase
from chain_adapter.keys.signer import LocalSigner, Signer
from chain_adapter.platform_api.envelope import Sealer

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A signer in use. `end` lets it go and ends a child."""

    signer: Signer
    sealer: Sealer
    end: Callable[[], Awaitable[None]]


def policy_text(config: Config) -> str | None:
    """The policy file, or None where there may be none: a platform on loopback.

    Raises `ConfigError` when one is needed and missing.
    """
    if config.policy is None:
        if config.require_platform().on_loopback:
            return None
        raise ConfigError(
            "policy: a platform that is not on this machine needs a policy file, which says what "
            "may be paid and credited; see docs/security.md"
        )
    try:
        return config.policy.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"policy: {config.policy} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"policy: {config.policy} is no UTF-8 text") from None


def kill_file(config: Config) -> Path:
    """While this file exists, nothing is signed."""
    keystore = config.require_keys().keystore
    return keystore.with_name(f"{keystore.stem}.kill")


def open_signer(config: Config) -> LocalSigner:
    """Keystore, journal and policy in this process. Blocks for the key stretching."""
    keys = config.require_keys()
    policy = policy_text(config)
    sealed = envelope(config.require_platform())
    return LocalSigner.open(
        keys.keystore,
        passphrase_of(config),
        signer_chains(config),
        sealed.verify,
        trusting=policy is None,
        policy=policy,
        kill_file=kill_file(config),
        envelope=sealed,
    )


async def hold_signer(config: Config) -> Held:
    """The signer that the daemon uses.

    Raises `KeyFileError`, `ConfigError`, `AlreadyRunning`, `Unreachable`.
    """
    keys = config.require_keys()
    policy_text(config)  # says what is missing before anything is started
    if keys.socket is not None:
        remote = RemoteSigner.at(keys.socket)
        await remote.ready()
        return Held(remote, remote, remote.aclose)
    if keys.signer == "embedded":
        local = await asyncio.to_thread(open_signer, config)
        # Its controls seal, not a bare sealer: the policy's limits on credits stand there.
        return Held(local, local.controls, local.aclose)
    if config.file is None:
        raise ConfigError("a signer of its own process needs a configuration file")
    child, process = await start_child(child_argv(config.file))

    async def end() -> None:
        await end_child(child, process)

    return Held(child, child, end)


def passphrase_of(config: Config) -> str:
    """The keystore's passphrase. In production a file that every user can read is refused;
    on a developer's machine it is only remarked. Raises `KeyFileError`."""
    path = config.require_keys().passphrase_file
    strict = config.profile is Profile.PRODUCTION
    if not strict:
        try:
            check_private(path, "passphrase")
        except KeyFileError as error:
            if not path.is_file():
                raise
            log.warning("readable_by_all", note=f"{error}; refused in profile production")
    return read_passphrase(path, private=strict)
