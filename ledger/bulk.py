"""Bulk: many rows in one statement on both databases: COPY on PostgreSQL, one prepared statement on SQLite.

The ledger and the store write through it alike. Names of tables and columns are ours; values are always bound.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    LargeBinary,
    Table,
    Text,
    bindparam,
    select,
    text,
)
from sqlalchemy.sql.elements import ColumnElement, TextClause

Row = tuple[Any, ...]

FEW = 20
"""Up to so many rows one plain INSERT is quicker than COPY."""

_PG_TYPES = {Integer: "int4", BigInteger: "int8", Text: "text", LargeBinary: "bytea", Boolean: "bool"}


def insert(tx: Connection, table: Table, rows: Iterable[Row], columns: Sequence[str] | None = None) -> None:
    """Insert rows, given as tuples in the order of the table's columns (or of `columns`).

    Rows of an iterator are made while PostgreSQL writes those before them.
    """
    names = list(columns or table.columns.keys())
    rest = iter(rows)
    first = list(islice(rest, FEW + 1))
    if tx.dialect.name == "postgresql" and len(first) > FEW:
        _copy(tx, table, table.name, names, chain(first, rest))
    elif first:
        _insert(tx, table, names, [*first, *rest], "")


def upsert(
    tx: Connection,
    table: Table,
    rows: Sequence[Row],
    *,
    add: Sequence[str] = (),
    keep: Sequence[str] = (),
    locked: bool = False,
) -> None:
    """Insert rows or overwrite those with the same primary key; every row must be of the table's full width.

    Columns named in `add` grow by the new value, those in `keep` stay as they were. `locked` says that nobody else can
    insert such rows before this transaction ends: then those not there yet need no staging (one text column as key).
    """
    if locked and tx.dialect.name == "postgresql" and len(rows) > FEW:
        rows = _known(tx, table, rows)
    if not rows:
        return
    names = table.columns.keys()
    keys = [column.name for column in table.primary_key]
    changes = ", ".join(
        f"{name} = {table.name}.{name} + excluded.{name}" if name in add else f"{name} = excluded.{name}"
        for name in names
        if name not in keys and name not in keep
    )
    _insert(tx, table, names, rows, f"ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {changes}")


def delete(tx: Connection, table: Table, keys: Sequence[Row]) -> None:
    """Delete the rows with these primary keys."""
    _by_key(tx, table, (f"DELETE FROM {table.name}", "USING"), keys)  # noqa: S608


def change(tx: Connection, table: Table, assignments: str, values: Row, keys: Sequence[Row]) -> None:
    """Give the rows with these primary keys new values: `assignments` is SQL with a `?` for each of `values`."""
    marked = assignments.replace("?", "%s") if tx.dialect.name == "postgresql" else assignments
    _by_key(tx, table, (f"UPDATE {table.name} SET {marked}", "FROM"), keys, values)  # noqa: S608


def _by_key(tx: Connection, table: Table, verb: tuple[str, str], keys: Sequence[Row], values: Row = ()) -> None:
    if not keys:
        return
    names = [column.name for column in table.primary_key]
    if tx.dialect.name == "postgresql":
        arrays = ", ".join(f"%s::{_pg_type(table.columns[name])}[]" for name in names)
        same = " AND ".join(f"{table.name}.{name} = these.{name}" for name in names)
        sql = f"{verb[0]} {verb[1]} unnest({arrays}) AS these ({', '.join(names)}) WHERE {same}"
        tx.exec_driver_sql(sql, (*values, *(list(column) for column in zip(*keys, strict=True))))
    else:
        same = " AND ".join(f"{name} = ?" for name in names)
        tx.exec_driver_sql(f"{verb[0]} WHERE {same}", [(*values, *key) for key in keys])


def among(tx: Connection, column: Column[Any], values: Sequence[str]) -> ColumnElement[bool] | TextClause:
    """The condition "this text column is one of these values", whatever their number, as one bound parameter."""
    name = f"{column.table.name}_{column.name}"
    if tx.dialect.name == "postgresql":
        clause = text(f"{column.table.name}.{column.name} = ANY(:{name})")
        return clause.bindparams(bindparam(name, list(values)))
    clause = text(f"{column.table.name}.{column.name} IN (SELECT value FROM json_each(:{name}))")  # noqa: S608
    return clause.bindparams(bindparam(name, json.dumps(list(values))))


def by_index(tx: Connection) -> None:
    """Read page by page through the indexes for the rest of this transaction, whatever PostgreSQL knows of the tables.

    Right after a first load it knows nothing of them yet, and would sort or hash whole tables to find a page's rows.
    """
    if tx.dialect.name == "postgresql":
        tx.exec_driver_sql(BY_INDEX)


BY_INDEX = "SELECT " + ", ".join(
    f"set_config('enable_{way}', 'off', true)" for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "sort")
)
"""What `by_index` says to PostgreSQL, for who sends it along with other statements."""


def in_chunks(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Cut a stream into lists of at most `size`."""
    chunk: list[Any] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _insert(tx: Connection, table: Table, names: Sequence[str], rows: Sequence[Row], tail: str) -> None:
    head = f"INSERT INTO {table.name} ({', '.join(names)})"
    if tx.dialect.name != "postgresql":
        marks = ", ".join("?" * len(names))
        tx.exec_driver_sql(f"{head} VALUES ({marks}) {tail}", list(rows))
        return
    if len(rows) <= FEW:
        marks = ", ".join([f"({', '.join(['%s'] * len(names))})"] * len(rows))
        flat = tuple(value for row in rows for value in row)
        tx.exec_driver_sql(f"{head} VALUES {marks} {tail}", flat)
        return
    with _staged(tx, table, names, rows) as stage:
        tx.exec_driver_sql(f"{head} SELECT {', '.join(names)} FROM {stage} {tail}")  # noqa: S608


def _known(tx: Connection, table: Table, rows: Sequence[Row]) -> list[Row]:
    """Insert the rows that are not in the table yet, and give back the others."""
    [key] = table.primary_key.columns
    place = table.columns.keys().index(key.name)
    known = set(tx.execute(select(key).where(among(tx, key, [row[place] for row in rows]))).scalars())
    insert(tx, table, [row for row in rows if row[place] not in known])
    return [row for row in rows if row[place] in known]


@contextmanager
def _staged(tx: Connection, table: Table, names: Sequence[str], rows: Sequence[Row]) -> Iterator[str]:
    """The rows in a temporary table of this session, emptied afterwards."""
    stage = f"stage_{table.name}"
    tx.exec_driver_sql(f"CREATE TEMP TABLE IF NOT EXISTS {stage} (LIKE {table.name})")
    _copy(tx, table, stage, names, rows)
    yield stage
    tx.exec_driver_sql(f"TRUNCATE {stage}")


def _copy(tx: Connection, table: Table, target: str, names: Sequence[str], rows: Iterable[Row]) -> None:
    driver: Any = tx.connection.driver_connection
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {target} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.set_types([_pg_type(table.columns[name]) for name in names])
        write = copy.write_row
        for row in rows:
            write(row)


def _pg_type(column: Column[Any]) -> str:
    kind = column.type
    if isinstance(kind, BigInteger):
        return "int8"
    return _PG_TYPES[type(kind)]
