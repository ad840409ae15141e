"""The store's tables, and no logic.

Times are ISO 8601 text in UTC with milliseconds (`2026-04-22T10:15:30.000Z`): they sort as text, read the same on
both databases and are what the wire carries. Payloads are text or bytes, never a JSON type: nobody queries inside.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)

metadata = MetaData()

_Id = BigInteger().with_variant(Integer, "sqlite")
"""SQLite counts up by itself only on a column declared INTEGER."""

facts = Table(
    "store_facts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
"""`epoch`: drawn once per store, part of every dedup key. Other names: what runs and days have deleted so far."""

connections = Table(
    "connections",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("last_success", Text),
    Column("mapping_id", Integer),
)
"""`state`: new, ok, refused (credentials or rights; `reason` says which), failing."""

mappings = Table(
    "mapping_versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("version", Text, nullable=False, unique=True),
    Column("source", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("rules", Text, nullable=False),
    Column("first_used_at", Text, nullable=False),
)
"""Every mapping version ever used, with its text: any event can be explained for ever."""

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("stream", Text, nullable=False),
    Column("cursor", Text, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("moved_at", Text, nullable=False),
    PrimaryKeyConstraint("connection_id", "stream"),
)
"""`stream`: `pull`, or `sweep` or `reconcile` for a complete read under way."""

runs = Table(
    "runs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("connection_id", Integer),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("started_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("resumes_at", Text),
    *(
        Column(name, BigInteger, nullable=False, server_default="0")
        for name in ("read", "applied", "unchanged", "superseded", "parked", "out_of_scope", "events", "published")
    ),
    Index("runs_latest", "connection_id", "kind", "id"),
)
"""`state`: running, done, stopped (too much parked), failed, abandoned (its process died); of a backfill also planned,
paused, cancelled. `resumes_at`: before when it is of no use to try again a failed one, as its source or budget says."""

raw_blocks = Table(
    "raw_blocks",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("records", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("stored_at", Text, nullable=False),
)
"""The raw vault: records as their source said them, a batch to a block, compressed, named by their content."""

_raw = (("raw_digest", LargeBinary), ("raw_block", BigInteger), ("raw_position", Integer))

deals = Table(
    "deals",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("head_key", Text, nullable=False),
    Column("state_digest", LargeBinary, nullable=False),
    Column("deleted", Boolean, nullable=False),
    *(Column(name, type_, nullable=False) for name, type_ in _raw),
    Column("version", Text),
    Column("observed_at", Text, nullable=False),
    Column("mapping_id", Integer, nullable=False),
    PrimaryKeyConstraint("connection_id", "source_id"),
)
"""The projection. The state itself is that of the deal's event at `revision`: it is kept once."""

events = Table(
    "events",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("dedup_key", Text, nullable=False, unique=True),
    Column("external_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("cause", Text, nullable=False),
    *(Column(name, type_, nullable=False) for name, type_ in _raw),
    Column("version", Text),
    Column("mapping_id", Integer, nullable=False),
    Column("run_id", BigInteger, nullable=False),
    Column("recorded_at", Text, nullable=False),
    PrimaryKeyConstraint("connection_id", "source_id", "revision"),
)
"""Every event we ever decided, never changed afterwards: the payload of the outbox and the history of the deal."""

outbox = Table(
    "outbox",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Text, nullable=False),
    Column("parked", Boolean, nullable=False),
    PrimaryKeyConstraint("connection_id", "source_id", "revision"),
)
"""Events not yet in the ledger. The lowest revision of a deal is its lane's head; only heads are sent."""

receipts = Table(
    "receipts",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("source_event_id", Text, nullable=False),
    Column("domain_event_id", Text, nullable=False),
    Column("deal_id", Text, nullable=False),
    Column("settled_at", Text, nullable=False),
    PrimaryKeyConstraint("connection_id", "source_id", "revision"),
)

parked = Table(
    "parked",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("stage", Text, nullable=False),
    Column("revision", Integer),
    Column("kind", Text),
    Column("reason", Text, nullable=False),
    Column("field", Text),
    Column("message", Text, nullable=False),
    *(Column(name, type_) for name, type_ in _raw),
    Column("version", Text),
    Column("observed_at", Text, nullable=False),
    Column("mapping_id", Integer),
    Column("since", Text, nullable=False),
    Column("last_seen", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("closed_at", Text),
    Column("closing_note", Text),
    Index("parked_open", "connection_id", "source_id", "stage", unique=True, sqlite_where=text("state = 'open'"),
          postgresql_where=text("state = 'open'")),
)  # fmt: skip
"""`stage`: record (could not be read or mapped), event (the ledger refused it; `revision` says which).
`state`: open, resolved (its own bytes were applied), superseded (a newer record of the deal was), discarded."""

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", Text, nullable=False),
)

