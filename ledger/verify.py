"""Verify: prove from the tables alone that nothing was changed, lost or doubled; and make the projection anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Result, Row, Select, delete, func, select, union

from ledger import statements
from ledger.admission import Refusal, derived, merged
from ledger.chain import GENESIS, event_hash, source_hash
from ledger.embedded import domain_event_id
from ledger.engine import reading
from ledger.faults import translated
from ledger.ids import deal_id
from ledger.port import LedgerFault
from ledger.rows import SOURCE, Deal, Domain, Source, projected
from ledger.tables import deals, domain_events, source_events

_WINDOW = 500
"""Rows held in memory at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`first_bad` names the first finding: `{"table", "row", "why"}`, `row` being the id of the row, where it has one.

    `events` counts the events that were checked before it. `head` is the digest of the last event, which stands for all
    of them: kept elsewhere, it shows later that none of these was lost.
    """

    ok: bool
    events: int
    deals: int
    first_bad: dict[str, str] | None
    head: str | None = None


class _Bad(Exception):
    """A row that is not as it was written."""

    def __init__(self, table: str, row: object, why: str) -> None:
        super().__init__(why)
        printable = str(row).encode(errors="replace").decode()
        self.where = {"table": table, "row": printable, "why": why}


class _Streams:
    """Queries read a window at a time, several side by side; what is left unread is closed at the end."""

    def __init__(self, tx: Connection) -> None:
        self._tx = tx
        self._results: list[Result[Any]] = []

    def of(self, query: Select[Any]) -> Iterator[Row[Any]]:
        result = self._tx.execute(query, execution_options={"stream_results": True, "yield_per": _WINDOW})
        self._results.append(result)
        return iter(result)

    def close(self) -> None:
        for result in self._results:
            result.close()


def verify(engine: Engine, org: str, expect: str | None = None) -> Verdict:
    """Check everything the ledger of an org claims (invariant 15); memory does not grow with the ledger.

    The chain of hashes over every column of source and domain events, the sequence without a gap, a source event for
    each domain event and the other way round, every key once, each domain event being what its source event says, and
    each deal being what its last event made it. The loss of the newest events together with all that depends on them
    shows only against an earlier verdict's `head`: given as `expect`, it must be the digest of an event of the chain.
    Raises a `LedgerFault` when the database cannot be read.
    """
    counted = {"events": 0, "deals": 0}
    try:
        with translated(), _snapshot(engine) as tx, closing(_Streams(tx)) as streams:
            head = _check_events(tx, streams, org, counted)
            _check_keys(tx, org)
            if expect is not None:
                _check_anchor(tx, org, expect)
            _check_deals(streams, org, counted)
    except _Bad as bad:
        return Verdict(False, counted["events"], counted["deals"], bad.where)
    return Verdict(True, counted["events"], counted["deals"], None, head)


def orgs(engine: Engine) -> list[str]:
    """Every org of which the ledger holds an event or a deal, in their order. Raises a `LedgerFault`."""
    holding = (select(table.c.org_id) for table in (source_events, domain_events, deals))
    with translated(), _snapshot(engine) as tx:
        return sorted(tx.execute(union(*holding)).scalars())


def org_of(engine: Engine, head: str) -> str | None:
    """Whose event has this digest, as an earlier verdict told it; None when nobody's has. Raises a `LedgerFault`."""
    held = select(domain_events.c.org_id).where(domain_events.c.hash == _digest(head))
    with translated(), _snapshot(engine) as tx:
        return tx.execute(held.limit(1)).scalar_one_or_none()


