"""PostgreSQL: how a batch is written there; rows travel by COPY, and no statement is sent per row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.types import BigInteger, LargeBinary

from ledger.rows import Deal, Domain, Source
from ledger.tables import deals, domain_events, source_events

FEW = 20
"""Up to so many rows one plain INSERT is quicker than COPY into a temporary table."""


def lock(tx: Connection, org: str) -> None:
    """Let nobody else append to this org until the transaction ends."""
    tx.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"ledger of {org}",))


def take(tx: Connection, rows: Sequence[Source]) -> int:
    """Insert the source events whose key the org does not have yet; how many those were."""
    return _insert(tx, source_events, rows, "ON CONFLICT (org_id, dedup_key) DO NOTHING")


def record(tx: Connection, rows: Sequence[Domain]) -> None:
    """Insert domain events, whose sequence is known to be free."""
    if len(rows) <= FEW:
        _insert(tx, domain_events, rows, "")
    else:
        _copy(tx, domain_events, domain_events.name, rows)


def project(tx: Connection, rows: Sequence[Deal]) -> None:
    """Insert deals or overwrite them."""
    changes = ", ".join(f"{column.name} = excluded.{column.name}" for column in deals.columns if not column.primary_key)
    _insert(tx, deals, rows, f"ON CONFLICT (id) DO UPDATE SET {changes}")


def holders(tx: Connection, org: str, keys: Sequence[str]) -> dict[str, tuple[str, str, bytes]]:
    """For each of these keys the source event that holds it: its id, external id and raw body."""
    sql = (
        "SELECT dedup_key, id, external_id, raw_body FROM ledger_source_events "
        "WHERE org_id = %s AND dedup_key = ANY(%s)"
    )
    found = tx.exec_driver_sql(sql, (org, list(keys)))
    return {key: (one, external_id, bytes(raw)) for key, one, external_id, raw in found}


def _insert(tx: Connection, table: Table, rows: Sequence[tuple[Any, ...]], on_conflict: str) -> int:
    names = ", ".join(table.columns.keys())
    if len(rows) <= FEW:
        marks = ", ".join([f"({', '.join(['%s'] * len(table.columns))})"] * len(rows))
        flat = tuple(value for row in rows for value in row)
        return tx.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES {marks} {on_conflict}", flat).rowcount  # noqa: S608
    stage = f"stage_{table.name}"
    tx.exec_driver_sql(f"CREATE TEMP TABLE {stage} (LIKE {table.name})")
    _copy(tx, table, stage, rows)
    done = tx.exec_driver_sql(f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {stage} {on_conflict}")  # noqa: S608
    tx.exec_driver_sql(f"DROP TABLE {stage}")
    return done.rowcount


def _copy(tx: Connection, table: Table, target: str, rows: Sequence[tuple[Any, ...]]) -> None:
    driver: Any = tx.connection.driver_connection
    names = ", ".join(table.columns.keys())
    with driver.cursor() as cursor, cursor.copy(f"COPY {target} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types([_type(column.type) for column in table.columns])
        write = copy.write_row
        for row in rows:
            write(row)


def _type(kind: object) -> str:
    if isinstance(kind, LargeBinary):
        return "bytea"
    return "int8" if isinstance(kind, BigInteger) else "text"
