"""The command line: parses by `commands.tree`, calls the function, turns errors into a status.

0 done; 1 the answer is no; 2 wrong use or configuration; 3 something needed was unreachable.
An `AdapterError` is one line on standard error. Answers go to standard output, logs to standard
error.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from chain_adapter import __version__, telemetry
from chain_adapter.chain import ChainError, Unavailable
from chain_adapter.commands.options import GROUPS, Command
from chain_adapter.commands.output import harmless
from chain_adapter.commands.tree import COMMANDS
from chain_adapter.errors import AdapterError

PROGRAM = "chain-adapter"
USAGE, UNREACHABLE, INTERRUPTED, BROKEN_PIPE = 2, 3, 130, 141


class _Parser(argparse.ArgumentParser):
    """No abbreviations: a script that says `--reas` today must not change its meaning tomorrow."""

    def __init__(self, *args: object, **named: object) -> None:
        named.setdefault("allow_abbrev", False)
        named.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **named)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{PROGRAM}: {message}\nSee: {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """The parser of every command; `args.command` is the `Command` that was called."""
    top = _Parser(
        prog=PROGRAM,
        description="Connects blockchains to a custody platform: deposits credited once, "
        "withdrawals paid once.",
        epilog=f"example: {PROGRAM} demo",
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    groups: dict[str, argparse._SubParsersAction[_Parser]] = {}
    for one in COMMANDS:
        within = commands
        if len(one.words) == 2:
            group = one.words[0]
            if group not in groups:
                about = GROUPS[group]
                parent = commands.add_parser(
                    group, help=about, description=about[0].upper() + about[1:] + "."
                )
                groups[group] = parent.add_subparsers(metavar="COMMAND", required=True)
            within = groups[group]
        _add(within, one)
    return top


def _add(within: argparse._SubParsersAction[_Parser], one: Command) -> None:
    built = "" if one.run else " (not built yet)"
    child = within.add_parser(
        one.words[-1],
        help=one.help + built,
        description=one.help[0].upper() + one.help[1:] + f"{built}.",
        epilog=f"example: {PROGRAM} {one.example}",
    )
    for option in one.options:
        child.add_argument(*option.flags, **option.named)
    child.set_defaults(command=one)


def _function(one: Command) -> Callable[[argparse.Namespace], int]:
    module, _, name = (one.run or "").partition(":")
    found: Callable[[argparse.Namespace], int] = getattr(
        importlib.import_module(f"chain_adapter.commands.{module}"), name
    )
    return found


def execute(argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit status. Only `SystemExit` of argparse passes."""
    args = parser().parse_args(argv)
    one: Command = args.command
    if one.run is None:
        print(f"{PROGRAM}: {' '.join(one.words)} is not built yet", file=sys.stderr)
        return USAGE
    # Whatever a command logs before it has read its configuration goes to standard error too:
    # standard output is one JSON document.
    telemetry.configure()
    try:
        status = _function(one)(args)
        sys.stdout.flush()
    except AdapterError as error:
        return _fail(str(error), error.exit_status)
    except Unavailable as error:
        return _fail(str(error), UNREACHABLE)
    except ChainError as error:
        return _fail(str(error), 1)
    except BrokenPipeError:
        # The reader of our answer is gone. The interpreter would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    return status


def _fail(message: str, status: int) -> int:
    print(f"{PROGRAM}: {harmless(' '.join(message.split()))}", file=sys.stderr)
    return status


def main() -> NoReturn:
    """Entry point of the program."""
    sys.exit(execute())


if __name__ == "__main__":
    main()
