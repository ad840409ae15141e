"""Text is compared byte by byte, whatever the locale of the database."""

from __future__ import annotations

from alembic import op

from ledger.collation import compare_bytes

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = [
    "ledger_api_keys", "ledger_audit", "ledger_budgets", "ledger_deals", "ledger_domain_events",
    "ledger_source_events",
]  # fmt: skip


def upgrade() -> None:
    compare_bytes(op.get_bind(), TABLES)
