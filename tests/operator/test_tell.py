"""A depth below the platform's own: seen by reconciliation, mended by one command."""

from __future__ import annotations

from tests.operator.conftest import MakeWorld, done, sound
from tests.operator.test_disasters import credited
from tests.stories.parts import CHAIN
from tests.stories.truth import check


async def test_a_depth_that_was_too_low_is_mended(world: MakeWorld) -> None:
    w = await world(start=False)
    text = w.config_file.read_text()
    low = text.replace("platform_confirmations = 4", "platform_confirmations = 1")
    w.config_file.write_text(low)
    await w.open()
    txid, _ = await w.deposit("2")
    await w.tick(8)
    [row] = [row for row in w.deposits() if row.txid == txid]
    assert row.state == "CREDITED"  # so it believes
    assert await credited(w) == {}
    told = sum("deposit/notify" in path for path, _ in w.platform.said)
    await w.stop()
    w.config_file.write_text(text)
    await w.start()
    await w.tick(4)
    assert await credited(w) == {}
    words = ("deposits", "tell", "--chain", CHAIN, "--from", "0", "--to", "100")
    answer = await done(w.config_file, *words, "--reason", "the platform credits at 4")
    assert answer["told_again"] == 1
    await sound(w.config_file)
    await w.tick(4)
    assert await credited(w) == {txid: 1}
    assert sum("deposit/notify" in path for path, _ in w.platform.said) > told
    await done(w.config_file, *words, "--reason", "again does no harm")
    await w.tick(4)
    assert await credited(w) == {txid: 1}
    await check(w)
    await sound(w.config_file)
