"""Invariants: what must hold in production, each checked by a query over the tables (docs/invariants.md)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Connection, exists, func, select, text

from deals.events import EventType
from deals.identity import canonical, decode_json
from deals.state import STANDARD
from ledger import bulk
from ledger.port import LedgerDeal, LedgerFault
from pipeline.renamed import told_under_two_names
from pipeline.store import connections, incidents, outbox, projection
from pipeline.store.held import DISCARDED
from pipeline.store.joins import same_deal
from pipeline.store.session import now
from pipeline.store.tables import deals, events, receipts
from pipeline.store.tables import outbox as outbox_table
from pipeline.wiring import App

_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Check:
    """One invariant and whether it holds; `message` says what was counted, or the first row that breaks it."""

    name: str
    ok: bool
    message: str


def doctor(app: App) -> list[Check]:
    """Every invariant that production data can be asked about."""
    found = [_asked(app, name, question) for name, question in _QUESTIONS.items()]
    renamed = _asked(
        app, "7 a deal is told of by one connection", partial(told_under_two_names, app.settings.connections)
    )
    return [*found, renamed, projection_is_ledger(app)]


def projection_is_ledger(app: App) -> Check:
    """Invariant 7: what we believe of each deal is what the ledger would pay on, in every field.

    Streams the ledger and looks our states up a batch at a time, each under the id that it was told by. Deals whose
    events wait, or reached the ledger while it was listed, are left out; deleted ones need not be listed. A deal that
    the ledger lacks is told of when nothing else moves, and never one that it has.
    """
    name, seen = "7 projection = ledger", 0
    with app.store.read() as tx:
        began, prefixes = now(tx), _prefixes(tx, app.settings.connections)
    try:
        for batch in bulk.in_chunks(app.ledger.deals(), _BATCH):
            ours = _ours(app, [deal.external_id for deal in batch], prefixes, began)
            for deal in batch:
                head = ours.get(deal.external_id)
                if head is None:
                    continue
                seen += not head.deleted
                if canonical(decode_json(head.state)) != canonical(_flat(deal)):
                    return Check(name, False, f"{deal.external_id}: the ledger holds another state than the projection")
    except LedgerFault as fault:
        return Check(name, False, f"the ledger could not be read: {fault}")
    with app.store.read() as tx:
        alive = select(func.count()).select_from(deals).where(deals.c.deleted.is_(False), _settled(began))
        settled = tx.execute(alive.where(deals.c.connection_id.in_(prefixes))).scalar_one()
    if settled > seen:
        return Check(name, False, f"{settled} deals should be in the ledger, {seen} are")
    return Check(name, True, f"{seen} deals agree in every field")


def _prefixes(tx: Connection, configured: Container[str]) -> dict[int, set[str]]:
    """What the ids begin with by which each connection has told of its deals, whatever its settings say by now.

    Of several connections that have told of the same ids, those that are configured count, or else the latest one: it
    has taken over from the others.
    """
    prefix = func.substr(events.c.external_id, 1, func.length(events.c.external_id) - func.length(events.c.source_id))
    told: dict[int, set[str]] = {}
    for number, one in tx.execute(select(events.c.connection_id, prefix).distinct()):
        told.setdefault(number, set()).add(one)
    latest = sorted(connections.names(tx).items(), reverse=True)
    found = {number: told[number] for number, name in latest if name in configured and number in told}
    for number, name in latest:
        if name not in configured and number in told and told[number].isdisjoint(set().union(*found.values())):
            found[number] = told[number]
    return found


class _Head(NamedTuple):
    """A deal as it was last told of."""

    external_id: str
    state: str
    deleted: bool


def _ours(app: App, external_ids: list[str], prefixes: Mapping[int, Collection[str]], began: str) -> dict[str, _Head]:
    """Those deals among these whose events had all reached the ledger when it began to be listed."""
    by_connection: dict[int, list[str]] = {}
    for external_id in external_ids:
        for number, mine in prefixes.items():
            for prefix in mine:
                if external_id.startswith(prefix):
                    by_connection.setdefault(number, []).append(external_id[len(prefix) :])
    found: dict[str, _Head] = {}
    with app.store.read() as tx:
        for number, source_ids in by_connection.items():
            heads = select(events.c.external_id, events.c.state, deals.c.deleted).join(deals, projection.head())
            among = bulk.among(tx, deals.c.source_id, source_ids)
            for row in tx.execute(heads.where(deals.c.connection_id == number, among, _settled(began))):
                found[row.external_id] = _Head._make(row)
    return found


def _flat(deal: LedgerDeal) -> dict[str, Any]:
    """A deal's state as we sent it: the ledger moves the custom keys under `custom`."""
    standard = {name: deal.state.get(name) for name in STANDARD}
    return {**deal.state.get("custom", {}), **standard}