def rebuild(engine: Engine, org: str, *, witness: Callable[[Connection, int], None] = lambda *_: None) -> int:
    """Make the org's deals anew from its events, in one transaction; the number of deals.

    `witness` is told that number in the transaction: what it writes is committed together with the deals.
    The result is byte for byte what appending made of the same events. Raises a `LedgerFault`.
    """
    count, received = 0, source_events.c
    with translated(), engine.begin() as tx, closing(_Streams(tx)) as streams:
        statements.lock(tx, org)
        tx.execute(delete(deals).where(deals.c.org_id == org))
        query = select(received.id, received.external_id).where(received.org_id == org).order_by(received.id)
        sources = streams.of(query)
        batch: list[Deal] = []
        for event in _last_events(streams, org):
            source = next((row for row in sources if row.id == event.source_event_id), None)
            if source is None:
                raise LedgerFault(f"{event.id} has lost its source event: see `dealsync ledger verify`")
            batch.append(projected(event, source.external_id))
            if len(batch) == _WINDOW:
                statements.project(tx, batch)
                batch = []
            count += 1
        if batch:
            statements.project(tx, batch)
        witness(tx, count)
    return count


def _check_events(tx: Connection, streams: _Streams, org: str, counted: dict[str, int]) -> str:
    """Follow the chain from its first event, the source events beside it: both were given their ids in one order.

    The digest of the last one.
    """
    domain = select(domain_events).where(domain_events.c.org_id == org).order_by(domain_events.c.sequence)
    received = select(source_events).where(source_events.c.org_id == org).order_by(source_events.c.id)
    sources = (Source._make(row) for row in streams.of(received))
    previous = Domain(org, 0, "", "", "", "", "", "", b"", b"", GENESIS)
    for row in streams.of(domain):
        event = Domain._make(row)
        _check_link(event, previous)
        _check_pair(tx, event, next(sources, None))
        previous = event
        counted["events"] += 1
    if (left := next(sources, None)) is not None:
        strays = streams.of(select(domain_events.c.id).where(domain_events.c.source_event_id == left.id))
        if (stray := next(strays, None)) is not None:
            raise _Bad("ledger_domain_events", stray.id, "its org was changed")
        raise _Bad("ledger_source_events", left.id, "no domain event was made from it, or that was taken out")
    return previous.hash.hex()


def _check_link(event: Domain, previous: Domain) -> None:
    table = "ledger_domain_events"
    if event.sequence != previous.sequence + 1:
        why = f"sequence {event.sequence} follows {previous.sequence}: an event is missing or stands twice"
        raise _Bad(table, event.id, why)
    if event.prev_hash != previous.hash:
        raise _Bad(table, event.id, "prev_hash is not the hash of the event before")
    if not _holds(lambda: event.hash == event_hash(event[:-1])):
        raise _Bad(table, event.id, "a column was changed: hash is not the digest of the row")
    if event.source_event_id <= previous.source_event_id or event.id != domain_event_id(event.source_event_id):
        raise _Bad(table, event.id, "its ids do not follow those of the event before")


def _check_pair(tx: Connection, event: Domain, source: Source | None) -> None:
    table = "ledger_source_events"
    if source is None or source.id > event.source_event_id:
        raise _Bad(table, event.source_event_id, f"missing, or its id or org was changed: {event.id} was made from it")
    if source.id < event.source_event_id:
        raise _Bad(table, source.id, "no domain event was made from it")
    if not _holds(lambda: event.source_hash == source_hash(source)):
        raise _Bad(table, source.id, "a column was changed: the domain event holds another digest of the row")
    try:
        external_id, event_type, state = derived(source.raw_body)
    except Refusal as refusal:
        raise _Bad(table, source.id, f"raw_body could never have been taken: {refusal}") from None
    if source.source != SOURCE or source.external_id != external_id:
        raise _Bad(table, source.id, "its columns are not what raw_body says")
    if (event.deal_id, event.event_type) != (deal_id(event.org_id, external_id), event_type):
        raise _Bad("ledger_domain_events", event.id, "it is not what its source event says")
    if event.state != state and event.state != _over_the_one_before(tx, event, state):
        raise _Bad("ledger_domain_events", event.id, "it is not what its source event says")


