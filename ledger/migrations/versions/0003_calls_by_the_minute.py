"""The row of a key's calls in this minute is found by an index."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ledger_audit_calls", "ledger_audit", ["key_id", "action", "status", "at"])
