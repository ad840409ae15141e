"""Reference data: what deals refer to by a key - accounts, users, quotes - as their source last showed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from connectors.source import Entry
from deals.identity import decode_json
from ledger import bulk
from pipeline.store.tables import reference_entries, reference_reads


class ReadRow(NamedTuple):
    """How one kind of reference data was last read, in the order of the table's columns.

    `read_at` is None while it never was read to its end. `changed` says that entries have changed since the deals were
    last mapped with them, `missing` that a deal has asked for an entry that is not there. `refused` is the source's
    refusal to show it, None since it was last shown.
    """

    connection_id: int
    name: str
    read_at: str | None
    changed: bool
    missing: bool
    refused: str | None = None


def last_read(tx: Connection, connection_id: int, name: str) -> ReadRow:
    """How this kind of reference data was last read."""
    of_name = reference_reads.c.connection_id == connection_id, reference_reads.c.name == name
    row = tx.execute(select(reference_reads).where(*of_name)).one_or_none()
    return ReadRow(connection_id, name, None, False, False) if row is None else ReadRow._make(row)


def note(tx: Connection, row: ReadRow) -> None:
    """Write down how this kind of reference data was read."""
    bulk.upsert(tx, reference_reads, [row])


def refusals(tx: Connection) -> dict[int, list[tuple[str, str]]]:
    """What sources refuse to show, by the connection's number: the name of each kind of reference data, and why."""
    columns = reference_reads.c.connection_id, reference_reads.c.name, reference_reads.c.refused
    found: dict[int, list[tuple[str, str]]] = {}
    rows = select(*columns).where(reference_reads.c.refused.is_not(None)).order_by(reference_reads.c.name)
    for connection_id, name, why in tx.execute(rows):
        found.setdefault(connection_id, []).append((name, why))
    return found


def missed(tx: Connection, connection_id: int, names: Iterable[str]) -> None:
    """Deals have asked for entries that are not there: the next run looks whether there are new ones."""
    for name in names:
        row = last_read(tx, connection_id, name)
        if not row.missing:
            note(tx, row._replace(missing=True))


def keep(tx: Connection, connection_id: int, name: str, entries: Sequence[Entry]) -> bool:
    """Keep entries as they are now; whether any of them is new or different.

    An entry that its source no longer shows is kept: deals may still refer to it.
    """
    bodies = {entry.key: entry.raw.decode() for entry in entries}
    known = _bodies(tx, connection_id, name, list(bodies))
    fresh = [(connection_id, name, key, body) for key, body in bodies.items() if known.get(key) != body]
    bulk.upsert(tx, reference_entries, fresh)
    return bool(fresh)


def everything(tx: Connection, connection_id: int, name: str) -> dict[str, dict[str, Any]]:
    """Every entry of a kind that has few, by its key, decoded."""
    of_name = reference_entries.c.connection_id == connection_id, reference_entries.c.name == name
    rows = tx.execute(select(reference_entries.c.key, reference_entries.c.body).where(*of_name))
    return {row[0]: decode_json(row[1]) for row in rows}


def look_up(
    tx: Connection, connection_id: int, wanted: Mapping[str, Iterable[str]]
) -> dict[str, dict[str, dict[str, Any]]]:
    """The entries with these keys, by name and key, decoded: one statement a name, however many keys."""
    return {
        name: {key: decode_json(body) for key, body in _bodies(tx, connection_id, name, list(keys)).items()}
        for name, keys in wanted.items()
    }


def _bodies(tx: Connection, connection_id: int, name: str, keys: Sequence[str]) -> dict[str, str]:
    found = select(reference_entries.c.key, reference_entries.c.body).where(
        reference_entries.c.connection_id == connection_id,
        reference_entries.c.name == name,
        bulk.among(tx, reference_entries.c.key, keys),
    )
    return {row[0]: row[1] for row in tx.execute(found)}
