"""Redrive: look at what is parked, and send it on, or put it aside for good with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.faults import Unknown
from pipeline.replay import replay_parked
from pipeline.run import running
from pipeline.store import connections, outbox, parking, vault
from pipeline.store.parking import Entry
from pipeline.store.session import now
from pipeline.store.vault import RawRef
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

_PAGE = 500


def list_parked(
    app: App, *, connection: str | None = None, limit: int | None = None, after: int | None = None
) -> Iterator[dict[str, Any]]:
    """Open entries in the order they were parked, at most `limit` of those beyond `after`."""
    with app.store.read() as tx:
        names = {row.id: row.name for row in connections.all_of_them(tx)}
    wanted = None
    if connection is not None:
        app.settings.connection(connection)
        wanted = next((number for number, name in names.items() if name == connection), -1)
    place, left = after or 0, limit
    while left is None or left > 0:
        size = _PAGE if left is None else min(left, _PAGE)
        with app.store.read() as tx:
            entries = list(parking.listed(tx, connection_id=wanted, after=place, limit=size))
        yield from (_shown(entry, names) for entry in entries)
        if len(entries) < size:
            return
        place = entries[-1].id
        left = None if left is None else left - len(entries)


def show_parked(app: App, number: int) -> dict[str, Any]:
    """One entry with the bytes it was parked with. Raises `Unknown`."""
    with app.store.read() as tx:
        names = {row.id: row.name for row in connections.all_of_them(tx)}
        entry = _entry(parking.get(tx, number), number)
        row = entry.row
        shown = _shown(entry, names) | {
            "stage": row.stage,
            "state": row.state,
            "last_seen": row.last_seen,
            "source_version": row.version,
            "closed_at": row.closed_at,
            "closing_note": row.closing_note,
        }
        if row.mapping_id is not None:
            shown["mapping_version"] = connections.mapping(tx, row.mapping_id).version
        if row.raw_digest is not None and row.raw_block is not None and row.raw_position is not None:
            raw = vault.fetch(tx, RawRef(row.raw_digest, row.raw_block, row.raw_position))
            shown["raw"] = raw.decode("utf-8", errors="replace")
        return shown


def retry_parked(
    app: App, numbers: Sequence[int] | None, connection: str | None, *, progress: Progress = silent
) -> list[Summary]:
    """Try parked entries again, all of a connection's or those given: records through today's mapping, without a
    request to the source; refused events by reopening their lanes for the next publish. One summary a connection.
    """
    chosen = [_chosen(app, number) for number in numbers] if numbers else list(_open(app, connection))
    done = []
    for name in sorted({entry_name for entry_name, _ in chosen}):
        entries = [entry for entry_name, entry in chosen if entry_name == name]
        with running(app, name, "replay", progress=progress) as run:
            reopened = [entry for entry in entries if entry.row.stage == "event" and entry.row.state == "open"]
            with app.store.write() as tx:
                run.confirm(tx)
                for entry in reopened:
                    assert entry.row.revision is not None
                    outbox.set_parked(
                        tx, (entry.row.connection_id, entry.row.source_id, entry.row.revision), parked=False
                    )
                parking.close(tx, [entry.id for entry in reopened], "resolved", at=now(tx), note="lane reopened")
            replay_parked(run, [entry.id for entry in entries if entry.row.stage == "record"])
        done.append(run.summary)
    return done


def discard_parked(app: App, numbers: Sequence[int], *, reason: str, who: str) -> int:
    """Put entries aside for good; how many were open. A refused event is never discarded: its lane would have a hole.

    Raises `Unknown`.
    """
    with app.store.write() as tx:
        entries = [_entry(parking.get(tx, number), number) for number in numbers]
        if any(entry.row.stage == "event" for entry in entries):
            raise Unknown("an event that the ledger refused cannot be discarded: its deal's later events build on it")
        still_open = [entry.id for entry in entries if entry.row.state == "open"]
        parking.close(tx, still_open, "discarded", at=now(tx), note=f"{who}: {reason}")
    return len(still_open)


def _open(app: App, connection: str | None) -> Iterator[tuple[str, Entry]]:
    with app.store.read() as tx:
        for row in connections.all_of_them(tx):
            if connection in (None, row.name):
                for entry in parking.listed(tx, connection_id=row.id):
                    yield row.name, entry


def _chosen(app: App, number: int) -> tuple[str, Entry]:
    with app.store.read() as tx:
        entry = _entry(parking.get(tx, number), number)
        names = {row.id: row.name for row in connections.all_of_them(tx)}
    return names[entry.row.connection_id], entry


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