def _settled(began: str) -> Any:
    """Nothing of a deal waits for the ledger, and nothing of it has come there since it began to be listed."""
    waits, moved = (exists().where(same_deal(table, deals)) for table in (outbox_table, receipts))
    return ~waits & ~moved.where(receipts.c.revision == deals.c.revision, receipts.c.settled_at >= began)


def _asked(app: App, name: str, question: Callable[[Connection], Iterator[str]]) -> Check:
    with app.store.read() as tx:
        broken = next(question(tx), None)
    return Check(name, broken is None, broken or "holds")


def _revisions_without_hole(tx: Connection) -> Iterator[str]:
    holes = (
        select(events.c.source_id, func.count(), func.max(events.c.revision))
        .group_by(events.c.connection_id, events.c.source_id)
        .having((func.count() != func.max(events.c.revision)) | (func.min(events.c.revision) != 1))
    )
    for source_id, count, last in tx.execute(holes.limit(1)):
        yield f"deal {source_id} has {count} events, the last of them revision {last}"
    behind = select(deals.c.source_id).outerjoin(events, projection.head()).where(events.c.revision.is_(None))
    for (source_id,) in tx.execute(behind.limit(1)):
        yield f"deal {source_id} is projected at a revision that has no event"


def _sent_in_order(tx: Connection) -> Iterator[str]:
    earlier = receipts.alias("later_receipt")
    overtaken = select(outbox_table.c.source_id, outbox_table.c.revision).where(
        exists().where(
            same_deal(earlier, outbox_table),
            earlier.c.revision > outbox_table.c.revision,
            earlier.c.outcome != DISCARDED,
        )
    )
    for source_id, revision in tx.execute(overtaken.limit(1)):
        yield f"deal {source_id}: revision {revision} still waits although a later one is in the ledger"


def _nothing_forgotten(tx: Connection) -> Iterator[str]:
    """Every event is either waiting or has a receipt, never both and never neither."""
    total = tx.execute(select(func.count()).select_from(events)).scalar_one()
    waiting = sum(outbox.waiting(tx).values())
    settled = tx.execute(select(func.count()).select_from(receipts)).scalar_one()
    if total != waiting + settled:
        yield f"{total} events, but {waiting} waiting and {settled} settled"


def _receipts_are_ours(tx: Connection) -> Iterator[str]:
    for number, row in incidents.listed(tx, state=incidents.OPEN, after=0, limit=None):
        yield (
            f"{row.events:,} events {incidents.MEANINGS[row.outcome]}; the latest is of deal {row.source_id}, held as "
            f"{row.domain_event_id}. Compare store and ledger before publishing, then "
            f"`dealsync incidents acknowledge {number} --reason WHY`"
        )


def _told_by_one_id(tx: Connection) -> Iterator[str]:
    """A deal whose prefix was changed half way is in the ledger twice, as long as nobody has deleted the former."""
    former = events.alias("former")
    later_told = former.alias("later_told")
    over = exists().where(
        same_deal(later_told, former),
        later_told.c.external_id == former.c.external_id,
        later_told.c.revision > former.c.revision,
    )
    twice = (
        select(former.c.source_id, former.c.external_id, events.c.external_id)
        .join_from(deals, events, projection.head())
        .join(former, same_deal(former, deals))
        .where(former.c.external_id != events.c.external_id, former.c.event_type != EventType.DELETE, ~over)
    )
    for source_id, before, after in tx.execute(twice.limit(1)):
        yield (
            f"deal {source_id} is in the ledger as {before} and as {after}, and is paid on as both: put "
            "external_id_prefix back to what it was, and have one of the two deleted in the ledger"
        )


def _newer_stays(tx: Connection) -> Iterator[str]:
    overwritten = text(
        "SELECT source_id, revision FROM (SELECT source_id, revision, version, cause, lag(version) OVER "
        "(PARTITION BY connection_id, source_id ORDER BY revision) AS before FROM events) AS steps "
        "WHERE before > version AND cause IN ('source_change', 'backfill') LIMIT 1"
    )
    for source_id, revision in tx.execute(overwritten):
        yield f"deal {source_id}: revision {revision} shows an older version of the record than the one before it"


def _runs_conserve(tx: Connection) -> Iterator[str]:
    lossy = text('SELECT id FROM runs WHERE "read" <> applied + unchanged + superseded + parked + out_of_scope LIMIT 1')
    for (run,) in tx.execute(lossy):
        yield f"run {run}: the records read are not the sum of what became of them"


_QUESTIONS: dict[str, Callable[[Connection], Iterator[str]]] = {
    "4 a key is used once, every event waits or has a receipt": _nothing_forgotten,
    "4 what the ledger had already, we had sent": _receipts_are_ours,
    "5 revisions are 1..n without a hole": _revisions_without_hole,
    "5 revisions reach the ledger in order": _sent_in_order,
    "6 an older version never overwrites a newer one": _newer_stays,
    "7 a deal is in the ledger under one id": _told_by_one_id,
    "9 read = applied + unchanged + superseded + parked + out of scope": _runs_conserve,
}
