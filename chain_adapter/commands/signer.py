"""`signer`: the process that holds the keys; started by `run` as its child, or by an operator."""

from __future__ import annotations

from argparse import Namespace

from chain_adapter import telemetry
from chain_adapter.config import load
from chain_adapter.keys.process import SignerOptions, run_signer, socket_beside
from chain_adapter.signing import kill_file, open_signer


def run(args: Namespace) -> int:
    """Serve until SIGTERM, or until the daemon that started it is gone."""
    config = load(args.config)
    telemetry.configure(config.log.level, config.log.format)
    keys = config.require_keys()
    options = SignerOptions(
        socket_path=keys.socket or socket_beside(keys.keystore),
        fd=args.fd,
        kill_file=kill_file(config),
    )
    return run_signer(lambda: open_signer(config), options)
