"""The history of a deal is found by an index; keys leave an audit; the budget of a remote ledger's key is shared."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ledger_domain_events_deal", "ledger_domain_events", ["org_id", "deal_id", "sequence"])
    op.create_table(
        "ledger_audit",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("calls", sa.Integer, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_index("ledger_audit_key", "ledger_audit", ["key_id", "id"])
    op.create_table(
        "ledger_budgets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
    )
