"""Migrations of the ledger's tables, run by `ledger.schema`."""
