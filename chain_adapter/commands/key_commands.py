"""The commands about keys, policy, approvals and the treasury."""

from __future__ import annotations

from pathlib import Path

from chain_adapter.commands.options import (
    ACT,
    CONFIG,
    ID,
    JSON,
    ONE_CHAIN,
    Command,
    option,
    whole,
)

SIGNATURE = option("--signature", type=Path, metavar="FILE", action="append",
                   help="an operator's signature (FILE.sig of ssh-keygen, its text beside it); "
                   "may be given again; without it the text to sign is printed")  # fmt: skip
HOURS = option("--hours", type=whole(1), metavar="N", default=24,
               help="how long an approval counts (default 24)")  # fmt: skip
SIGNED = (*ACT, SIGNATURE, HOURS)
POLICY_FILE = option("file", type=Path, metavar="FILE", help="the policy (TOML)")
FOLDER = option("folder", type=Path, metavar="DIR", help="the folder of the backup")

KEYS: tuple[Command, ...] = (
    Command(
        ("keys", "init"),
        "make the keystore and the ledger; print the hot address of every chain",
        "keys init --config adapter.toml",
        (
            CONFIG,
            option("--yes", action="store_true", help="ask nothing, do not show the mnemonic"),
            option("--mnemonic-file", type=Path, metavar="F", help="from the mnemonic in F"),
            option(
                "--entropy-file",
                type=Path,
                metavar="F",
                help="mix what is in F (throws of dice) with the system's own randomness",
            ),
            JSON,
        ),
        "keys:init",
    ),
    Command(
        ("keys", "import"),
        "make the keystore from a mnemonic that exists already",
        "keys import words --config adapter.toml",
        (option("file", type=Path, metavar="FILE", help="the mnemonic, mode 0600"), CONFIG, JSON),
        "keys_more:import_seed",
    ),
    Command(
        ("keys", "addresses"),
        "addresses from the account public keys, without a passphrase",
        "keys addresses --config adapter.toml --count 10",
        (
            CONFIG,
            ONE_CHAIN,
            option(
                "--from",
                dest="start",
                type=whole(0),
                metavar="N",
                default=0,
                help="first deposit index (default 0)",
            ),
            option(
                "--count",
                type=whole(0),
                metavar="N",
                default=5,
                help="how many deposit addresses (default 5)",
            ),
            option(
                "--export",
                type=whole(1),
                metavar="N",
                help="on the signer: make public keys below index N known, where the chain's "
                "scheme derives none without the seed",
            ),
            JSON,
        ),
        "keys_more:show_addresses",
    ),
    Command(
        ("keys", "backup"),
        "copy keystore, public keys, the signer's journal and evidence into a new folder",
        "keys backup /mnt/stick/2026-01-31 --config adapter.toml",
        (FOLDER, CONFIG, JSON),
        "keys_more:backup",
    ),
    Command(
        ("keys", "restore-check"),
        "open a backup and see that everything in it belongs together",
        "keys restore-check /mnt/stick/2026-01-31 --config adapter.toml",
        (
            FOLDER,
            CONFIG,
            option(
                "--passphrase-file",
                type=Path,
                metavar="F",
                help="default: that of the configuration",
            ),
            option(
                "--mnemonic-file",
                type=Path,
                metavar="F",
                help="see too that these words stand for its seed",
            ),
            JSON,
        ),
        "keys_more:restore_check",
    ),
    Command(
        ("keys", "rotate-wapi"),
        "another RSA key towards the platform: made, handed over, tried, switched",
        'keys rotate-wapi --config adapter.toml --reason "yearly"',
        (
            option("--switch", action="store_true", help="try the new key and put it in place"),
            *SIGNED,
        ),
        "rotation:rotate_wapi",
    ),
    Command(
        ("keys", "ceremony"),
        "print the script of a key ceremony for two custodians",
        "keys ceremony --config adapter.toml",
        (CONFIG, JSON),
        "keys_more:ceremony",
    ),
    Command(
        ("policy", "show"),
        "the policy that the signer has in force",
        "policy show --config adapter.toml",
        (CONFIG, JSON),
        "policy:policy_show",
    ),
    Command(
        ("policy", "check"),
        "whether a file is a policy for this configuration, and what it allows",
        "policy check policy.toml --config adapter.toml",
        (POLICY_FILE, CONFIG, JSON),
        "policy:policy_check",
    ),
    Command(
        ("policy", "propose"),
        "hand a policy to the signer; prints what operators sign for it",
        'policy propose policy.toml --config adapter.toml --reason "higher limits"',
        (POLICY_FILE, *ACT, HOURS),
        "policy:policy_propose",
    ),
    Command(
        ("policy", "approve"),
        "give operators' signatures for a policy; with enough of them it is in force",
        'policy approve policy.toml --config adapter.toml --reason "seen" --signature text.sig',
        (POLICY_FILE, *SIGNED),
        "policy:policy_approve",
    ),
    Command(
        ("kill",),
        "sign nothing from now on; reading and reporting go on",
        'kill --config adapter.toml --reason "break-in"',
        ACT,
        "killing:kill",
    ),
    Command(
        ("resume",),
        "sign again after a kill; with a policy, when operators have signed for it",
        'resume --config adapter.toml --reason "found and mended"',
        SIGNED,
        "killing:resume",
    ),
    Command(
        ("treasury", "plan"),
        "what collecting would do now, cost beside worth; the hot wallet between its marks",
        "treasury plan --config adapter.toml",
        (CONFIG, ONE_CHAIN, JSON),
        "treasury:plan",
    ),
)

APPROVALS: tuple[Command, ...] = (
    Command(
        ("payouts", "approve"),
        "an operator's signed approval of what the policy does not let go by itself",
        'payouts approve 12 --config adapter.toml --reason "seen" --signature text.sig',
        (ID, *SIGNED),
        "approving:payout_approve",
    ),
    Command(
        ("payouts", "settle"),
        "end it by hand with the platform: two people, evidence",
        'payouts settle 12 --config adapter.toml --evidence mail.txt --reason "paid by hand"',
        (
            ID,
            option("--evidence", type=Path, metavar="FILE", help="kept beside the keystore"),
            option(
                "--operator",
                metavar="NAME",
                help="who this is, where no policy names operators (default: the login)",
            ),
            *SIGNED,
        ),
        "approving:payout_settle",
    ),
    Command(
        ("deposits", "approve"),
        "an operator's signed approval of a credit above the policy's limits",
        'deposits approve 7 --config adapter.toml --reason "seen" --signature text.sig',
        (ID, *SIGNED),
        "approving:deposit_approve",
    ),
    Command(
        ("events", "verify"),
        "the hash chains of the books' events and of the signer's signed log",
        "events verify --config adapter.toml",
        (
            CONFIG,
            option("--books", action="store_true", help="the books only: no signer is asked"),
            JSON,
        ),
        "chain_of_events:verify",
    ),
)
