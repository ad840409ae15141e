"""The tables of backfills, and no logic; what is said of times and payloads in tables.py holds here as well."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, Table, Text

from pipeline.store.tables import metadata

backfills = Table(
    "backfills",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("connection_id", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("since", Text),
    Column("until", Text),
    Column("laid_out", Boolean, nullable=False),
    Column("due_at", Text, nullable=False),
    Column("resumed_at", Text, nullable=False),
    Index("backfills_connection", "connection_id", "state"),
)
"""`id` is that of its run. `state`: planned, running, paused, cancelled, failed, done; `reason` says why it stands
still. Deals created from `since` on and before `until` are read; null is no bound. `laid_out`: its chunks are all
there. Not before `due_at` is it gone on with by itself; `resumed_at` is when a person last said to go on."""

backfill_chunks = Table(
    "backfill_chunks",
    metadata,
    Column("backfill_id", BigInteger, nullable=False),
    Column("number", Integer, nullable=False),
    Column("label", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("expects", BigInteger),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("cursor", Text),
    Column("attempts", Integer, nullable=False),
    Column("worked_ms", BigInteger, nullable=False),
    *(
        Column(name, BigInteger, nullable=False)
        for name in ("read", "applied", "unchanged", "superseded", "parked", "out_of_scope", "events")
    ),
    Column("moved_at", Text),
    Column("expectation", Text),
    PrimaryKeyConstraint("backfill_id", "number"),
)
"""`state`: pending, done, failed (`reason` says why). `place` is the part of the source, `cursor` how far it was read,
both as JSON of the source's own. `expects` is about how many rows it has. `attempts` were begun since it last got on.
`expectation` is what a dry run says will become of it, as JSON."""
