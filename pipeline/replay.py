"""Replay: run records of the raw vault through today's mapping; no request is sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from connectors.source import Record
from ledger import bulk
from pipeline.batch import Batch
from pipeline.kept import deals_kept, parked_kept
from pipeline.run import Run
from pipeline.store import connections, drifting

AT_ONCE = 500
"""So many records land in one transaction, as of a page."""


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
        run.confirm(tx)
        connections.use_mapping(tx, run.scope.connection_id, run.scope.mapping_id)
        drifting.forget(tx, run.scope.connection_id, connections.mapping(tx, run.scope.mapping_id).first_used_at)


def replay_deals(run: Run, *, again: bool = False) -> None:
    """Read again every deal that was last read with another version of the mapping; all of them when `again`."""
    but_not = connections.SEVERAL if again else run.scope.mapping_id
    for kept in deals_kept(run.store, run.scope.connection_id, but_not=but_not):
        _land(run, [(row.observed_at, record) for row, record in kept], again=again)


def replay_parked(run: Run, numbers: Iterable[int] | None = None) -> None:
    """Try parked records again, all of the connection's or those with the given numbers."""
    wanted = None if numbers is None else set(numbers)
    for kept in parked_kept(run.store, run.scope.connection_id, wanted):
        _land(run, [(entry.row.observed_at, record) for entry, record in kept])


def _land(run: Run, observed: Sequence[tuple[str, Record]], *, again: bool = False) -> None:
    """Apply records, no two of them of one deal, that were observed at the given times: what was fetched one by one as
    deliveries came lands many at a time.
    """
    for some in bulk.in_chunks(observed, AT_ONCE):
        moments = {record.source_id: moment for moment, record in some}
        records = [record for _, record in some]
        run.land_batch(Batch(records=records, observed_at=max(moments.values()), again=again, moments=moments))
