"""Parked: records and events that need a person, each with its bytes and its reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, exists, func, select, update
from sqlalchemy.sql.elements import ColumnElement

from ledger import bulk
from pipeline.store.tables import parked


class ParkedRow(NamedTuple):
    """One entry, in the order of the table's columns (its number left out)."""

    connection_id: int
    source_id: str
    stage: str
    revision: int | None
    kind: str | None
    reason: str
    field: str | None
    message: str
    raw_digest: bytes | None
    raw_block: int | None
    raw_position: int | None
    version: str | None
    observed_at: str
    mapping_id: int | None
    since: str
    last_seen: str
    state: str = "open"
    closed_at: str | None = None
    closing_note: str | None = None


class Entry(NamedTuple):
    """A parked entry with its number."""

    id: int
    row: ParkedRow


_OPEN = parked.c.state == "open"


def open_records(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> dict[str, Entry]:
    """The records of these deals that are parked now."""
    found = select(parked).where(parked.c.connection_id == connection_id, _OPEN, parked.c.stage == "record")
    return {
        entry.row.source_id: entry
        for entry in _entries(tx, found.where(bulk.among(tx, parked.c.source_id, source_ids)))
    }


def any_open(tx: Connection, connection_id: int) -> bool:
    """Whether any record of the connection is parked now."""
    open_record = exists().where(parked.c.connection_id == connection_id, _OPEN, parked.c.stage == "record")
    return bool(tx.execute(select(open_record)).scalar_one())


def any_discarded(tx: Connection, connection_id: int) -> bool:
    """Whether anybody ever put a record of the connection aside."""
    return bool(tx.execute(select(exists().where(*_discarded(connection_id)))).scalar_one())


def discarded_records(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> list[Entry]:
    """The records of these deals that were put aside for good."""
    found = select(parked).where(*_discarded(connection_id), bulk.among(tx, parked.c.source_id, source_ids))
    return list(_entries(tx, found))


def _discarded(connection_id: int) -> tuple[ColumnElement[bool], ...]:
    return (parked.c.connection_id == connection_id, parked.c.state == "discarded", parked.c.stage == "record")


def add(tx: Connection, rows: Sequence[ParkedRow]) -> None:
    """Park records or events that are not parked yet."""
    bulk.insert(tx, parked, rows, ParkedRow._fields)


def replace(tx: Connection, entries: Iterable[Entry]) -> None:
    """Write entries anew under their numbers."""
    bulk.upsert(tx, parked, [(entry.id, *entry.row) for entry in entries])


def close(tx: Connection, numbers: Sequence[int], state: str, *, at: str, note: str) -> None:
    """The entries need nobody any more: resolved, superseded or discarded."""
    for chunk in bulk.in_chunks(numbers, 500):
        gone = update(parked).where(parked.c.id.in_(chunk), _OPEN)
        tx.execute(gone.values(state=state, closed_at=at, closing_note=note))


def get(tx: Connection, number: int) -> Entry | None:
    """One entry by its number, open or closed."""
    row = tx.execute(select(parked).where(parked.c.id == number)).one_or_none()
    return None if row is None else _entry(row)


def some(tx: Connection, numbers: Sequence[int]) -> dict[int, Entry]:
    """The entries with these numbers, open or closed, by number."""
    found: dict[int, Entry] = {}
    for chunk in bulk.in_chunks(numbers, 500):
        found |= {entry.id: entry for entry in _entries(tx, select(parked).where(parked.c.id.in_(chunk)))}
    return found


def listed(
    tx: Connection,
    *,
    connection_id: int | None = None,
    stage: str | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Iterator[Entry]:
    """Open entries in the order they were parked."""
    found = select(parked).where(_OPEN, parked.c.id > after)
    if connection_id is not None:
        found = found.where(parked.c.connection_id == connection_id)
    if stage is not None:
        found = found.where(parked.c.stage == stage)
    return _entries(tx, found.order_by(parked.c.id).limit(limit))


def counts(tx: Connection) -> dict[int, int]:
    """How many entries of each connection are open."""
    found = select(parked.c.connection_id, func.count()).where(_OPEN).group_by(parked.c.connection_id)
    return {row[0]: row[1] for row in tx.execute(found)}


def _entries(tx: Connection, found: Select[Any]) -> Iterator[Entry]:
    for row in tx.execute(found.execution_options(yield_per=500)):
        yield _entry(row)


def _entry(row: Row[Any]) -> Entry:
    return Entry(row[0], ParkedRow._make(row[1:]))
