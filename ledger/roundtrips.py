"""Round trips: statements that need not wait for one another travel together to PostgreSQL; SQLite has no way to go.

In a process of several threads each wait for the database may cost a turn of the interpreter as well: ten short waits
hold a commit up for longer than everything that is done in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeAlias

import psycopg
from sqlalchemy import Connection, CursorResult

Statement: TypeAlias = tuple[str, tuple[Any, ...]]
"""SQL with a `?` for each of the values."""


@contextmanager
def pipelined(connection: Connection) -> Iterator[None]:
    """A transaction in which nobody waits for what is told before the next answer, or the end. Nothing can be copied.

    What was told and failed fails the COMMIT, which it travels with. Raises what the driver or SQLAlchemy raises.
    """
    if connection.dialect.name != "postgresql":
        with connection.begin():
            yield
        return
    driver: Any = connection.connection.driver_connection
    try:
        with driver.pipeline(), connection.begin():
            yield
    except BaseException:
        with suppress(psycopg.Error):
            driver.rollback()  # a COMMIT behind a statement that failed was not run
        raise


def ask(tx: Connection, *statements: Statement) -> list[list[Any]]:
    """Run statements in their order; the rows of each, as tuples, empty for one that has none.

    Each sees what was committed before it began, as if it had been sent alone. After one that fails no other is run.
    """
    if tx.dialect.name != "postgresql":
        return [_rows(tx.exec_driver_sql(sql, values)) for sql, values in statements]
    driver: Any = tx.connection.driver_connection
    with driver.pipeline():
        asked = [driver.execute(_marked(sql), values) for sql, values in statements]
    return [cursor.fetchall() if cursor.description else [] for cursor in asked]


def tell(tx: Connection, *statements: Statement) -> None:
    """Run statements that have no rows to give."""
    driver: Any = tx.connection.driver_connection
    if tx.dialect.name == "postgresql" and driver.pgconn.pipeline_status:
        for sql, values in statements:
            driver.execute(_marked(sql), values)
    else:
        ask(tx, *statements)


def _rows(result: CursorResult[Any]) -> list[Any]:
    return [tuple(row) for row in result] if result.returns_rows else []


def _marked(sql: str) -> str:
    return sql.replace("?", "%s")
