"""The source's side of a comparison, which outlives the run that reads it, and the columns that all sides share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, Table, Text

from pipeline.store.tables import metadata


def of_every_side() -> list[Column[Any]]:
    """The columns of every side, in their order; what is counted under what is kept beside each state."""
    return [
        Column("source_id", Text, primary_key=True),
        Column("state", Text),
        Column("alive", Boolean, nullable=False),
        Column("month", Text, nullable=False),
        Column("bucket", Integer, nullable=False),
        *(Column(name, BigInteger, nullable=False) for name in ("d0", "d1", "d2")),
        *(Column(name, Text, nullable=False) for name in ("currency", "stage", "owner")),
        *(Column(name, BigInteger, nullable=False) for name in ("a0", "a1", "a2")),
    ]


def of_the_source() -> list[Column[Any]]:
    """The columns that only the source's side has."""
    return [
        *(Column(name, Boolean, nullable=False) for name in ("readable", "deleted")),
        Column("kind", Text, nullable=False),
        Column("version", Text),
        Column("observed_at", Text, nullable=False),
        Column("raw_digest", LargeBinary, nullable=False),
        Column("raw", LargeBinary),
    ]


source_sides = Table(
    "source_sides",
    metadata,
    Column("connection_id", Integer, primary_key=True, autoincrement=False),
    *of_every_side(),
    *of_the_source(),
)
"""What a complete read for a comparison has seen so far; the checkpoint `reconcile` is its place, moved with each page.

States and numbers are as in the temporary tables beside it (pipeline/store/sides.py); `raw` is there for who may land.
"""
