"""Kept: the records that the vault holds, of deals and of what is parked, a batch at a time and in its own order."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from connectors.source import Record
from pipeline.store import parking, projection, vault
from pipeline.store.parking import Entry
from pipeline.store.projection import DealRow
from pipeline.store.session import Store
from pipeline.store.vault import RawRef

BATCH = 2000


def deals_kept(store: Store, connection_id: int, *, but_not: int) -> Iterator[list[tuple[DealRow, Record]]]:
    """Every living deal of a connection with the record it was last read from, but those read with one mapping.

    Deals whose state was taken from the ledger have no record.
    """
    after = (0, "")
    while True:
        with store.read() as tx:
            rows = projection.read_with_other_mappings(tx, connection_id, but_not, after=after, limit=BATCH)
            raws = vault.fetch_all(tx, (row.raw for row in rows))
        if not rows:
            return
        after = (rows[-1].raw_block, rows[-1].source_id)
        yield [(row, Record(row.source_id, row.version, raws[row.raw], row.kind)) for row in rows]


def parked_kept(
    store: Store, connection_id: int, numbers: Collection[int] | None = None
) -> Iterator[list[tuple[Entry, Record]]]:
    """Every parked record of a connection that another mapping may read, or those of the entries with these numbers.

    A record without an id or a kind stays as unreadable as it was, whatever the mapping says: it is left out.
    """
    after, last = (0, None) if numbers is None else (min(numbers, default=0) - 1, max(numbers, default=0))
    while last is None or after < last:
        with store.read() as tx:
            found = parking.listed(tx, connection_id=connection_id, stage="record", after=after, limit=BATCH)
            entries = list(found)
            refs = {entry.id: _ref(entry) for entry in entries if numbers is None or entry.id in numbers}
            raws = vault.fetch_all(tx, (ref for ref in refs.values() if ref))
        if not entries:
            return
        after = entries[-1].id
        yield [(entry, _record(entry, raws[ref])) for entry in entries if (ref := refs.get(entry.id))]


def _record(entry: Entry, raw: bytes) -> Record:
    return Record(entry.row.source_id, entry.row.version, raw, entry.row.kind or "")


def _ref(entry: Entry) -> RawRef | None:
    row = entry.row
    if not row.kind or row.raw_digest is None or row.raw_block is None or row.raw_position is None:
        return None
    return RawRef(row.raw_digest, row.raw_block, row.raw_position)
