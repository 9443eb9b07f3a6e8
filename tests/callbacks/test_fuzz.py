"""A part of the fuzz in every run; the whole of it: `python -m tests.callbacks.fuzz`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.callbacks import fuzz


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_unsigned_is_handed_on(seed: int, tmp_path: Path) -> None:
    done = await fuzz.run(4_000, seed, tmp_path / "fuzz.db")
    assert sum(done.refused.values()) > 3_500
    assert len(done.refused) > 5  # refused for many reasons


async def test_the_fuzz_can_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that drops what does not open lets parts of messages through: it is caught."""
    monkeypatch.setattr(fuzz.Fuzz, "_book", lambda self, event, db: None)
    with pytest.raises(AssertionError):
        await fuzz.run(10, 1, tmp_path / "fuzz.db")
