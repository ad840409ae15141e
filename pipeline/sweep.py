"""Sweep: read a source completely, the only thing that can witness that a deal is absent."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from connectors.faults import Unintelligible
from connectors.source import Absent, Cursor, Page
from pipeline.complete import NOTHING_SHOWN, doubts_after, pages
from pipeline.refer import refresh_references
from pipeline.replay import replay_if_mapping_changed
from pipeline.run import Run, running
from pipeline.store import absences, checkpoints
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

log = structlog.get_logger()

STREAM = "sweep"
WITNESSES = 2
"""Complete sweeps in a row that must miss a deal before a get-one may prove it gone."""

UNREAD = 3
"""So many unreadable answers for single deals are borne in a sweep."""


@dataclass(frozen=True, slots=True)
class _Sweep:
    """A complete read under way, or `complete`. It may span several runs: `number` is the first one's, and counts as
    one witness.
    """

    number: int
    started_at: str
    cursor: Cursor | None
    doubts: tuple[str, ...]
    read: int
    complete: bool = False


def sweep(app: App, connection: str, *, progress: Progress = silent) -> Summary:
    """Read everything, and bury the deals that are proven gone.

    A deal gets its tombstone when two complete sweeps in a row did not show it and a get-one answers 404 or 410.
    A read that was empty, broken off or doubtful witnesses nothing. Raises as `pull` does.
    """
    with running(app, connection, "sweep", progress=progress) as run:
        refresh_references(run)
        replay_if_mapping_changed(run)
        under_way = _resume(run)
        _witness(run, _read(run, under_way))
        _bury_the_gone(run)
    return run.summary


def _read(run: Run, under_way: _Sweep) -> _Sweep:
    """Land what is left to read, each page together with the place it leads to."""
    if under_way.complete:
        return under_way
    for page, last in pages(run, under_way.cursor):
        under_way = replace(_after(under_way, page), complete=last)
        run.land(page, STREAM, sweep=under_way.number, cursor=asdict(under_way))
    return under_way


def _resume(run: Run) -> _Sweep:
    saved = run.checkpoint(STREAM)
    if saved is not None:
        return _Sweep(**{**saved, "doubts": tuple(saved["doubts"])})
    return _Sweep(run.summary.run, run.store.now(), None, (), 0)


def _after(sweep: _Sweep, page: Page) -> _Sweep:
    read = sweep.read + len(page.records) + len(page.spoiled)
    cursor = page.cursor if page.cursor is not None else sweep.cursor
    return replace(sweep, cursor=cursor, doubts=doubts_after(sweep.doubts, page), read=read)


def _witness(run: Run, sweep: _Sweep) -> None:
    """The read is complete. Where nothing speaks against it, count what it did not show."""
    doubts = list(sweep.doubts)
    if sweep.read == 0:
        doubts.append(NOTHING_SHOWN)
    run.summary.doubts = doubts
    with run.store.write() as tx:
        run.confirm(tx)
        if not doubts:
            absences.witness(tx, run.scope.connection_id, sweep.number, sweep.started_at)
        absences.forget_sightings(tx, sweep.number)
        checkpoints.forget(tx, run.scope.connection_id, STREAM)
    if doubts:
        log.warning("sweep.no_witness", doubts=doubts)


def _bury_the_gone(run: Run) -> None:
    """Ask for each deal that enough sweeps have missed; only a 404 or 410 proves that it is gone.

    An answer nobody can read keeps its own deal only; after a few of them the source itself is to blame. Where all of
    them together would be too many to delete, no tombstone leaves before that is known.
    """
    with run.store.read() as tx:
        suspects = absences.suspects(tx, run.scope.connection_id, sweeps=WITNESSES)
    run.beware(suspects)
    after, unread = "", 0
    while missed := _missed(run, after):
        after = missed[-1]
        for source_id in missed:
            try:
                answer = run.reader.one(source_id)
            except Unintelligible as fault:
                unread += 1
                if unread > UNREAD:
                    raise
                _note(run.summary.notes, f"deal {source_id} is missing, and the answer for it cannot be read: {fault}")
                continue
            if not isinstance(answer, Absent):
                run.land_found(answer)
            elif answer.proof:
                run.bury(source_id, answer.requested_at)
            else:
                _note(run.summary.notes, f"deal {source_id} is missing, but the source answers {answer.answer} for it")


def _missed(run: Run, after: str) -> list[str]:
    with run.store.read() as tx:
        return absences.candidates(tx, run.scope.connection_id, sweeps=WITNESSES, after=after, limit=500)


def _note(notes: list[Any], line: str) -> None:
    if len(notes) < 20:
        notes.append(line)
