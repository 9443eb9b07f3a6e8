"""`keys rotate-wapi`: another RSA key towards the platform, without a moment of doubt.

first call: a new pair beside the old one, its public half to be handed to the platform ->
`--switch`: a signed and encrypted question with the new key must be answered -> operators approve,
where a policy names them -> the files change places at once; the old one is kept under its name.
"""

from __future__ import annotations

import asyncio
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from chain_adapter.assembly import read_key, signer_chains
from chain_adapter.clock import SystemClock
from chain_adapter.commands.books import opened, operator
from chain_adapter.commands.output import harmless, print_json
from chain_adapter.commands.signatures import Wanted, at_signer, show, signed
from chain_adapter.config import Config, load
from chain_adapter.errors import (
    AdapterError,
    ConfigError,
    KeyFileError,
    SigningWaits,
    StateConflict,
)
from chain_adapter.keys.approvals import Claim, content_of
from chain_adapter.keys.policy import parse_policy
from chain_adapter.keys.secret_files import read_secret, sync_directory, write_private
from chain_adapter.keys.signer import scope_of
from chain_adapter.platform_api.client import LocalSealer, PlatformClient
from chain_adapter.platform_api.envelope import (
    Envelope,
    fingerprint,
    generate_pair,
    load_private_key,
    load_public_key,
    self_test,
)
from chain_adapter.platform_api.transport import open_session
from chain_adapter.store.events import LEDGER, record


def _staged(config: Config) -> tuple[Path, Path]:
    """Where the new private and public key wait."""
    current = config.require_platform().private_key_file
    return current.with_name(f"{current.name}.next"), current.with_name(f"{current.name}.next.pub")


def rotate_wapi(args: Namespace) -> int:
    config = load(args.config)
    private, public = _staged(config)
    if not private.exists():
        if args.switch:
            raise ConfigError(f"there is no new key {private}: without --switch one is made")
        return _stage(args, config, private, public)
    if not args.switch:
        return _tell(args, private, public, "a new key waits already")
    return _switch(args, config, private, public)


def _stage(args: Namespace, config: Config, private: Path, public: Path) -> int:
    made_private, made_public = generate_pair()
    # The public half first: it can be made again from the private one, which begins the rotation.
    write_private(public, made_public, overwrite=True)
    write_private(private, made_private, overwrite=False)
    print_to = fingerprint(load_public_key(made_public))
    who = operator()
    with opened(config) as store:
        store.write_now(
            lambda tx: record(
                tx, LEDGER, "wapi key staged", "wapi", fingerprint=print_to, who=who,
                reason=args.reason,
            )
        )  # fmt: skip
    return _tell(args, private, public, "made")


def _tell(args: Namespace, private: Path, public: Path, done: str) -> int:
    key = load_private_key(read_secret(private, "new platform key"))
    text = public.read_text("ascii")
    if args.json:
        print_json(
            {"done": done, "fingerprint": fingerprint(key), "public_key": text,
             "private_key_file": str(private)}
        )  # fmt: skip
        return 0
    print(text, end="")
    for line in (
        f"{done}: {private}, fingerprint {fingerprint(key)}",
        "Give the public key above to the platform. Once it says that it uses it:",
        "  chain-adapter keys rotate-wapi --switch …",
    ):
        print(harmless(line), file=sys.stderr)
    return 0


def _switch(args: Namespace, config: Config, private: Path, public: Path) -> int:
    platform = config.require_platform()
    new = load_private_key(read_secret(private, "new platform key"))
    current = platform.private_key_file
    old = load_private_key(read_key(current, "platform.private_key_file"))
    names = (fingerprint(old), fingerprint(new))
    self_test(new)
    asyncio.run(_try(config, new))
    wanted = Wanted(
        Claim("rotate", "wapi key", content_of("rotate-wapi", *names)),
        (f"the key towards the platform changes from {names[0]} to {names[1]}",),
    )
    needed, approved = asyncio.run(_approved(config, signed(args.signature or (), wanted.claim)))
    if len(approved) < needed:
        if not args.signature:
            return show(args, config, wanted)
        raise SigningWaits(
            f"rotate waits for {needed} operators to approve, {len(approved)} did "
            f"({', '.join(approved)}): give all their signatures at once",
            "approval",
        )
    kept = current.with_name(f"{current.name}.old-{names[0][:16]}")
    try:
        if not kept.exists():
            kept.hardlink_to(current)
        private.replace(current)
        public.unlink(missing_ok=True)
        sync_directory(current.parent)
    except OSError as error:
        raise KeyFileError(f"{current} could not be exchanged: {error.strerror}") from None
    who = operator()
    with opened(config) as store:
        store.write_now(
            lambda tx: record(
                tx, LEDGER, "wapi key switched", "wapi", was=names[0], now=names[1],
                operators=approved, who=who, reason=args.reason,
            )
        )  # fmt: skip
    done = "switched: restart daemon and signer, which hold the old key until then"
    if args.json:
        print_json(
            {"done": done, "was": names[0], "fingerprint": names[1], "old_key": str(kept),
             "approved_by": approved}
        )  # fmt: skip
    else:
        print(harmless(f"{done}; the old one is {kept}"))
    return 0


async def _try(config: Config, new: rsa.RSAPrivateKey) -> None:
    """A question that only the platform with the new key in place can answer."""
    platform = config.require_platform()
    theirs = load_public_key(read_key(platform.platform_key_file, "platform.platform_key_file"))
    clock = SystemClock()
    ca_file = str(platform.ca_file or "") or None
    async with open_session(platform.tls_pins, ca_file=ca_file) as session:
        client = PlatformClient(
            session,
            platform.url,
            platform.app_id,
            LocalSealer(Envelope(new, theirs)),
            lambda: clock.now().timestamp(),
            platform.timeout_s,
        )
        for chain in config.require_chains().values():
            try:
                await client.available(chain.native.symbol)
            except AdapterError as error:
                raise StateConflict(
                    f"the platform does not answer to the new key yet ({error}): nothing changed"
                ) from None
            return


async def _approved(config: Config, documents: Sequence[str]) -> tuple[int, list[str]]:
    """(how many operators must approve, who did): verified by the signer, which keeps it."""
    async with at_signer(config) as signer:
        text = (await signer.status()).policy_text
        if text is None:
            return 0, []
        policy = parse_policy(text, scope_of(signer_chains(config)))
        names = {await signer.approve(one) for one in documents}
    return policy.quorums.rotate, sorted(names)
