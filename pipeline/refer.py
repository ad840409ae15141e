"""Refer: keep the reference data that the mapping looks things up in, and map deals again when it has changed."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from pipeline.replay import replay_deals, replay_parked
from pipeline.run import Run
from pipeline.store import references
from pipeline.store.references import ReadRow

log = structlog.get_logger()

SOON = timedelta(hours=1)
"""When a deal has asked for an entry that was not there, the source is asked again, but not for every such deal."""


def refresh_references(run: Run) -> None:
    """Read again what has become too old; where anything changed, map the connection's deals again.

    A death in between costs nothing: what changed stays marked until all deals have been mapped with it.
    """
    changed = read_references(run)
    if not changed:
        return
    before = run.summary.read
    replay_deals(run, again=True)
    replay_parked(run)
    with run.store.write() as tx:
        run.confirm(tx)
        for name in changed:
            references.note(tx, _row(run, name)._replace(changed=False))
    if run.summary.read > before:
        run.summary.notes.append(f"{' and '.join(changed)} changed: deals were mapped again from the vault")


def read_references(run: Run) -> list[str]:
    """Read again what has become too old, and map nothing; the names of those that deals have yet to be mapped with."""
    return [name for name in sorted(run.scope.mapper.references) if _refreshed(run, name).changed]


def _refreshed(run: Run, name: str) -> ReadRow:
    row = _row(run, name)
    if not _is_due(run, row):
        return row
    count = 0
    for entries in run.reader.reference(name):
        count += len(entries)
        with run.store.write() as tx:
            run.confirm(tx)
            if references.keep(tx, run.scope.connection_id, name, entries) and not row.changed:
                row = row._replace(changed=True)
                references.note(tx, row)
    row = row._replace(read_at=run.store.now(), missing=False)
    with run.store.write() as tx:
        run.confirm(tx)
        references.note(tx, row)
    log.info("reference.read", name=name, entries=count, changed=row.changed)
    return row


def _row(run: Run, name: str) -> ReadRow:
    with run.store.read() as tx:
        return references.last_read(tx, run.scope.connection_id, name)


def _is_due(run: Run, row: ReadRow) -> bool:
    if row.read_at is None:
        return True
    age = datetime.fromisoformat(run.store.now()) - datetime.fromisoformat(row.read_at)
    refresh = run.connected.settings.options.reference_refresh
    return age >= (min(SOON, refresh) if row.missing else refresh)
