"""Text is compared byte by byte, whatever the locale of the database."""

from __future__ import annotations

from alembic import op

from ledger.collation import compare_bytes

revision = "0012"
down_revision = "0011"

TABLES = [
    "absences", "asked_runs", "audits", "backfill_chunks", "backfills", "budgets", "checkpoints", "connections",
    "custom_fields", "deals", "drift", "events", "held_events", "held_sets", "hints", "inbox", "incidents",
    "leases", "mapping_versions", "outbox", "parked", "pauses", "raw_blocks", "receipts", "reconciliation_windows",
    "reference_entries", "reference_reads", "runs", "sightings", "source_sides", "store_facts", "verifications",
]  # fmt: skip


def upgrade() -> None:
    compare_bytes(op.get_bind(), TABLES)
