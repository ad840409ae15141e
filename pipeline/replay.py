"""Replay: run records of the raw vault through today's mapping; no request is sent."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from connectors.source import Record
from pipeline.batch import Batch
from pipeline.kept import deals_kept, parked_kept
from pipeline.run import Run
from pipeline.store import connections


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
    but_not = connections.SEVERAL if again else run.scope.mapping_id
    for kept in deals_kept(run.store, run.scope.connection_id, but_not=but_not):
        _land(run, ((row.observed_at, record) for row, record in kept), again=again)


def replay_parked(run: Run, numbers: Iterable[int] | None = None) -> None:
    """Try parked records again, all of the connection's or those with the given numbers."""
    wanted = None if numbers is None else set(numbers)
    for kept in parked_kept(run.store, run.scope.connection_id, wanted):
        _land(run, ((entry.row.observed_at, record) for entry, record in kept))


def _land(run: Run, observed: Iterable[tuple[str, Record]], *, again: bool = False) -> None:
    """Apply records that were observed at the given times, those of one time together."""
    for observed_at, group in groupby(sorted(observed, key=_observed_at), key=_observed_at):
        run.land_batch(Batch(records=[record for _, record in group], observed_at=observed_at, again=again))


def _observed_at(observed: tuple[str, Record]) -> str:
    return observed[0]
