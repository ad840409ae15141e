"""Reconcile's reading of the source: complete, page by page into the store, and gone on with where it was cut off.

Only this part is kept. The ledger's list cannot be resumed: it is newest first, by offset and without filters, so
every deal that changes meanwhile moves all others; and our own states are one snapshot. Both are read anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import structlog

from connectors.source import Cursor, Page
from deals.identity import digest, state_bytes
from mappings.outcome import Mapped
from pipeline.batch import Seen
from pipeline.complete import NOTHING_SHOWN, doubts_after, pages
from pipeline.readings import Readings
from pipeline.run import Run
from pipeline.store import checkpoints
from pipeline.store import sides as store_sides
from pipeline.store.session import later, now
from pipeline.store.sides import Sides, row
from pipeline.summary import Counts, Summary

log = structlog.get_logger()

STREAM = "reconcile"

KEPT_FOR = timedelta(days=3)
"""A read whose last page is older than that begins anew: a daily quota renews three times within it."""

_CLEARED_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """A complete read under way, or `complete`. It may span several runs: `number` is the first one's.

    Its records were mapped with `mapping_id`, and counted in the ledger's `currency`; `keep_raw` says that they are
    kept themselves as well. `read` and `unchanged` are the counts of all its runs.
    """

    number: int
    started_at: str
    mapping_id: int
    currency: str
    keep_raw: bool
    cursor: Cursor | None = None
    doubts: tuple[str, ...] = ()
    read: int = 0
    unchanged: int = 0
    complete: bool = False

    def after(self, page: Page, total: Summary) -> Reading:
        """The reading once a page is laid down."""
        cursor = page.cursor if page.cursor is not None else self.cursor
        doubts = doubts_after(self.doubts, page)
        return replace(self, cursor=cursor, doubts=doubts, read=total.read, unchanged=total.unchanged)

    def speaks_against(self, laid: Sides) -> list[str]:
        """What speaks against this read's witness of absence."""
        empty = laid.count(store_sides.source) == 0
        return [*self.doubts, *([NOTHING_SHOWN] if empty else [])]


def begin(run: Run, currency: str, *, keep_raw: bool) -> Reading:
    """A reading from its beginning; what one before it has laid down is cleared away."""
    forget(run)
    return Reading(run.summary.run, run.store.now(), run.scope.mapping_id, currency, keep_raw)


def resume(run: Run, currency: str, *, keep_raw: bool) -> Reading:
    """The reading that was cut off, where it can still be compared and has all that is wanted of it; else a new one.

    What it has counted counts for this run as well: they are the records that this run compares.
    """
    with run.store.read() as tx:
        saved = checkpoints.read(tx, run.scope.connection_id, STREAM)
        moved_at = checkpoints.moved_at(tx, run.scope.connection_id, STREAM)
        oldest = later(now(tx), -KEPT_FOR)
    if saved is None or moved_at is None or moved_at < oldest:
        return begin(run, currency, keep_raw=keep_raw)
    reading = Reading(**{**saved, "doubts": tuple(saved["doubts"])})
    alike = (reading.mapping_id, reading.currency) == (run.scope.mapping_id, currency)
    if not alike or (keep_raw and not reading.keep_raw):
        return begin(run, currency, keep_raw=keep_raw)
    out_of_scope = reading.read - reading.unchanged
    run.summary.add(Counts(read=reading.read, unchanged=reading.unchanged, out_of_scope=out_of_scope))
    run.summary.notes.append(
        f"{reading.read:,} records were read before the last run was cut off, since {reading.started_at}"
    )
    log.info("reconcile.resumed", since=reading.started_at, read=reading.read, complete=reading.complete)
    return reading


def read_source(run: Run, reading: Reading) -> Reading:
    """Read what is left of the source, and map its records; each page is kept together with the place it leads to."""
    if reading.complete:
        return reading
    for page, last in pages(run, reading.cursor):
        seen = [Seen(record, digest(record.raw)) for record in page.records]
        with run.looking_over(page, seen) as (step, found):
            store_sides.lay(step.tx, run.scope.connection_id, list(_rows(page, seen, found, reading)))
            reading = replace(reading.after(page, step.total), complete=last)
            place = (run.scope.connection_id, STREAM)
            checkpoints.move(step.tx, place, asdict(reading), run_id=run.summary.run, at=page.requested_at)
    return reading


def forget(run: Run) -> None:
    """The reading is over: the next one begins anew. What it has laid down is cleared away, a part at a time."""
    with run.store.write() as tx:
        run.confirm(tx)
        checkpoints.forget(tx, run.scope.connection_id, STREAM)
    cleared = _CLEARED_AT_ONCE
    while cleared == _CLEARED_AT_ONCE:
        with run.store.write() as tx:
            run.confirm(tx)
            cleared = store_sides.clear(tx, run.scope.connection_id, _CLEARED_AT_ONCE)


def _rows(page: Page, seen: Iterable[Seen], found: Readings, reading: Reading) -> Iterable[tuple[Any, ...]]:
    """The rows of a page: a state where the record can be mapped, none where it cannot or says that it is gone."""
    for record, name in seen:
        outcome = found.get(name)
        state = state_bytes(outcome.state).decode() if isinstance(outcome, Mapped) and not record.deleted else None
        readable = record.deleted or state is not None
        raw = record.raw if reading.keep_raw else None
        told = (readable, record.deleted, record.kind, record.version, page.requested_at, name, raw)
        yield (*row(record.source_id, state, state is not None, reading.currency), *told)
    for bad in page.spoiled:
        if bad.source_id is not None:
            told = (False, False, "", None, page.requested_at, digest(bad.raw), None)
            yield (*row(bad.source_id, None, False, reading.currency), *told)
