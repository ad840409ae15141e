"""The tables of what people decide and do, and no logic; what tables.py says of times and payloads holds here too."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, PrimaryKeyConstraint, Table, Text, text

from pipeline.store.tables import metadata

_Id = BigInteger().with_variant(Integer, "sqlite")

pauses = Table(
    "pauses",
    metadata,
    Column("connection_id", Integer, primary_key=True, autoincrement=False),
    Column("since", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("reason", Text),
)
"""Connections that a person has told us not to read by ourselves."""

asked = Table(
    "asked_runs",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("verb", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
    PrimaryKeyConstraint("connection_id", "verb"),
)
"""Runs that a person wants now. One of that verb that begins later is the answer: no row is ever taken away."""

held_sets = Table(
    "held_sets",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("connection_id", Integer, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("since", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_at", Text),
    Column("decided_by", Text),
    Column("note", Text),
    Index("held_sets_open", "connection_id", sqlite_where=text("state = 'held'"),
          postgresql_where=text("state = 'held'")),
)  # fmt: skip
"""Change sets: the events of a run that a person must release or discard. `state`: held, released, discarded."""

held_events = Table(
    "held_events",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("set_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("connection_id", "source_id", "revision"),
    Index("held_events_set", "set_id"),
)
"""The events of each change set. While it is held they lie in the outbox marked as parked, and their lanes wait."""

incidents = Table(
    "incidents",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", BigInteger),
    Column("outcome", Text, nullable=False),
    Column("events", Integer, nullable=False),
    Column("since", Text, nullable=False),
    Column("latest", Text, nullable=False),
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("domain_event_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("decided_at", Text),
    Column("decided_by", Text),
    Column("note", Text),
    Index("incidents_open", "run_id", sqlite_where=text("state = 'open'"), postgresql_where=text("state = 'open'")),
)
"""Events of one run for which the ledger had an answer that is no retry of ours. `state`: open, acknowledged.

The connection, the deal and the ledger's event are those of the latest of them."""

audits = Table(
    "audits",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("at", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("connection_id", Integer),
    Column("target", Text),
    Column("reason", Text),
    Column("outcome", Text, nullable=False),
)
"""What people did, one row an action, committed together with it and never changed."""
