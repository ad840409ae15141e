"""Clock: this machine's time in the ledger's form, for the service; the embedded ledger is handed its clock."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> str:
    """The time, ISO 8601 UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
