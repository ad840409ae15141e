"""The table of request budgets, and no logic; what is said of payloads in tables.py holds here as well."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from pipeline.store.tables import metadata

budgets = Table(
    "budgets",
    metadata,
    Column("account", Text, primary_key=True),
    Column("state", Text, nullable=False),
)
"""What is spent of each source account's requests, as JSON (see `connectors.spending.Spending`)."""
