"""Requests per changed deal: what each source's ways cost, beside the least that could do; counted, not timed."""

from __future__ import annotations

import json
import math
import tempfile
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from connectors.simulation import SimClock
from pipeline.demo import UNHURRIED
from pipeline.heed import heed
from pipeline.observe import configure
from pipeline.pull import pull
from pipeline.sandbox import Sandbox
from pipeline.settings import load
from pipeline.store import connections
from pipeline.store.tables import hints
from pipeline.sweep import sweep
from pipeline.wiring import App, open_app

DEALS = 2_000
CHANGED = 20


def counted() -> dict[str, float]:
    """For every source: a pull of a few changes, the same told by webhook, an idle pull, and a sweep."""
    found: dict[str, float] = {}
    crms = Sandbox(deals=DEALS, clock=lambda: SimClock(datetime.now(UTC) - timedelta(days=2)))
    with tempfile.TemporaryDirectory(prefix="dealsync-bench-") as folder:
        file = Path(folder) / "dealsync.toml"
        # Asked in process, each tenant is a host of its own instead of a path in the sandbox.
        config = crms.configuration("https://crm", **UNHURRIED).replace("https://crm/", "https://")
        file.write_text(f'[store]\nurl = "sqlite:///requests.db"\n{config}')
        transports = {name: tenant.transport() for name, tenant in crms.tenants.items()}  # type: ignore[attr-defined]
        with open_app(load(file, crms.environment()), transports=transports) as app:
            for name, tenant in crms.tenants.items():
                found |= _of(app, name, tenant)
    return found


def _of(app: App, name: str, tenant: Any) -> dict[str, float]:
    pull(app, name)
    tenant.clock.advance(3600)
    pull(app, name)
    idle = _counted(tenant, lambda: pull(app, name))
    page = app.settings.connection(name).options.page_size
    _change(tenant, Decimal(1111))
    pulled = _counted(tenant, lambda: pull(app, name))
    tenant.clock.advance(3600)
    _hint(app, name, _change(tenant, Decimal(2222)))
    told = _counted(tenant, lambda: heed(app, name))
    swept = _counted(tenant, lambda: sweep(app, name))
    least = math.ceil(CHANGED / page) / CHANGED
    pages = math.ceil(DEALS / page)
    title = f"{name}: requests"
    return {
        f"{title} of a pull in which nothing changed (least: 1)": idle,
        f"{title} per changed deal, pulled {CHANGED} of {DEALS:,} (least: {least:g})": pulled / CHANGED,
        f"{title} per changed deal, told by webhook (least: 1)": told / CHANGED,
        f"{title} of a sweep of {DEALS:,} deals (least: {pages})": swept,
    }


def _change(tenant: Any, amount: Decimal) -> list[str]:
    changed = tenant.ids()[: CHANGED * 50 : 50]
    for deal_id in changed:
        tenant.set_amount(deal_id, amount)
    return list(changed)


def _hint(app: App, name: str, ids: list[str]) -> None:
    """As if one delivery for each had been received: what is counted is what they make us ask for."""
    at = app.store.now()
    with app.store.write() as tx:
        row = connections.find(tx, name)
        assert row is not None
        values = {"connection_id": row.id, "version": None, "deleted": False, "attempts": 0, "behind_since": None}
        rows = [{**values, "source_id": one, "number": 1, "hinted_at": at, "due_at": at} for one in ids]
        tx.execute(insert(hints), rows)


def _counted(tenant: Any, verb: Any) -> int:
    before = len(tenant.log)
    verb()
    return len(tenant.log) - before


def main() -> None:
    """`python -m benchmarks.requests`: one JSON line."""
    configure("json", "critical")
    print(json.dumps(counted()))


if __name__ == "__main__":
    main()
