"""The table of request budgets, and no logic; what is said of payloads in tables.py holds here as well."""

from __future__ import annotations

from sqlalchemy import Column, Table

from ledger.collation import TEXT
from pipeline.store.tables import metadata

budgets = Table(
    "budgets",
    metadata,
    Column("account", TEXT, primary_key=True),
    Column("state", TEXT, nullable=False),
)
"""What is spent of each source account's requests, as JSON (see `connectors.spending.Spending`)."""
