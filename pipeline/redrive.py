"""Redrive: look at what is parked, and send it on, or put it aside for good with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection

from connectors.hints import Hint
from ledger import bulk
from pipeline.audit import NOBODY, Operator
from pipeline.faults import Unknown
from pipeline.listing import numbered, streamed
from pipeline.poison import POISON
from pipeline.replay import replay_parked
from pipeline.run import running
from pipeline.store import connections, held, hints, outbox, parking, vault
from pipeline.store.parking import Entry
from pipeline.store.session import now
from pipeline.store.vault import RawRef
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

_LONGEST = 200

AT_ONCE = 1000
"""So many entries are tried again at a time; somebody can wait for them: it takes a second or so."""


class Which(NamedTuple):
    """Entries that were parked for this reason, for this field; None leaves it open."""

    reason: str | None = None
    field: str | None = None

    def fits(self, entry: Entry) -> bool:
        """Whether an entry's reason and field are those asked for."""
        return self.reason in (None, entry.row.reason) and self.field in (None, entry.row.field)


def list_parked(
    app: App, *, connection: str | None = None, limit: int | None = None, after: int | None = None
) -> Iterator[dict[str, Any]]:
    """Open entries in the order they were parked, at most `limit` of those beyond `after`."""
    with app.store.read() as tx:
        names = connections.names(tx)
    for entry in _parked(app, connection, after or 0, limit):
        yield _shown(entry, names)


def show_parked(app: App, number: int) -> dict[str, Any]:
    """One entry with the bytes it was parked with. Raises `Unknown`."""
    with app.store.read() as tx:
        names = connections.names(tx)
        entry = _entry(parking.get(tx, number), number)
        row = entry.row
        until = datetime.fromisoformat(row.closed_at or now(tx))
        shown = _shown(entry, names) | {
            "stage": row.stage,
            "state": row.state,
            "age_seconds": round((until - datetime.fromisoformat(row.since)).total_seconds()),
            "last_seen": row.last_seen,
            "newer_passed": row.state == "superseded",
            "source_version": row.version,
            "closed_at": row.closed_at,
            "closing_note": row.closing_note,
        }
        if row.mapping_id is not None:
            shown["mapping_version"] = connections.mapping(tx, row.mapping_id).version
        raw = _raw(tx, entry)
        if raw is not None:
            shown["raw"] = raw.decode("utf-8", errors="replace")
        return shown


def parked_bytes(app: App, number: int) -> bytes:
    """The very bytes an entry was parked with. Raises `Unknown`, also for an entry that has none: a refused event."""
    with app.store.read() as tx:
        raw = _raw(tx, _entry(parking.get(tx, number), number))
    if raw is None:
        raise Unknown(f"entry {number} holds no bytes of the source: `dealsync parked show {number}` says what it is")
    return raw


def retry_parked(
    app: App,
    numbers: Sequence[int] | None,
    connection: str | None,
    *,
    like: Which = Which(),  # noqa: B008 - it is never changed
    operator: Operator = NOBODY,
    progress: Progress = silent,
) -> list[Summary]:
    """Try parked entries again, those given or all of a connection (of every one that is configured without) that are
    like `like`: records through today's mapping, without a request to the source; refused events by reopening their
    lanes for the next publish; what crashed whoever looked by asking to look again. One summary a connection. Raises
    `Unknown`.
    """
    if numbers:
        with app.store.read() as tx:
            chosen = _numbered(tx, numbers)
        return _tried_again(app, chosen, operator, progress)
    done = []
    for name in sorted(app.settings.connections) if connection is None else [connection]:
        parts = bulk.in_chunks(_open(app, name, like), AT_ONCE)
        if (first := next(parts, None)) is not None:
            done.append(_tried(app, name, chain([first], parts), operator, progress))
    return done


class Part(NamedTuple):
    """What became of some of the entries that were to be tried again; `after` is None where none are left beyond it."""

    summaries: list[Summary]
    after: int | None


def retry_some(app: App, connection: str | None, like: Which, after: int, operator: Operator) -> Part:
    """Try the next parked entries beyond `after` again, at most `AT_ONCE`, as `retry_parked` does: for those who wait
    for the answer, and ask again for the rest. Raises `Unknown`.
    """
    found = list(islice(_open(app, connection, like, after), AT_ONCE + 1))
    some = found[:AT_ONCE]
    more = len(found) > len(some)
    return Part(_tried_again(app, some, operator, silent), some[-1].id if more else None)


def _tried_again(app: App, chosen: Sequence[Entry], operator: Operator, progress: Progress) -> list[Summary]:
    with app.store.read() as tx:
        names = connections.names(tx)
    of_each: dict[str, list[Entry]] = {}
    for entry in chosen:
        of_each.setdefault(names[entry.row.connection_id], []).append(entry)
    return [_tried(app, name, [entries], operator, progress) for name, entries in sorted(of_each.items())]


