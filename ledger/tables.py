"""The ledger's tables, and no logic (contracts/openquota.md section 10).

Times are ISO 8601 text in UTC with milliseconds (`2026-04-22T10:15:30.000Z`). Payloads are text or bytes, never a
JSON type: what was digested must come back byte for byte. The database itself refuses to change or delete a source or
domain event (see migrations/).
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table

from ledger.collation import TEXT

metadata = MetaData()

VERSION_TABLE = "ledger_alembic_version"
"""The ledger's migrations are counted apart: it often shares its database with the store."""

source_events = Table(
    "ledger_source_events",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("org_id", TEXT, nullable=False),
    Column("source", TEXT, nullable=False),
    Column("external_id", TEXT, nullable=False),
    Column("dedup_key", TEXT, nullable=False),
    Column("raw_body", LargeBinary, nullable=False),
    Column("received_at", TEXT, nullable=False),
    Index("ledger_source_events_key", "org_id", "dedup_key", unique=True),
)
"""Append-only. Each event as it came in; `dedup_key` is unique in its org for ever."""

domain_events = Table(
    "ledger_domain_events",
    metadata,
    Column("org_id", TEXT, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("id", TEXT, nullable=False),
    Column("source_event_id", TEXT, nullable=False),
    Column("deal_id", TEXT, nullable=False),
    Column("event_type", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("occurred_at", TEXT, nullable=False),
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
    Column("id", TEXT, primary_key=True),
    Column("org_id", TEXT, nullable=False),
    Column("source", TEXT, nullable=False),
    Column("external_id", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("last_event_at", TEXT, nullable=False),
    Column("updated_at", TEXT, nullable=False),
    Column("deleted_at", TEXT),
    Column("last_sequence", BigInteger, nullable=False),
    Index("ledger_deals_newest", "org_id", "last_sequence"),
)
"""The fold of the domain events. `id` is made from org and external id alone, so its key holds both unique."""

api_keys = Table(
    "ledger_api_keys",
    metadata,
    Column("key_id", TEXT, primary_key=True),
    Column("org_id", TEXT, nullable=False),
    Column("name", TEXT, nullable=False),
    Column("prefix", TEXT, nullable=False),
    Column("sha256", TEXT, nullable=False, unique=True),
    Column("scopes", TEXT, nullable=False),
    Column("rpm", Integer, nullable=False),
    Column("created_at", TEXT, nullable=False),
    Column("revoked_at", TEXT),
    Column("last_used_at", TEXT),
)
"""Keys of the HTTP service; only their digest is kept. `scopes` are separated by a space, `rpm` counts per minute."""

audit = Table(
    "ledger_audit",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("key_id", TEXT, nullable=False),
    Column("action", TEXT, nullable=False),
    Column("status", Integer, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("at", TEXT, nullable=False),
    Index("ledger_audit_key", "key_id", "id"),
    Index("ledger_audit_calls", "key_id", "action", "status", "at"),
)
"""What was done with each key: `created`, `revoked`, or the method and path of `calls` requests that ended with
`status`, the latest at `at`: one row a minute, of older ones one a day (docs/decisions/0020)."""

budgets = Table(
    "ledger_budgets",
    metadata,
    Column("name", TEXT, primary_key=True),
    Column("state", TEXT, nullable=False),
)
"""What may still be asked of a ledger elsewhere, one row a key (see `ledger.window`); `name` is a digest."""
