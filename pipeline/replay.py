"""Replay: run records of the raw vault through today's mapping; no request is sent."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import structlog

from connectors.source import Record
from pipeline.batch import Batch
from pipeline.run import Run
from pipeline.store import connections, parking, projection, vault
from pipeline.store.parking import Entry
from pipeline.store.projection import DealRow
from pipeline.store.vault import RawRef

log = structlog.get_logger()

BATCH = 2000


def replay_if_mapping_changed(run: Run) -> None:
    """Bring every deal and every parked record of the connection under the mapping in force.

    Nothing happens when all have been read with it already. Deals whose state it changes get an event with the cause
    `mapping_change`; parked records that it can read are resolved.
    """
    with run.store.read() as tx:
        row = connections.find(tx, run.scope.connection)
    if row is None or row.mapping_id == run.scope.mapping_id:
        return
    if row.mapping_id is not None:
        replay_deals(run)
        replay_parked(run)
        run.summary.notes.append("the mapping changed: records were read again from the vault")
    with run.store.write() as tx:
        connections.use_mapping(tx, run.scope.connection_id, run.scope.mapping_id)


def replay_deals(run: Run, *, again: bool = False) -> None:
    """Read again every deal that was last read with another version of the mapping; all of them when `again`."""
    after = (0, "")
    but_not = connections.SEVERAL if again else run.scope.mapping_id
    while True:
        with run.store.read() as tx:
            rows = projection.read_with_other_mappings(tx, run.scope.connection_id, but_not, after=after, limit=BATCH)
            blocks = {number: vault.block(tx, number) for number in {row.raw_block for row in rows}}
        if not rows:
            return
        after = (rows[-1].raw_block, rows[-1].source_id)
        for observed_at, group in groupby(sorted(rows, key=_observed), key=_observed):
            records = [
                Record(row.source_id, row.version, blocks[row.raw_block][row.raw_position], row.kind) for row in group
            ]
            run.land_batch(Batch(records=records, observed_at=observed_at, again=again))


def replay_parked(run: Run, numbers: Iterable[int] | None = None) -> None:
    """Try parked records again, all of the connection's or those with the given numbers."""
    wanted = None if numbers is None else set(numbers)
    after = 0
    while True:
        with run.store.read() as tx:
            found = parking.listed(tx, connection_id=run.scope.connection_id, stage="record", after=after, limit=BATCH)
            entries = list(found)
            chosen = [entry for entry in entries if _retryable(entry) and (wanted is None or entry.id in wanted)]
            raws = {entry.id: vault.fetch(tx, _ref(entry)) for entry in chosen}
        if not entries:
            return
        after = entries[-1].id
        for observed_at, group in groupby(sorted(chosen, key=_parked_observed), key=_parked_observed):
            records = [
                Record(entry.row.source_id, entry.row.version, raws[entry.id], entry.row.kind or "") for entry in group
            ]
            run.land_batch(Batch(records=records, observed_at=observed_at))


def _observed(row: DealRow) -> str:
    return row.observed_at


def _parked_observed(entry: Entry) -> str:
    return entry.row.observed_at


def _retryable(entry: Entry) -> bool:
    """A record without an id or a kind stays as unreadable as it was, whatever the mapping says."""
    return bool(entry.row.kind) and entry.row.raw_digest is not None


def _ref(entry: Entry) -> RawRef:
    row = entry.row
    assert row.raw_digest is not None
    assert row.raw_block is not None
    assert row.raw_position is not None
    return RawRef(row.raw_digest, row.raw_block, row.raw_position)
