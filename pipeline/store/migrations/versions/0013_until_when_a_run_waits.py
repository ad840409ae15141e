"""Before when a run that its source let wait need not be tried again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ledger.collation import compare_bytes

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("runs", sa.Column("resumes_at", sa.Text(), nullable=True))
    compare_bytes(op.get_bind(), ["runs"])
