"""Collation: text is compared byte by byte, on both databases and whatever the locale of PostgreSQL's machine is.

An index in the machine's own collation silently goes wrong when its C library is upgraded
(https://wiki.postgresql.org/wiki/Locale_data_changes): a unique index of keys then lets a key in twice. Nothing here is
ordered for people, SQLite compares bytes anyway, and bytes are compared faster.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Text, text

TEXT = Text().with_variant(Text(collation="C"), "postgresql")
"""The type of every column of text."""

_OTHERWISE = text(
    "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = to_regclass(:table) AND atttypid = 'text'::regtype "
    "AND NOT attisdropped AND attcollation <> to_regcollation('\"C\"') ORDER BY attnum"
)


def compare_bytes(tx: Connection, tables: Iterable[str]) -> None:
    """For migrations: make the text in these tables `TEXT`. Rows stay as they lie; their indexes are made anew."""
    if tx.dialect.name == "postgresql":
        for table in tables:
            columns = tx.execute(_OTHERWISE, {"table": table}).scalars()
            changes = [f'ALTER COLUMN {column} TYPE text COLLATE "C"' for column in columns]
            if changes:
                tx.execute(text(f"ALTER TABLE {table} {', '.join(changes)}"))
