"""Compiles the contracts of the local chain and writes chain_adapter_tron/devnet/artifacts.py.

Needs node and the npm package solc. Run it by hand after a change of contracts/Devnet.sol:
``python scripts/write_artifacts.py [directory that holds node_modules/solc]``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "chain_adapter_tron" / "devnet" / "artifacts.py"
WIDTH = 88


def compiled(modules: str) -> dict[str, str]:
    """Creation bytecode by contract name, hex. Raises `CalledProcessError` without solc."""
    command = ["node", str(HERE / "compile_contracts.mjs"), modules]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    codes: dict[str, str] = json.loads(done.stdout)
    return codes


def written(codes: dict[str, str]) -> str:
    """The module's text."""
    lines = [
        '"""Creation bytecode of contracts/Devnet.sol. Written by scripts/write_artifacts.py."""',
        "",
        "BYTECODE: dict[str, str] = {",
    ]
    for name, code in sorted(codes.items()):
        lines.append(f'    "{name}": (')
        lines += [f'        "{code[at : at + WIDTH]}"' for at in range(0, len(code), WIDTH)]
        lines.append("    ),")
    return "\n".join([*lines, "}", ""])


if __name__ == "__main__":
    TARGET.write_text(written(compiled(sys.argv[1] if len(sys.argv) > 1 else ".")))
