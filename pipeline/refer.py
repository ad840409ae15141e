"""Refer: keep the reference data that the mapping looks things up in, and map deals again when it has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import Connection

from connectors.faults import Denied
from connectors.source import Entry
from deals.identity import canonical
from mappings.owners import email_of
from mappings.references import USERS
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


def read_references(run: Run, *, whole: bool = False) -> list[str]:
    """Read again what has become too old, and map nothing; the names of those that deals have yet to be mapped with.

    What the source does not let us have (403) is gone without: the entries known stay as they are, the run's summary
    says what it lacks, and the next run asks again. Where the `whole` is needed, `Denied` is raised instead.
    """
    wanted = run.scope.mapper.references
    _forgive(run, wanted)
    return [name for name in sorted(wanted) if _refreshed(run, name, whole).changed]


def lack(name: str, why: str) -> str:
    """A line for people about reference data that the source refuses to show."""
    return f"{name} cannot be read, so what is looked up there stays as it was last known: {why}"


def lacks(tx: Connection) -> dict[int, list[str]]:
    """A line for each kind of reference data that a source refuses to show, by the connection's number."""
    return {number: [lack(*one) for one in refused] for number, refused in references.refusals(tx).items()}


def _refreshed(run: Run, name: str, whole: bool) -> ReadRow:
    row = _row(run, name)
    if not _is_due(run, row):
        return row
    try:
        return _read(run, row)
    except Denied as fault:
        if whole:
            raise
        row = _row(run, name)._replace(refused=str(fault))
        with run.store.write() as tx:
            run.confirm(tx)
            references.note(tx, row)
        run.summary.lacks.append(lack(name, str(fault)))
        log.warning("reference.refused", name=name, reason=str(fault))
        return row


def _read(run: Run, row: ReadRow) -> ReadRow:
    name, count = row.name, 0
    before = _users(run) if name == USERS else {}
    shown: dict[str, None] = {}
    for entries in run.reader.reference(name):
        count += len(entries)
        shown |= dict.fromkeys(entry.key for entry in entries if name == USERS)
        row = _kept(run, row, entries)
    if sum(key in shown for key in before) * 2 > len(before):  # else it is another list, or a part of it
        row = _kept(run, row, _without_address(_users(run), shown.keys()))
    row = row._replace(read_at=run.store.now(), missing=False, refused=None)
    with run.store.write() as tx:
        run.confirm(tx)
        references.note(tx, row)
    log.info("reference.read", name=name, entries=count, changed=row.changed)
    return row


def _kept(run: Run, row: ReadRow, entries: Sequence[Entry]) -> ReadRow:
    with run.store.write() as tx:
        run.confirm(tx)
        if references.keep(tx, run.scope.connection_id, row.name, entries) and not row.changed:
            row = row._replace(changed=True)
            references.note(tx, row)
    return row


def _users(run: Run) -> dict[str, dict[str, Any]]:
    with run.store.read() as tx:
        return references.everything(tx, run.scope.connection_id, USERS)


def _without_address(known: Mapping[str, Mapping[str, Any]], shown: Set[str]) -> list[Entry]:
    """The users who have left and whose address somebody else has now: it names that person, and them no longer."""
    taken = {email_of(known[key]) for key in shown} - {None}
    gone = [(key, user) for key, user in known.items() if key not in shown and email_of(user) in taken]
    return [Entry(key, canonical({**user, "email": None})) for key, user in gone]


def _row(run: Run, name: str) -> ReadRow:
    with run.store.read() as tx:
        return references.last_read(tx, run.scope.connection_id, name)


def _forgive(run: Run, wanted: frozenset[str]) -> None:
    """What no rule looks up any more is not lacking."""
    with run.store.read() as tx:
        refused = [name for name, _ in references.refusals(tx).get(run.scope.connection_id, ()) if name not in wanted]
    for name in refused:
        with run.store.write() as tx:
            run.confirm(tx)
            references.note(tx, _row(run, name)._replace(refused=None))


def _is_due(run: Run, row: ReadRow) -> bool:
    if row.read_at is None or row.refused is not None:
        return True
    age = datetime.fromisoformat(run.store.now()) - datetime.fromisoformat(row.read_at)
    refresh = run.connected.settings.options.reference_refresh
    return age >= (min(SOON, refresh) if row.missing else refresh)
