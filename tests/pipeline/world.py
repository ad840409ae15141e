"""Names and questions shared by the pipeline's tests."""

from __future__ import annotations

from collections import Counter
from typing import Any

from alembic import command
from sqlalchemy import Connection, func, select

from deals.identity import decode_json
from ledger.migrating import Schema
from pipeline import schedule
from pipeline.browse import list_deals
from pipeline.store.tables import events, outbox, receipts
from pipeline.wiring import App

NAME = "planhat-eu"
TOKEN = "token-of-a-test"
CONFIG = """\
[store]
url = "{url}"
[connections.planhat-eu]
source = "planhat"
base_url = "https://api-eu.planhat.test"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
{connection}
[connections.planhat-eu.options]
page_size = 10
page_overlap = 2
requests_per_minute = 1000000
{extra}
"""


def history(app: App, source_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Every event of a deal: type, cause, state."""
    with app.store.read() as tx:
        found = select(events.c.event_type, events.c.cause, events.c.state).where(events.c.source_id == source_id)
        return [(row[0], row[1], decode_json(row[2])) for row in tx.execute(found.order_by(events.c.revision))]


def amounts(app: App, source_id: str) -> list[int | None]:
    return [state["amount_cents"] for _, _, state in history(app, source_id)]


def rows(app: App) -> dict[str, int]:
    """How many events exist, wait and are settled."""
    with app.store.read() as tx:
        return {
            table.name: tx.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (events, outbox, receipts)
        }


def ledger_states(app: App) -> dict[str, dict[str, Any]]:
    """What the ledger holds, by external id, flat as sent."""
    held = {}
    for deal in app.ledger.deals():
        state = dict(deal.state)
        held[deal.external_id] = {**state.pop("custom", {}), **state}
    return held


def waiting(app: App) -> list[str]:
    """The connections that have a backfill to be gone on with."""
    return [one.connection for one in schedule.due(app) if one.verb == "backfill"]


def projected(app: App) -> dict[str, dict[str, Any]]:
    return {deal["external_id"]: deal["state"] for deal in list_deals(app)}


def by_type(app: App) -> Counter[str]:
    with app.store.read() as tx:
        return Counter(tx.execute(select(events.c.event_type)).scalars())


def migrated_to(tx: Connection, schema: Schema, revision: str) -> None:
    """Migrate no further than to a version."""
    config = schema.config()
    config.attributes.update(connection=tx, schema=schema)
    command.upgrade(config, revision)
