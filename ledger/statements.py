"""Statements: how a batch of the embedded ledger is written, a handful of statements whatever its size."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select, text

from ledger import bulk
from ledger.rows import Deal, Domain, Source
from ledger.tables import deals, domain_events, source_events


def lock(tx: Connection, org: str) -> None:
    """Let nobody else append to this org until the transaction ends. On SQLite its writer is alone anyway."""
    if tx.dialect.name == "postgresql":
        bulk.by_index(tx)
        tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:org, 0))"), {"org": f"ledger of {org}"})


def take(tx: Connection, rows: Sequence[Source]) -> None:
    """Insert source events whose keys were free when `holders` looked, under this lock.

    Should somebody have written past the lock, the unique index refuses the whole batch: it is then sent again.
    """
    bulk.insert(tx, source_events, rows)


def record(tx: Connection, rows: Iterable[Domain]) -> None:
    """Insert domain events, whose sequence is known to be free. An iterator is run to its end."""
    bulk.insert(tx, domain_events, rows)


def project(tx: Connection, rows: Sequence[Deal]) -> None:
    """Insert deals or overwrite them, under the org's lock."""
    bulk.upsert(tx, deals, rows, locked=True)


def holders(tx: Connection, org: str, keys: Sequence[str]) -> dict[str, tuple[str, str, bytes]]:
    """For each of these keys that is taken the source event that holds it: its id, external id and raw body."""
    columns = (source_events.c.dedup_key, source_events.c.id, source_events.c.external_id, source_events.c.raw_body)
    among = bulk.among(tx, source_events.c.dedup_key, keys)
    found = tx.execute(select(*columns).where(source_events.c.org_id == org, among))
    return {key: (one, external_id, bytes(raw)) for key, one, external_id, raw in found}
