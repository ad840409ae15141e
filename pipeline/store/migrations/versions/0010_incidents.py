"""Incidents that a person acknowledges; until now they were only counted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "incidents",
        sa.Column("id", number, nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
        sa.Column("since", sa.Text(), nullable=False),
        sa.Column("latest", sa.Text(), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("domain_event_id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "incidents_open",
        "incidents",
        ["run_id"],
        unique=False,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    # Those that were counted are one open incident of each outcome, its latest event standing for all.
    op.execute(
        """
        INSERT INTO incidents (
            outcome, events, since, latest, connection_id, source_id, domain_event_id, state
        )
        SELECT outcome, events, since, latest, connection_id, source_id, domain_event_id, 'open'
        FROM (
            SELECT outcome, settled_at AS latest, connection_id, source_id, domain_event_id,
                   count(*) OVER (PARTITION BY outcome) AS events, min(settled_at) OVER (PARTITION BY outcome) AS since,
                   row_number() OVER (PARTITION BY outcome ORDER BY settled_at DESC, source_id, revision) AS place
            FROM receipts WHERE outcome IN ('there_before', 'conflict')
        ) AS met
        WHERE place = 1
        """
    )
    op.execute("DELETE FROM store_facts WHERE name = 'incidents'")
