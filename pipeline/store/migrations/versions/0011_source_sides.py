"""What a reconcile has read of its source, so that a run that was cut off is gone on with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.create_table(
        "source_sides",
        sa.Column("connection_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("alive", sa.Boolean(), nullable=False),
        sa.Column("month", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("d0", "d1", "d2")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("currency", "stage", "owner")),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("a0", "a1", "a2")),
        sa.Column("readable", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("observed_at", sa.Text(), nullable=False),
        sa.Column("raw_digest", sa.LargeBinary(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("connection_id", "source_id"),
    )
