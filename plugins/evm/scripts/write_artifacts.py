"""Compiles the contracts of the local chain and writes chain_adapter_evm/artifacts.py.

Needs node and the npm package solc. Run it by hand after a change of contracts/Devnet.sol:
``python scripts/write_artifacts.py [directory that holds node_modules/solc]``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "chain_adapter_evm" / "artifacts.py"
WIDTH = 92


def compiled(modules: str) -> dict[str, str]:
    """Creation bytecode by contract name, hex. Raises `CalledProcessError` without solc."""
    script = str(HERE / "compile_contracts.mjs")
    done = subprocess.run(["node", script, modules], check=True, capture_output=True, text=True)
    contracts: dict[str, str] = json.loads(done.stdout)["contracts"]
    return contracts


def main() -> None:
    """Writes the module."""
    modules = sys.argv[1] if len(sys.argv) > 1 else "."
    lines = [
        '"""Creation bytecode of contracts/Devnet.sol. Written by scripts/write_artifacts.py."""',
        "",
        "BYTECODE: dict[str, str] = {",
    ]
    for name, code in sorted(compiled(modules).items()):
        lines.append(f'    "{name}": (')
        lines += [f'        "{code[at : at + WIDTH]}"' for at in range(0, len(code), WIDTH)]
        lines.append("    ),")
    lines.append("}")
    TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
