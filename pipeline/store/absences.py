"""Absences: which deals complete sweeps did not show, and what the sweep under way has seen."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, Select, column, delete, exists, func, insert, select, table, text

from ledger import bulk
from pipeline.store.tables import absences, deals, parked, sightings

_seen = table("seen", column("source_id"))

_UNFOLD = {
    "sqlite": (
        "CREATE TEMP TABLE seen (source_id text PRIMARY KEY)",
        "INSERT OR IGNORE INTO seen "
        "SELECT one.value FROM sightings JOIN json_each(sightings.ids) AS one WHERE sightings.run_id = :run",
    ),
    "postgresql": (  # it hashes what was seen; an index would take five times as long to make
        "CREATE TEMP TABLE seen (source_id text)",
        "INSERT INTO seen "
        "SELECT json_array_elements_text(sightings.ids::json) FROM sightings WHERE sightings.run_id = :run",
    ),
}


def saw(tx: Connection, run_id: int, source_ids: Sequence[str]) -> None:
    """The sweep has seen these records: one row a page, since it is only at the end that anybody looks at them."""
    if source_ids:
        tx.execute(insert(sightings).values(run_id=run_id, ids=json.dumps(source_ids)))


def any_at_all(tx: Connection, connection_id: int) -> bool:
    """Whether any deal of the connection is missed at present."""
    return bool(tx.execute(select(exists().where(absences.c.connection_id == connection_id))).scalar_one())


def here_again(tx: Connection, connection_id: int, source_ids: Sequence[str]) -> None:
    """These deals were seen: earlier absences count no longer."""
    gone = delete(absences).where(absences.c.connection_id == connection_id)
    tx.execute(gone.where(bulk.among(tx, absences.c.source_id, source_ids)))


def witness(tx: Connection, connection_id: int, run_id: int, started_at: str) -> None:
    """A complete sweep has ended: each living deal it did not show, and that nobody saw since, is absent once more.

    So is what is parked of deals that do not live. Those that it did show are absent no longer.
    """
    with _unfolded(tx, run_id):
        for missed in (_deals_missed, _parked_missed):
            after = ""
            while found := list(tx.execute(missed(connection_id, started_at, after)).scalars()):
                after = found[-1]
                rows = [(connection_id, source_id, 1, run_id) for source_id in found]
                bulk.upsert(tx, absences, rows, add=("sweeps",))
    seen_again = absences.c.connection_id == connection_id, absences.c.last_run != run_id
    tx.execute(delete(absences).where(*seen_again))


@contextmanager
def _unfolded(tx: Connection, run_id: int) -> Iterator[None]:
    """What the sweep has seen as a temporary table of ids, for as long as it is asked."""
    make, fill = _UNFOLD[tx.dialect.name]
    tx.execute(text(make))
    tx.execute(text(fill), {"run": run_id})
    yield
    tx.execute(text("DROP TABLE seen"))  # where the transaction fails it goes with it


def _deals_missed(connection_id: int, started_at: str, after: str) -> Select[str]:
    seen = exists().where(_seen.c.source_id == deals.c.source_id)
    missed = select(deals.c.source_id).where(
        deals.c.connection_id == connection_id,
        deals.c.source_id > after,
        deals.c.deleted.is_(False),
        deals.c.observed_at < started_at,
        ~seen,
    )
    return missed.order_by(deals.c.source_id).limit(5000)


def _parked_missed(connection_id: int, started_at: str, after: str) -> Select[str]:
    """Records held back that have no living deal; those without an id can be missed by nobody."""
    seen = exists().where(_seen.c.source_id == parked.c.source_id)
    lives = exists().where(
        deals.c.connection_id == connection_id, deals.c.source_id == parked.c.source_id, deals.c.deleted.is_(False)
    )
    missed = select(parked.c.source_id).where(
        parked.c.connection_id == connection_id,
        parked.c.source_id > after,
        parked.c.source_id.not_like("raw:%"),
        parked.c.stage == "record",
        parked.c.state == "open",
        parked.c.last_seen < started_at,
        ~seen,
        ~lives,
    )
    return missed.order_by(parked.c.source_id).limit(5000)


def candidates(tx: Connection, connection_id: int, *, sweeps: int, after: str, limit: int) -> list[str]:
    """Deals, living or held back, that at least this many complete sweeps in a row did not show."""
    found = select(absences.c.source_id).where(
        absences.c.connection_id == connection_id, absences.c.sweeps >= sweeps, absences.c.source_id > after
    )
    return list(tx.execute(found.order_by(absences.c.source_id).limit(limit)).scalars())


def suspects(tx: Connection, connection_id: int, *, sweeps: int) -> int:
    """How many living deals at least so many complete sweeps in a row did not show."""
    alive = exists().where(
        deals.c.connection_id == connection_id, deals.c.source_id == absences.c.source_id, deals.c.deleted.is_(False)
    )
    found = select(func.count()).select_from(absences)
    found = found.where(absences.c.connection_id == connection_id, absences.c.sweeps >= sweeps, alive)
    return int(tx.execute(found).scalar_one())


def forget_sightings(tx: Connection, run_id: int) -> None:
    """The sweep is over; what it saw is no longer needed."""
    tx.execute(delete(sightings).where(sightings.c.run_id == run_id))
