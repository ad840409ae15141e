"""Browse: deals as the projection has them, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from deals.identity import decode_json
from deals.state import STANDARD
from pipeline.faults import Unknown
from pipeline.listing import streamed
from pipeline.store import projection
from pipeline.store.connections import names
from pipeline.store.joins import same_event
from pipeline.store.tables import connections, deals, events, receipts
from pipeline.wiring import App


def list_deals(
    app: App, *, connection: str | None = None, limit: int | None = None, after: str | None = None
) -> Iterator[dict[str, Any]]:
    """Deals in the order of their external ids' (connection, source id), at most `limit` of those beyond `after`.

    Read a page at a time: constant memory, and no long transaction. Raises `Unknown` for a connection never used.
    """
    if connection is not None:
        app.settings.connection(connection)
    place = _place(app, after) if after else ("", "")

    def page(tx: Connection, place: tuple[str, str], size: int) -> list[_Row]:
        return _page(tx, connection, place, size)

    yield from map(_shown, streamed(app.store, page, attrgetter("name", "source_id"), after=place, limit=limit))


def show_deal(app: App, external_id: str) -> dict[str, Any]:
    """One deal with its history. Raises `Unknown`."""
    connection_id, source_id = find(app, external_id)
    with app.store.read() as tx:
        row = tx.execute(_deals().where(deals.c.connection_id == connection_id, deals.c.source_id == source_id)).one()
        return {**_shown(_Row(*row)), "history": _history(tx, connection_id, source_id)}


def find(app: App, external_id: str) -> tuple[int, str]:
    """The connection's number and the source id of a deal, by its external id or by `connection:source id`.

    Raises `Unknown`.
    """
    with app.store.read() as tx:
        for name, settings in app.settings.connections.items():
            for prefix in {name, settings.external_id_prefix or name}:
                if external_id.startswith(f"{prefix}:"):
                    source_id = external_id[len(prefix) + 1 :]
                    row = tx.execute(_found_by(name, source_id)).one_or_none()
                    if row is not None:
                        return row[0], row[1]
    raise Unknown(
        f"there is no deal {external_id!r}: `dealsync deals list` shows them, `parked list` what is held back"
    )


def _found_by(name: str, source_id: str) -> Any:
    of_connection = select(deals.c.connection_id, deals.c.source_id).join(
        connections, connections.c.id == deals.c.connection_id
    )
    return of_connection.where(connections.c.name == name, deals.c.source_id == source_id)


class _Row(NamedTuple):
    name: str
    source_id: str
    revision: int
    deleted: bool
    external_id: str
    state: str


def _deals() -> Any:
    columns = (connections.c.name, deals.c.source_id, deals.c.revision, deals.c.deleted)
    found = select(*columns, events.c.external_id, events.c.state).join(events, projection.head())
    return found.join(connections, connections.c.id == deals.c.connection_id)


def _page(tx: Connection, connection: str | None, place: tuple[str, str], size: int) -> list[_Row]:
    """One connection after the other: each part is read along the index, however many deals there are."""
    name, source_id = place
    chosen = sorted((one, number) for number, one in names(tx).items() if connection in (None, one) and one >= name)
    rows: list[_Row] = []
    for one, number in chosen:
        beyond = deals.c.source_id > (source_id if one == name else "")
        found = _deals().where(deals.c.connection_id == number, beyond).order_by(deals.c.source_id)
        rows += [_Row(*row) for row in tx.execute(found.limit(size - len(rows)))]
        if len(rows) == size:
            break
    return rows


def _place(app: App, external_id: str) -> tuple[str, str]:
    connection_id, source_id = find(app, external_id)
    with app.store.read() as tx:
        return tx.execute(select(connections.c.name).where(connections.c.id == connection_id)).scalar_one(), source_id


def _shown(row: _Row) -> dict[str, Any]:
    return {
        "external_id": row.external_id,
        "connection": row.name,
        "source_id": row.source_id,
        "revision": row.revision,
        "deleted": row.deleted,
        "state": shown_state(row.state),
    }


def shown_state(state: str) -> dict[str, Any]:
    """A state as it is shown: the standard fields first."""
    values = decode_json(state)
    return {name: values[name] for name in STANDARD} | {k: v for k, v in values.items() if k not in STANDARD}


def _history(tx: Connection, connection_id: int, source_id: str) -> list[dict[str, Any]]:
    found = (
        select(events, receipts.c.outcome, receipts.c.domain_event_id, receipts.c.settled_at)
        .outerjoin(receipts, same_event(receipts, events))
        .where(events.c.connection_id == connection_id, events.c.source_id == source_id)
    )
    return [
        {
            "revision": row["revision"],
            "event_type": row["event_type"],
            "cause": row["cause"],
            "dedup_key": row["dedup_key"],
            "recorded_at": row["recorded_at"],
            "source_version": row["version"],
            "run": row["run_id"],
            "raw_digest": row["raw_digest"].hex(),
            "receipt": row["outcome"],
            "domain_event_id": row["domain_event_id"],
            "settled_at": row["settled_at"],
            "state": shown_state(row["state"]),
        }
        for row in tx.execute(found.order_by(events.c.revision)).mappings()
    ]
