"""Figures are fed by what happens; rules and dashboard speak only of figures that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chain_adapter.core.alarms import CODES
from chain_adapter.errors import PlatformUnreachable
from chain_adapter.guard import Observation
from chain_adapter.telemetry import METRICS, Metrics
from chain_adapter.telemetry.feeds import NodeFeed, counted, metered
from chain_adapter.workers.meter import Meter
from tests.stories.harness import World

MakeWorld = Callable[..., Awaitable[World]]
ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "config" / "alerts.yml"
DASHBOARD = ROOT / "config" / "dashboard.json"


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(f"chain_adapter_{name}", labels)
    return 0.0 if found is None else found


# --- feeds ----------------------------------------------------------------------------------------


def test_a_node_is_counted_by_its_number() -> None:
    metrics = Metrics()
    feed = NodeFeed(metrics, "main", ["node.example:8545", "other.example"])
    assert value(metrics, "endpoint_up", chain="main", endpoint="2") == 1
    feed(Observation("other.example", "head", "ok", 0.2))
    feed(Observation("other.example", "head", "Unavailable", 3.0))
    feed(Observation("other.example", "up", "0", 0.0))
    labels = {"chain": "main", "endpoint": "2"}
    assert value(metrics, "node_requests_total", outcome="ok", **labels) == 1
    assert value(metrics, "node_requests_total", outcome="Unavailable", **labels) == 1
    assert value(metrics, "node_seconds_sum", **labels) == 3.2
    assert value(metrics, "endpoint_up", **labels) == 0
    assert b"example" not in metrics.text()


async def test_calls_to_the_platform_are_counted_and_pass_through() -> None:
    class Platform:
        url = "there"

        async def available(self, symbol: str) -> int:
            if symbol == "X":
                raise PlatformUnreachable("no answer")
            return 7

    metrics = Metrics()
    one = metered(Platform(), metrics)
    assert await one.available("ETH") == 7
    assert one.url == "there"
    with pytest.raises(PlatformUnreachable):
        await one.available(symbol="X")
    call = "address/available"
    assert value(metrics, "platform_requests_total", call=call, outcome="ok") == 1
    failed = {"call": call, "outcome": "PlatformUnreachable"}
    assert value(metrics, "platform_requests_total", **failed) == 1
    assert value(metrics, "platform_seconds_count", call=call) == 2


async def test_rounds_of_a_loop_are_counted() -> None:
    metrics = Metrics()

    async def step() -> float:
        if value(metrics, "rounds_total", worker="payer main", outcome="ok") == 2:
            raise ValueError("no")
        return 1.5

    one = counted("payer main", step, metrics)
    assert await one() == 1.5
    await one()
    with pytest.raises(ValueError, match="no"):
        await one()
    assert value(metrics, "rounds_total", worker="payer main", outcome="failed") == 1


async def test_what_the_books_say_is_counted(world: MakeWorld) -> None:
    w = await world(chain="replace_after_s = 5")
    metrics = Metrics()
    meter = Meter(w.store, metrics, lambda: {"ref": 42})
    await meter.step()
    await w.deposit("5")
    order = await w.order("1")
    await w.until(lambda: len(w.ledger.pending()) >= 1 and w.state(order) == "CLAIMED", mine=False)
    w.ledger.stick(w.view(order).attempts[0].txid)
    await w.until(lambda: len(w.view(order).attempts) >= 2, ticks=15)
    await w.until(w.ended(order))
    w.ledger.reorg(1)
    await w.tick(12)
    await meter.step()
    await meter.step()
    assert value(metrics, "deposits_total", chain="ref", state="CONFIRMED") == 1
    assert value(metrics, "deposits_total", chain="ref", state="CREDITED") == 1
    assert value(metrics, "payouts_total", chain="ref", state="REPORTED") == 1
    assert value(metrics, "replacements_total", chain="ref") >= 1
    assert value(metrics, "pops_total", chain="ref") >= 1
    assert value(metrics, "commits_total") > 5
    assert value(metrics, "settled_height", chain="ref") == 42


async def test_a_daemon_feeds_them_all(world: MakeWorld) -> None:
    """Counters of the program's own registry move; it counts requests, blocks, rounds, commits."""
    chain = {"chain": "ref"}

    def now() -> dict[str, float]:
        node = {**chain, "endpoint": "1", "outcome": "ok"}
        ok = {"call": "withdraw/consume", "outcome": "ok"}
        return {
            "blocks": value(METRICS, "blocks_total", **chain),
            "node": value(METRICS, "node_requests_total", **node),
            "platform": value(METRICS, "platform_requests_total", **ok),
            "pages": value(METRICS, "consume_full_pages_total", symbol="REF"),
        }

    before = now()
    w = await world()
    for _ in range(20):
        await w.order("1")
    await w.tick(2)
    assert all(now()[name] > old for name, old in before.items()), (before, now())


