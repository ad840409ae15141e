"""The ledger's tables, and no logic (contracts/openquota.md section 10).

Times are ISO 8601 text in UTC with milliseconds (`2026-04-22T10:15:30.000Z`). Payloads are text or bytes, never a
JSON type: what was digested must come back byte for byte. The database itself refuses to change or delete a source or
domain event (see migrations/).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text

metadata = MetaData()

VERSION_TABLE = "ledger_alembic_version"
"""The ledger's migrations are counted apart: it often shares its database with the store."""

source_events = Table(
    "ledger_source_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("dedup_key", Text, nullable=False),
    Column("raw_body", LargeBinary, nullable=False),
    Column("received_at", Text, nullable=False),
    Index("ledger_source_events_key", "org_id", "dedup_key", unique=True),
)
"""Append-only. Each event as it came in; `dedup_key` is unique in its org for ever."""

domain_events = Table(
    "ledger_domain_events",
    metadata,
    Column("org_id", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("id", Text, nullable=False),
    Column("source_event_id", Text, nullable=False),
    Column("deal_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("occurred_at", Text, nullable=False),
    Column("source_hash", LargeBinary, nullable=False),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    PrimaryKeyConstraint("org_id", "sequence"),
    Index("ledger_domain_events_deal", "org_id", "deal_id", "sequence"),
)
"""Append-only. `sequence` counts 1..n in each org without a gap; `hash` chains each event to the one before."""

deals = Table(
    "ledger_deals",
    metadata,
    Column("id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("external_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("last_event_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Column("deleted_at", Text),
    Column("last_sequence", BigInteger, nullable=False),
    Index("ledger_deals_newest", "org_id", "last_sequence"),
)
"""The fold of the domain events. `id` is made from org and external id alone, so its key holds both unique."""

api_keys = Table(
    "ledger_api_keys",
    metadata,
    Column("key_id", Text, primary_key=True),
    Column("org_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("sha256", Text, nullable=False, unique=True),
    Column("scopes", Text, nullable=False),
    Column("rpm", Integer, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("revoked_at", Text),
    Column("last_used_at", Text),
)
"""Keys of the HTTP service; only their digest is kept. `scopes` are separated by a space, `rpm` counts per minute."""

audit = Table(
    "ledger_audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Index("ledger_audit_key", "key_id", "id"),
    Index("ledger_audit_calls", "key_id", "action", "status", "at"),
)
"""What was done with each key: `created`, `revoked`, or the method and path of `calls` requests that ended with
`status`, the latest at `at`: one row a minute, of older ones one a day (docs/decisions/0020)."""

budgets = Table(
    "ledger_budgets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("state", Text, nullable=False),
)
"""What may still be asked of a ledger elsewhere, one row a key (see `ledger.window`); `name` is a digest."""