def _tried(app: App, name: str, parts: Iterable[Sequence[Entry]], operator: Operator, progress: Progress) -> Summary:
    """Entries of one connection, a part after the other."""
    with running(app, name, "replay", progress=progress) as run:
        for some in parts:
            entries = [entry for entry in some if entry.row.state == "open"]
            closed = [f"entry {one.id} was {one.row.state} already" for one in some if one.row.state != "open"]
            run.summary.notes.extend(closed)
            with app.store.write() as tx:
                run.confirm(tx)
                _reopen(tx, run.scope.connection_id, entries)
                target = ", ".join(str(entry.id) for entry in entries)
                outcome = f"{len(entries)} tried again in run {run.summary.run}"
                operator.did(
                    tx, "parked retry", outcome=outcome, connection_id=run.scope.connection_id, target=target[:_LONGEST]
                )
            replay_parked(run, [entry.id for entry in entries if entry.row.stage == "record"])
    return run.summary


def _reopen(tx: Connection, connection_id: int, entries: Sequence[Entry]) -> None:
    """Reopen the lanes of refused events, and ask again for records that crashed whoever looked.

    An event that is held as well goes out only once its change set is released.
    """
    at = now(tx)
    events = [entry for entry in entries if entry.row.stage == "event"]
    lanes = [(connection_id, entry.row.source_id, entry.row.revision or 0) for entry in events]
    held_back = held.undecided(tx, connection_id, [source_id for _, source_id, _ in lanes])
    outbox.reopen(tx, [lane for lane in lanes if lane not in held_back])
    parking.close(tx, [entry.id for entry in events], "resolved", at=at, note="lane reopened")
    crashed = [entry for entry in entries if entry.row.stage == "record" and entry.row.reason == POISON]
    hints.want(tx, connection_id, [Hint(entry.row.source_id, entry.row.version) for entry in crashed], at)
    parking.close(tx, [entry.id for entry in crashed], "resolved", at=at, note="asked for again")


def discard_parked(app: App, numbers: Sequence[int], operator: Operator) -> int:
    """Put entries aside for good; how many were open. A refused event is never discarded: its lane would have a hole.

    Raises `Unknown`.
    """
    with app.store.write() as tx:
        entries = _numbered(tx, numbers)
        if any(entry.row.stage == "event" for entry in entries):
            raise Unknown("an event that the ledger refused cannot be discarded: its deal's later events build on it")
        still_open = [entry.id for entry in entries if entry.row.state == "open"]
        parking.close(tx, still_open, "discarded", at=now(tx), note=f"{operator.who}: {operator.why or ''}")
        for entry in entries:
            outcome = "discarded" if entry.id in still_open else f"was {entry.row.state} already"
            operator.did(
                tx, "parked discard", outcome=outcome, connection_id=entry.row.connection_id, target=str(entry.id)
            )
    return len(still_open)


def _open(app: App, connection: str | None, like: Which, after: int = 0) -> Iterator[Entry]:
    """Open entries that can be tried again: nobody says any more how to read those of a connection that is gone."""
    with app.store.read() as tx:
        known = {number for number, name in connections.names(tx).items() if name in app.settings.connections}
    found = filter(like.fits, _parked(app, connection, after, None))
    return (entry for entry in found if entry.row.connection_id in known)


def _parked(app: App, connection: str | None, after: int, limit: int | None) -> Iterator[Entry]:
    """Open entries beyond `after`, in the order they were parked. Raises `Unknown`."""
    number = numbered(app, connection)

    def page(tx: Connection, place: int, size: int) -> Iterator[Entry]:
        return parking.listed(tx, connection_id=number, after=place, limit=size)

    return streamed(app.store, page, attrgetter("id"), after=after, limit=limit)


def _numbered(tx: Connection, numbers: Sequence[int]) -> list[Entry]:
    known = parking.some(tx, numbers)
    return [_entry(known.get(number), number) for number in numbers]


def _raw(tx: Connection, entry: Entry) -> bytes | None:
    row = entry.row
    if row.raw_digest is None or row.raw_block is None or row.raw_position is None:
        return None
    return vault.fetch(tx, RawRef(row.raw_digest, row.raw_block, row.raw_position))


def _entry(entry: Entry | None, number: int) -> Entry:
    if entry is None:
        raise Unknown(f"nothing is parked under number {number}: `dealsync parked list` shows what is")
    return entry


def _shown(entry: Entry, names: dict[int, str]) -> dict[str, Any]:
    row = entry.row
    return {
        "id": entry.id,
        "connection": names[row.connection_id],
        "source_id": None if row.source_id.startswith("raw:") else row.source_id,
        "reason": row.reason,
        "field": row.field,
        "message": row.message,
        "since": row.since,
    }