def _over_the_one_before(tx: Connection, event: Domain, state: str) -> str | None:
    """What the event's state is where snapshots are merged: its own keys over those of the deal's event before."""
    column = domain_events.c
    earlier = select(column.state).where(
        column.org_id == event.org_id, column.deal_id == event.deal_id, column.sequence < event.sequence
    )
    before = tx.execute(earlier.order_by(column.sequence.desc()).limit(1)).scalar_one_or_none()
    try:
        return None if before is None else merged(before, state)
    except (Refusal, KeyError, TypeError):
        return None


def _check_anchor(tx: Connection, org: str, expect: str) -> None:
    """Look for the event that an earlier verdict ended with."""
    if expect == GENESIS.hex():
        return
    held = select(domain_events.c.id).where(domain_events.c.org_id == org, domain_events.c.hash == _digest(expect))
    if tx.execute(held.limit(1)).scalar_one_or_none() is None:
        why = f"no event has the digest {expect[:80]}: events that were there are gone, or this is another ledger"
        raise _Bad("ledger_domain_events", "", why)


def _digest(head: str) -> bytes:
    """The bytes of a digest that somebody typed; nonsense is nobody's."""
    try:
        return bytes.fromhex(head)
    except ValueError:
        return b""


def _check_keys(tx: Connection, org: str) -> None:
    """Look for a key that stands twice: the unique index forbids it, but an index can be dropped."""
    twice = (
        select(func.max(source_events.c.id)).where(source_events.c.org_id == org).group_by(source_events.c.dedup_key)
    )
    if (one := tx.execute(twice.having(func.count() > 1).limit(1)).scalar()) is not None:
        raise _Bad("ledger_source_events", one, "its dedup_key stands twice")


def _check_deals(streams: _Streams, org: str, counted: dict[str, int]) -> None:
    """Hold every deal against its last event, in the order of these."""
    query = select(deals).where(deals.c.org_id == org).order_by(deals.c.last_sequence, deals.c.id)
    listed = (Deal._make(row) for row in streams.of(query))
    for event in _last_events(streams, org):
        deal = next(listed, None)
        if deal is None or deal.last_sequence > event.sequence:
            raise _Bad("ledger_deals", event.deal_id, f"missing, or {event.id} is not in it")
        _check_deal(deal, event)
        counted["deals"] += 1
    if (left := next(listed, None)) is not None:
        raise _Bad("ledger_deals", left.id, "no event made it")


def _last_events(streams: _Streams, org: str) -> Iterator[Domain]:
    """The last event of each deal, in the order of the chain.

    Two ordered streams are merged here, not joined there: a database that misjudges their size may take for ever.
    """
    column = domain_events.c
    last = func.max(column.sequence).label("last")
    ends = streams.of(select(last).where(column.org_id == org).group_by(column.deal_id).order_by(last))
    chain = streams.of(select(domain_events).where(column.org_id == org).order_by(column.sequence))
    for (end,) in ends:
        yield next(Domain._make(row) for row in chain if row.sequence == end)


def _check_deal(deal: Deal, event: Domain) -> None:
    if not _holds(lambda: deal.id == deal_id(deal.org_id, deal.external_id)):
        raise _Bad("ledger_deals", deal.id, "id or external_id was changed")
    if deal != projected(event, deal.external_id):
        raise _Bad("ledger_deals", deal.id, f"it is not what its last event, {event.id}, made it")


def _holds(claim: Callable[[], bool]) -> bool:
    """Whether a claim about a row is true; a row that was damaged may hold what cannot even be digested."""
    try:
        return claim()
    except (TypeError, ValueError):
        return False


@contextmanager
def _snapshot(engine: Engine) -> Iterator[Connection]:
    """One view of all three tables, whoever is appending meanwhile."""
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="REPEATABLE READ") as tx, tx.begin():
            yield tx
        return
    with reading(engine) as tx:
        driver: Any = tx.connection.driver_connection
        # SQLite lets damaged text in; it must come out, so that its row can be named.
        driver.text_factory = lambda data: data.decode(errors="surrogateescape")
        try:
            yield tx
        finally:
            driver.text_factory = str
