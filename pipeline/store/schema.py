"""The store's schema: its tables, its migrations, and whether a database has them all."""

from __future__ import annotations

from sqlalchemy import Engine

from ledger.engine import reading
from ledger.migrating import Schema
from pipeline.faults import StoreUnready
from pipeline.store.backfill_tables import backfills
from pipeline.store.budget_tables import budgets
from pipeline.store.operator_tables import audits
from pipeline.store.side_tables import source_sides

assert (
    backfills.metadata is budgets.metadata is audits.metadata is source_sides.metadata
)  # every module of tables has to be imported
STORE = Schema("store", "pipeline.store:migrations", "store_alembic_version", audits.metadata)


def require(engine: Engine, schema: Schema = STORE) -> None:
    """Raises `StoreUnready` unless the database has every migration of `schema`, and none from a newer version."""
    try:
        with reading(engine) as tx:
            missing = schema.missing(tx)
    except ValueError as error:
        raise StoreUnready(str(error)) from None
    if missing:
        raise StoreUnready(
            f"the {schema.name} is {len(missing)} migrations behind this version: run `dealsync migrate`"
        )
