"""Round trips: statements that need not wait for one another travel together to PostgreSQL; SQLite has no way to go.

In a process of several threads each wait for the database may cost a turn of the interpreter as well: ten short waits
hold a commit up for longer than everything that is done in them.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import Connection

Statement: TypeAlias = tuple[str, tuple[Any, ...]]
"""SQL with a `?` for each of the values."""


def ask(tx: Connection, *statements: Statement) -> list[list[Any]]:
    """Run statements in their order; the rows of each, as tuples, empty for one that has none.

    Each sees what was committed before it began, as if it had been sent alone. After one that fails no other is run.
    """
    if tx.dialect.name != "postgresql":
        return [[tuple(row) for row in tx.exec_driver_sql(sql, values)] for sql, values in statements]
    driver: Any = tx.connection.driver_connection
    with driver.pipeline():
        asked = [driver.execute(sql.replace("?", "%s"), values) for sql, values in statements]
    return [cursor.fetchall() if cursor.description else [] for cursor in asked]
