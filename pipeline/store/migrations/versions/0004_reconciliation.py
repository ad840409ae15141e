"""What each reconcile came to, and how far each connection is verified."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "reconciliation_windows",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("deals_differing", sa.BigInteger(), nullable=False),
        sa.Column("deals_pending", sa.BigInteger(), nullable=False),
        sa.Column("delta_cents", sa.Text(), nullable=False),
        sa.Column("held", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "month"),
    )
    op.create_index("reconciliation_windows_connection", "reconciliation_windows", ["connection_id", "month"])
    op.create_table(
        "verifications",
        sa.Column("connection_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("verified_through", sa.Text(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("checked_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("connection_id"),
    )
