"""Absences: which deals complete sweeps did not show, and what the sweep under way has seen."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, exists, func, select

from pipeline.store import bulk
from pipeline.store.tables import absences, deals, parked, sightings


def saw(tx: Connection, run_id: int, source_ids: Sequence[str]) -> None:
    """The sweep has seen these records."""
    bulk.insert(tx, sightings, [(run_id, source_id) for source_id in source_ids])


def any_at_all(tx: Connection, connection_id: int) -> bool:
    """Whether any deal of the connection is missed at present."""
    return bool(tx.execute(select(exists().where(absences.c.connection_id == connection_id))).scalar_one())


def here_again(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> None:
    """These deals were seen: earlier absences count no longer."""
    gone = delete(absences).where(absences.c.connection_id == connection_id)
    tx.execute(gone.where(bulk.among(tx, absences.c.source_id, source_ids)))


def witness(tx: Connection, connection_id: int, run_id: int, started_at: str) -> None:
    """A complete sweep has ended: each living deal it did not show, and that nobody saw since, is absent once more.

    So is what is parked of deals that do not live. A sweep that was cut off and resumed counts once: `last_run` says
    who counted.
    """
    of_connection = absences.c.connection_id == connection_id
    columns = ["connection_id", "source_id", "sweeps", "last_run"]
    for missed in (_deals_missed(connection_id, run_id, started_at), _parked_missed(connection_id, run_id, started_at)):
        tx.execute(
            absences.update()
            .where(of_connection, absences.c.last_run != run_id, absences.c.source_id.in_(missed))
            .values(sweeps=absences.c.sweeps + 1, last_run=run_id)
        )
        counted = select(absences.c.source_id).where(of_connection)
        first = missed.with_only_columns(
            literal(connection_id), missed.selected_columns[0], literal(1), literal(run_id)
        )
        first = first.where(missed.selected_columns[0].not_in(counted))
        tx.execute(insert(absences).from_select(columns, first))
    tx.execute(delete(absences).where(of_connection, absences.c.last_run != run_id))


def _deals_missed(connection_id: int, run_id: int, started_at: str) -> Select[tuple[str]]:
    seen = exists().where(sightings.c.run_id == run_id, sightings.c.source_id == deals.c.source_id)
    living = (deals.c.connection_id == connection_id, deals.c.deleted.is_(False))
    return select(deals.c.source_id).where(*living, deals.c.observed_at < started_at, ~seen)


def _parked_missed(connection_id: int, run_id: int, started_at: str) -> Select[tuple[str]]:
    """Records held back that have no living deal; those without an id can be missed by nobody."""
    seen = exists().where(sightings.c.run_id == run_id, sightings.c.source_id == parked.c.source_id)
    lives = exists().where(
        deals.c.connection_id == connection_id, deals.c.source_id == parked.c.source_id, deals.c.deleted.is_(False)
    )
    held = (parked.c.connection_id == connection_id, parked.c.stage == "record", parked.c.state == "open")
    named = parked.c.source_id.not_like("raw:%")
    return select(parked.c.source_id).where(*held, named, parked.c.last_seen < started_at, ~seen, ~lives)


def candidates(tx: Connection, connection_id: int, *, sweeps: int, after: str, limit: int) -> list[str]:
    """Deals, living or held back, that at least this many complete sweeps in a row did not show."""
    found = select(absences.c.source_id).where(
        absences.c.connection_id == connection_id, absences.c.sweeps >= sweeps, absences.c.source_id > after
    )
    return list(tx.execute(found.order_by(absences.c.source_id).limit(limit)).scalars())


def count(tx: Connection, connection_id: int) -> int:
    """How many deals are missed at present."""
    missed = select(func.count()).select_from(absences).where(absences.c.connection_id == connection_id)
    return int(tx.execute(missed).scalar_one())


def forget_sightings(tx: Connection, run_id: int) -> None:
    """The sweep is over; what it saw is no longer needed."""
    tx.execute(delete(sightings).where(sightings.c.run_id == run_id))
