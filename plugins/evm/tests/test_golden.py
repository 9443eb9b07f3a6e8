"""Golden blocks: answers of nodes kept as they came, and what must be read out of them for ever.

Each file in golden/ holds settings, assets, what is watched, the answers by method and parameters,
and the expected transfers and sent transactions. `anvil.json` was recorded; the others state facts
of main networks in the smallest block that shows them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chain_adapter.chain import Asset, BlockRef, Proof, Watch
from plugins.evm.tests.parts import Opener, Relay, key_of, read

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))


def told(block: Any) -> dict[str, Any]:
    """What a golden file says of a block."""
    return {
        "height": block.ref.height,
        "internal": block.internal,
        "transfers": sorted(
            [t.txid, t.place, t.asset, t.to, str(t.amount), t.sender, t.proof]
            for t in block.transfers
        ),
        "sent": [
            [s.txid, *s.locks, s.ok, [[p.asset, p.to, str(p.amount)] for p in s.moved], str(s.fee)]
            for s in block.sent
        ],
    }


@pytest.mark.parametrize("path", GOLDEN, ids=[path.stem for path in GOLDEN])
async def test_golden_blocks(path: Path, canned: Relay, opener: Opener) -> None:
    golden = json.loads(path.read_text())
    answers = {json.dumps(one["ask"]): one["answer"] for one in golden["answers"]}
    missing = {"error": {"code": -32601, "message": "Method not found"}}

    async def answer(method: str, params: list[Any]) -> dict[str, Any]:
        return answers.get(json.dumps([method, params]), missing)  # type: ignore[no-any-return]

    canned.answer = answer
    assets = {
        name: Asset(name, one["contract"], one["decimals"], Proof(one["proof"]))
        for name, one in golden["assets"].items()
    }
    watch = Watch(
        frozenset(key_of(address) for address in golden["watch"]["to"]),
        frozenset(golden["watch"]["senders"]),
    )
    for method, expected in golden["expected"].items():
        settings = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in golden["settings"].items()
        }
        chain = opener(canned.url, assets, **settings)
        after = BlockRef(golden["after"]["height"], golden["after"]["hash"])
        blocks = await read(chain, watch, after=after, last=golden["last"], method=method)
        assert [told(block) for block in blocks] == expected, method


def test_there_are_golden_blocks() -> None:
    assert len(GOLDEN) >= 6
