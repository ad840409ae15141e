"""Engine: how a database is connected to, on SQLite and on PostgreSQL alike; the store and the ledger share it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
from psycopg.types.array import ListBinaryDumper
from psycopg.types.string import BytesBinaryDumper
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError

_TIMEOUT_S = 30.0

_NOTICED = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000}
"""A server that is gone without a word, its machine or the network dead, is noticed within a minute, not two hours."""

_BOUND = "idle_in_transaction_session_timeout = '30s'"
_NOBODY_WAITS_LONGER = text(f"SET LOCAL {_BOUND}")


def connect(url: str) -> Engine:
    """An engine for `sqlite:///path` or `postgresql://user@host/name`; nothing is connected yet.

    Its errors and logs leave out the parameters of statements: those are records and amounts.
    Raises `ValueError` for a URL that cannot be read or another database, without repeating it.
    """
    target = _target(url)
    if target.get_backend_name() == "sqlite":
        engine = create_engine(target, connect_args={"timeout": _TIMEOUT_S}, hide_parameters=True)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    postgres = target.set(drivername="postgresql+psycopg")
    noticed = {name: value for name, value in _NOTICED.items() if name not in target.query}
    engine = create_engine(postgres, connect_args=noticed, pool_pre_ping=True, pool_recycle=1800, hide_parameters=True)
    event.listen(engine, "connect", _prepare_postgresql)
    event.listen(engine, "begin", _begin_postgresql)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: on SQLite it does not wait for a writer."""
    with engine.connect().execution_options(reads_only=True) as tx, tx.begin():
        yield tx


def kept(engine: Engine) -> Connection:
    """A connection for one writing transaction after another: what bounds each of them is said once.

    It is its holder's, who ends with `drop` and never gives it back: the pool's connections are not bound so.
    """
    connection = engine.connect().execution_options(bound=True)
    if connection.dialect.name == "postgresql":
        with connection.begin():
            connection.execute(text(f"SET {_BOUND}"))
    return connection


def drop(connection: Connection) -> None:
    """Close a connection for good, whatever state it is in."""
    with suppress(Exception):
        connection.invalidate()
        connection.close()


def _target(url: str) -> URL:
    try:
        target = make_url(url)
    except ArgumentError:
        raise ValueError("the database URL cannot be read: percent-encode special characters in it") from None
    if target.get_backend_name() not in ("sqlite", "postgresql"):
        raise ValueError(f"the database {target.get_backend_name()!r} is not supported: use sqlite or postgresql")
    return target


def _prepare_postgresql(connection: Any, _: object) -> None:
    """Send arrays and bytes in binary: as text an array costs eight times as much, here and on the server."""
    connection.adapters.register_dumper(list, ListBinaryDumper)
    connection.adapters.register_dumper(None, BytesBinaryDumper)  # COPY looks dumpers up by the column's type


def _begin_postgresql(connection: Connection) -> None:
    """A writer that is stopped half way, a lease's row or a deal's locked, is cut off: what it wrote is rolled back.

    One that has died needs none of this, its socket is closed. Readers lock nothing, and may take their time.
    """
    options = connection.get_execution_options()
    if not options.get("reads_only", False) and not options.get("bound", False):
        connection.execute(_NOBODY_WAITS_LONGER)


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say, see _begin_sqlite
    _write_ahead(connection)
    for pragma in (
        "synchronous = FULL",
        "foreign_keys = ON",
        "recursive_triggers = ON",  # a row that REPLACE pushes out counts as deleted: append-only tables refuse it
        "wal_autocheckpoint = 10000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:
    """Switch a new file to WAL: of several who do that at once, SQLite fails some without waiting for the others."""
    ends = time.monotonic() + _TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > ends:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once: upgrading a read later may fail half way, whatever the timeout."""
    reads_only = connection.get_execution_options().get("reads_only", False)
    connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")


def first_line(error: DBAPIError | psycopg.Error) -> str:
    """What the database said, in a line, without statement or values."""
    said = error.orig if isinstance(error, DBAPIError) else error
    return next(iter(str(said).strip().splitlines()), type(said).__name__)
