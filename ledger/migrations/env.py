"""Alembic's entry to the ledger's migrations."""

from ledger.migrating import run_in_env

run_in_env()