absences = Table(
    "absences",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("sweeps", Integer, nullable=False),
    Column("last_run", BigInteger, nullable=False),
    PrimaryKeyConstraint("connection_id", "source_id"),
)
"""Deals that complete sweeps did not show: candidates for a delete, never more by themselves."""

sightings = Table(
    "sightings",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", BigInteger, nullable=False),
    Column("ids", Text, nullable=False),
    Index("sightings_run", "run_id"),
)
"""What the sweep under way has seen: the ids of a page as one JSON array. Emptied when it ends."""

drift = Table(
    "drift",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("path", Text, nullable=False),
    Column("records", BigInteger, nullable=False),
    Column("first_seen", Text, nullable=False),
    Column("last_seen", Text, nullable=False),
    PrimaryKeyConstraint("connection_id", "path"),
)
"""Keys of the source that the mapping neither claims nor ignores, with the number of changed records that bore them."""

reference_entries = Table(
    "reference_entries",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("connection_id", "name", "key"),
)
"""What deals refer to: accounts, users, quotes, each kind under its `name`."""

reference_reads = Table(
    "reference_reads",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("read_at", Text),
    Column("changed", Boolean, nullable=False),
    Column("missing", Boolean, nullable=False),
    Column("refused", Text),
    PrimaryKeyConstraint("connection_id", "name"),
)
"""When each kind of reference data was read, whether deals have yet to be mapped with what was found, and why the
source last refused to show it, null where it did not."""

custom_fields = Table(
    "custom_fields",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("record_key", Text, nullable=False),
    Column("field_id", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("since", Text, nullable=False),
    PrimaryKeyConstraint("connection_id", "record_key"),
)
"""The custom key each custom field is bound to: `record_key` is what stands in records, `field_id` never changes."""

inbox = Table(
    "inbox",
    metadata,
    Column("name", LargeBinary, primary_key=True),
    Column("connection_id", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("said", Text),
    Column("settled_at", Text),
    Index("inbox_received", "received_at"),
    Index("inbox_waiting", "connection_id", "received_at", sqlite_where=text("state = 'waiting'"),
          postgresql_where=text("state = 'waiting'")),
    Index("inbox_odd", "connection_id", "state", sqlite_where=text("state IN ('unknown', 'unreadable')"),
          postgresql_where=text("state IN ('unknown', 'unreadable')")),
)  # fmt: skip
"""Verified deliveries, byte for byte. `name` tells a delivery from all others, and is the id its sender is given.
`state`: waiting, heeded (hints were taken from it), unknown (an event that nothing need be done about), unreadable.
`said` is the vendor's word for what happened, or why the body cannot be read."""

hints = Table(
    "hints",
    metadata,
    Column("connection_id", Integer, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("version", Text),
    Column("deleted", Boolean, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hinted_at", Text, nullable=False),
    Column("due_at", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("behind_since", Text),
    Column("crashes", Integer, nullable=False, server_default="0"),
    PrimaryKeyConstraint("connection_id", "source_id"),
    Index("hints_due", "connection_id", "due_at"),
)
"""Records to look at, however often they were hinted at; an empty `source_id` asks for a pull. `number` is
drawn anew with every hint: whoever looked settles only what had been hinted at before. `behind_since` is when the
source first answered without showing what was announced. `crashes` counts those who went to look and were not heard
of again."""

reconciliation_windows = Table(
    "reconciliation_windows",
    metadata,
    Column("run_id", BigInteger, nullable=False),
    Column("month", Text, nullable=False),
    Column("connection_id", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("deals_differing", BigInteger, nullable=False),
    Column("deals_pending", BigInteger, nullable=False),
    Column("delta_cents", Text, nullable=False),
    Column("held", Text, nullable=False),
    Column("checked_at", Text, nullable=False),
    PrimaryKeyConstraint("run_id", "month"),
    Index("reconciliation_windows_connection", "connection_id", "month"),
)
"""What each reconcile came to for each close month (an empty one: deals without a close date). `state`: passed, pending
(nothing is wrong, but not everything could be compared), failed. `held` is JSON: the number of deals and the sums of
each side. The latest reconcile's rows and every failed one are kept."""

verifications = Table(
    "verifications",
    metadata,
    Column("connection_id", Integer, primary_key=True, autoincrement=False),
    Column("verified_through", Text),
    Column("run_id", BigInteger, nullable=False),
    Column("checked_at", Text, nullable=False),
)
"""How far each connection is verified: the last close month up to which every window passed; null while none is."""
