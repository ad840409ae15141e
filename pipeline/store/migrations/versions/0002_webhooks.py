"""Deliveries of webhooks, and the records that they ask us to look at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_WAITING = sa.text("state = 'waiting'")
_ODD = sa.text("state IN ('unknown', 'unreadable')")


def upgrade() -> None:
    op.create_table(
        "inbox",
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.Text(), nullable=False),
        sa.Column("received_at", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("said", sa.Text(), nullable=True),
        sa.Column("settled_at", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_index("inbox_received", "inbox", ["received_at"], unique=False)
    op.create_index(
        "inbox_waiting",
        "inbox",
        ["connection_id", "received_at"],
        unique=False,
        sqlite_where=_WAITING,
        postgresql_where=_WAITING,
    )
    op.create_index(
        "inbox_odd", "inbox", ["connection_id", "state"], unique=False, sqlite_where=_ODD, postgresql_where=_ODD
    )
    op.create_table(
        "hints",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("hinted_at", sa.Text(), nullable=False),
        sa.Column("due_at", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("behind_since", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("connection_id", "source_id"),
    )
    op.create_index("hints_due", "hints", ["connection_id", "due_at"], unique=False)
