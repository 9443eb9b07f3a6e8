"""The day's reconciliation of the demo: the platform's export written, `reconcile` asked."""

from __future__ import annotations

import csv
import datetime
import json
from typing import Any

from chain_adapter.demo.parts import answer
from chain_adapter.demo.scenario import Scenario

COLUMNS = (
    "kind", "symbol", "txid", "address_to", "memo", "trans_id", "amount", "fee", "status",
)  # fmt: skip


async def reconcile(scenario: Scenario) -> list[dict[str, Any]]:
    """Differences that `chain-adapter reconcile` finds today; none is right."""
    export = scenario.folder / "platform.csv"
    with export.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for row in await scenario.control.get("deposits"):
            if row["credited_at"]:
                writer.writerow(
                    {
                        "kind": "deposit", "symbol": row["symbol"], "txid": row["txid"],
                        "address_to": row["address_to"], "memo": row["memo"],
                        "amount": row["credited"], "fee": "", "status": "success",
                    }
                )  # fmt: skip
        for row in await scenario.control.get("withdrawals"):
            if row["state"] == "complete":
                writer.writerow(
                    {
                        "kind": "withdrawal", "symbol": row["symbol"], "txid": row["txid"],
                        "address_to": row["address_to"], "memo": row["memo"],
                        "trans_id": row["trans_id"], "amount": row["amount"], "fee": row["fee"],
                        "status": "success",
                    }
                )  # fmt: skip
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    _, out = await answer(
        "reconcile", "--config", str(scenario.config_file), "--day", today,
        "--platform", str(export), "--json",
    )  # fmt: skip
    return list(json.loads(out)["differences"])
