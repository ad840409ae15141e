"""Alembic's entry to the store's migrations."""

from ledger.migrating import run_in_env

run_in_env()
