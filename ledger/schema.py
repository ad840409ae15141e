"""Schema: the ledger's tables and migrations, counted apart because they often lie in the store's database."""

from __future__ import annotations

from sqlalchemy import Engine

from ledger.engine import reading
from ledger.migrating import Schema
from ledger.tables import VERSION_TABLE, metadata

LEDGER = Schema("ledger", "ledger:migrations", VERSION_TABLE, metadata)


def migrate(engine: Engine) -> list[str]:
    """Bring the ledger's tables to this version of the code; one line for each migration applied."""
    return LEDGER.migrate(engine)


def ready(engine: Engine) -> bool:
    """Whether the ledger's tables are those of this version. Raises `ValueError` when they are of a newer one."""
    with reading(engine) as tx:
        return not LEDGER.missing(tx)
