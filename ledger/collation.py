"""Collation: text is compared byte by byte, on both databases and whatever the locale of PostgreSQL's machine is.

An index in the machine's own collation silently goes wrong when its C library is upgraded
(https://wiki.postgresql.org/wiki/Locale_data_changes): a unique index of keys then lets a key in twice. Nothing here is
ordered for people, SQLite compares bytes anyway, and bytes are compared faster (docs/decisions/0023).
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, text

_OTHERWISE = text(
    "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = to_regclass(:table) AND atttypid = 'text'::regtype "
    "AND NOT attisdropped AND attcollation <> to_regcollation('\"C\"') ORDER BY attnum"
)


def compare_bytes(tx: Connection, tables: Iterable[str]) -> None:
    """For the end of a migration that makes tables or adds text to them. Rows stay as they lie; indexes of text that
    was compared otherwise are made anew.

    Tables are not declared so: SQLAlchemy would say it anew with every value that it binds.
    """
    if tx.dialect.name == "postgresql":
        for table in tables:
            columns = tx.execute(_OTHERWISE, {"table": table}).scalars()
            changes = [f'ALTER COLUMN {column} TYPE text COLLATE "C"' for column in columns]
            if changes:
                tx.execute(text(f"ALTER TABLE {table} {', '.join(changes)}"))