# --- rules and dashboard --------------------------------------------------------------------------


def known(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Sample name -> its labels."""
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        metric = next(
            one for name, one in vars(METRICS).items()
            if getattr(one, "_name", None) == family.name
        )  # fmt: skip
        labels = set(metric._labelnames)
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
        for ending in endings.get(family.type, [""]):
            found[family.name + ending] = labels | ({"le"} if ending == "_bucket" else set())
    return found


NAMES = known(METRICS.registry)
OUTSIDE = {"job", "instance", "le"}


def check_query(query: str) -> None:
    """Every figure exists, and every label asked of it or grouped by is one of its labels."""
    used = set(re.findall(r"chain_adapter_\w+", query))
    assert used, query
    assert used <= set(NAMES), used - set(NAMES)
    allowed = set().union(*(NAMES[name] for name in used)) | OUTSIDE
    for name, body in re.findall(r"(chain_adapter_\w+)\{([^}]*)\}", query):
        labels = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)", body))
        assert labels <= NAMES[name] | OUTSIDE, (query, labels)
    for body in re.findall(r"(?:by|without|on|ignoring)\s*\(([^)]*)\)", query):
        assert {one.strip() for one in body.split(",") if one.strip()} <= allowed, query
    assert query.count("(") == query.count(")"), query


def rules() -> list[dict[str, Any]]:
    """The file as a list of its rules; it is written in a small part of YAML on purpose."""
    text = RULES.read_text(encoding="utf-8")
    assert "\t" not in text
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if match := re.fullmatch(r"      - alert: (\w+)", line):
            found.append({"alert": match[1]})
        elif match := re.fullmatch(r" {8,10}(expr|for|severity|summary|runbook): (.+)", line):
            found[-1][match[1]] = match[2].strip("'")
        else:
            assert re.fullmatch(
                r"groups:|  - name: [\w-]+|    rules:|        (labels|annotations):", line
            ), line
    return found


def test_rules_are_whole_and_speak_of_what_exists() -> None:
    found = rules()
    assert len({one["alert"] for one in found}) == len(found) >= 10
    for one in found:
        assert set(one) == {"alert", "expr", "for", "severity", "summary", "runbook"}, one
        assert one["severity"] in ("critical", "warning")
        assert re.fullmatch(r"\d+[smh]", one["for"])
        check_query(one["expr"])


def test_rules_lead_to_headings_that_exist() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for one in rules():
        file, _, anchor = one["runbook"].partition("#")
        assert file == "docs/operations.md"
        assert anchor in headings, one


def test_the_dashboard_speaks_of_what_exists() -> None:
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = [one for one in board["panels"] if one["type"] != "row"]
    assert len(panels) >= 12
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another"
        assert at["x"] + at["w"] <= 24
        taken |= cells
    for panel in panels:
        assert panel["title"]
        assert panel["targets"]
        for target in panel["targets"]:
            check_query(target["expr"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_every_figure_is_shown_or_watched() -> None:
    """A figure nobody looks at is either missing here or superfluous there."""
    text = RULES.read_text() + DASHBOARD.read_text()
    unseen = {
        name for name in NAMES
        if not name.endswith(("_sum", "_count")) and name not in text
    }  # fmt: skip
    assert unseen == set()


def test_there_is_a_figure_for_every_code() -> None:
    from chain_adapter.console.server import show
    from chain_adapter.console.status import Status

    metrics = Metrics()
    show(metrics, Status(), ready=True)
    for code, one in CODES.items():
        labels = {"code": code, "severity": one.severity}
        assert metrics.registry.get_sample_value("chain_adapter_alarms", labels) == 0
