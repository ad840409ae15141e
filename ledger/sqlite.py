"""SQLite: how a batch is written there; one prepared statement a table, and the transaction itself is the lock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table

from ledger.rows import Deal, Domain, Source
from ledger.tables import deals, domain_events, source_events


def lock(tx: Connection, org: str) -> None:
    """Nothing to do: a writing transaction (BEGIN IMMEDIATE, see ledger.engine) is alone in the database."""


def take(tx: Connection, rows: Sequence[Source]) -> int:
    """Insert the source events whose key the org does not have yet; how many those were."""
    return _insert(tx, source_events, rows, "ON CONFLICT (org_id, dedup_key) DO NOTHING")


def record(tx: Connection, rows: Sequence[Domain]) -> None:
    """Insert domain events, whose sequence is known to be free."""
    _insert(tx, domain_events, rows, "")


def project(tx: Connection, rows: Sequence[Deal]) -> None:
    """Insert deals or overwrite them."""
    changes = ", ".join(f"{column.name} = excluded.{column.name}" for column in deals.columns if not column.primary_key)
    _insert(tx, deals, rows, f"ON CONFLICT (id) DO UPDATE SET {changes}")


def holders(tx: Connection, org: str, keys: Sequence[str]) -> dict[str, tuple[str, str, bytes]]:
    """For each of these keys the source event that holds it: its id, external id and raw body."""
    sql = (
        "SELECT dedup_key, id, external_id, raw_body FROM ledger_source_events "
        "WHERE org_id = ? AND dedup_key IN (SELECT value FROM json_each(?))"
    )
    found = tx.exec_driver_sql(sql, (org, json.dumps(list(keys))))
    return {key: (one, external_id, raw) for key, one, external_id, raw in found}


def _insert(tx: Connection, table: Table, rows: Sequence[tuple[Any, ...]], on_conflict: str) -> int:
    names = ", ".join(table.columns.keys())
    marks = ", ".join("?" * len(table.columns))
    sql = f"INSERT INTO {table.name} ({names}) VALUES ({marks}) {on_conflict}"  # noqa: S608
    return tx.exec_driver_sql(sql, list(rows)).rowcount
