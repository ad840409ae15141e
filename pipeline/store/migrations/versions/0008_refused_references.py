"""Reference data that its source does not let us read: why, until it does."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("reference_reads", sa.Column("refused", sa.Text(), nullable=True))
