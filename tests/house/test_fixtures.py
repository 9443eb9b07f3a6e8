"""The shared fixtures give what they promise: every other test stands on them."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import psycopg
import pytest
import sqlalchemy
from aioresponses import aioresponses

from tests.fixtures import Anvil


def test_anvil_mines(anvil: Anvil) -> None:
    anvil.mine(3)
    assert anvil.height == 3
    assert len(anvil.accounts) == 10


def test_two_nodes_at_once(start_anvil: Callable[..., Anvil]) -> None:
    one, other = start_anvil(), start_anvil("--chain-id", "77")
    assert one.url != other.url
    assert int(other.rpc("eth_chainId"), 16) == 77


def test_nodes_error_is_raised(anvil: Anvil) -> None:
    with pytest.raises(RuntimeError, match="eth_nonsense"):
        anvil.rpc("eth_nonsense")


def test_database_is_fresh(database_url: str) -> None:
    url = sqlalchemy.make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
        connection.execute(sqlalchemy.text("CREATE TABLE t (x INTEGER)"))
    engine.dispose()


def test_postgres_databases_are_apart(postgres_url: str, postgres_server: str) -> None:
    assert postgres_url != postgres_server
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT current_database()").fetchone()
        assert row is not None
        assert row[0].startswith("test_")


async def test_aioresponses_answers() -> None:
    with aioresponses() as answers:
        answers.post("http://platform.test/x", payload={"code": 0})
        async with (
            aiohttp.ClientSession() as session,
            session.post("http://platform.test/x") as response,
        ):
            assert await response.json() == {"code": 0}
