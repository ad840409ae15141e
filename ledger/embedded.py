"""The embedded ledger: append-only tables in a database, one transaction a batch, every event chained to the last."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
from sqlalchemy import Connection, Engine, Row, func, select

from deals.events import Event
from deals.identity import decode_json
from ledger import statements
from ledger.admission import Admitted, Batch, Once, merged, same_payload
from ledger.chain import GENESIS, event_hash, source_hash
from ledger.choices import CONTRACT, Choices
from ledger.engine import reading
from ledger.faults import translated
from ledger.ids import deal_id, ulids
from ledger.port import Answer, LedgerDeal, LedgerEvent, LedgerRefused, Receipt
from ledger.rows import SOURCE, Deal, Domain, Source, projected
from ledger.schema import ready
from ledger.statements import Holders
from ledger.tables import deals, domain_events, source_events

ORG = "org_default"
"""The org of the ledger that comes with the store."""

_PAGE = 1000
_SRC = "src_api_"


class EmbeddedLedger:
    """The ledger of one org in a database of ours; see contracts/openquota.md section 10 for what it keeps.

    The engine (see `ledger.engine.connect`) stays the caller's. `now` gives the time of receipt, ISO 8601 UTC with
    milliseconds; the ledger never lets it run backwards. May be used by any number of threads and processes at once.
    """

    def __init__(self, engine: Engine, *, org: str = ORG, now: Callable[[], str], choices: Choices = CONTRACT) -> None:
        self._engine = engine
        self._org = org
        self._now = now
        self._choices = choices

    def append(self, events: Sequence[Event]) -> list[Answer]:
        """Append a batch in one transaction; see `ledger.port.Ledger.append`.

        Raises `LedgerUnavailable` when the database cannot be used: nothing is known to be in then, and the same batch
        may be sent again.
        """
        batch = Batch(events)
        return batch.answers(self.take(batch.admitted))

    def take(self, events: Sequence[Admitted]) -> list[Receipt]:
        """Append events that were admitted already; raises what `append` raises."""
        now = self._now()  # before there is a transaction: the caller's clock may need a connection of its own
        with translated(), self._engine.begin() as tx:
            return self._taken(tx, events, now)

    def take_within(self, tx: Connection, events: Sequence[Admitted]) -> list[Receipt]:
        """The same in a transaction of the caller's that may write; nothing is in before it is committed."""
        return self._taken(tx, events, self._now())

    def deals(self) -> Iterator[LedgerDeal]:
        """Every deal, streamed by id a page at a time: no transaction is held open while the caller works."""
        after = ""
        while True:
            query = select(deals).where(deals.c.org_id == self._org, deals.c.id > after).order_by(deals.c.id)
            with translated(), reading(self._engine) as tx:
                page = tx.execute(query.limit(_PAGE)).all()
            yield from map(_listed, page)
            if len(page) < _PAGE:
                return
            after = page[-1].id

    def newest(self, limit: int, offset: int) -> list[LedgerDeal]:
        """A page of deals, the latest changed first, also within one millisecond (contracts/openquota.md section 4)."""
        query = select(deals).where(deals.c.org_id == self._org).order_by(deals.c.last_sequence.desc())
        if self._choices.hide_deleted:
            query = query.where(deals.c.deleted_at.is_(None))
        with translated(), reading(self._engine) as tx:
            return [_listed(row) for row in tx.execute(query.limit(limit).offset(offset))]

    def history(self, external_id: str, limit: int, after: int) -> list[LedgerEvent]:
        """A deal's events in their order, at most `limit` after the one with the sequence `after`."""
        domain, source = domain_events.c, source_events.c
        mine = domain.org_id == self._org, domain.deal_id == deal_id(self._org, external_id), domain.sequence > after
        query = select(domain_events, source.dedup_key).join(source_events, source.id == domain.source_event_id)
        with translated(), reading(self._engine) as tx:
            return [_kept(row) for row in tx.execute(query.where(*mine).order_by(domain.sequence).limit(limit))]

    def check(self) -> str:
        """One line that says which ledger this is. Raises a `LedgerFault` when its database cannot be used."""
        with translated():
            if not ready(self._engine):
                raise LedgerRefused(
                    "the ledger's tables are missing or older than this version: run `dealsync migrate`"
                )
            with reading(self._engine) as tx:
                events = tx.execute(
                    select(func.max(domain_events.c.sequence)).where(domain_events.c.org_id == self._org)
                ).scalar()
        return f"embedded ledger ({self._engine.dialect.name}), {self._org}, {events or 0} events"

    def close(self) -> None:
        """Nothing to give back: the engine is the caller's."""

    def _taken(self, tx: Connection, events: Sequence[Admitted], now: str) -> list[Receipt]:
        once = Once(events)
        return once.receipts(self._write(tx, once.fresh, now) if once.fresh else [])

    def _write(self, tx: Connection, fresh: Sequence[Admitted], now: str) -> list[Receipt]:
        holders, head = statements.look(tx, self._org, [event.dedup_key for event in fresh])
        receipts = self._absorbed(fresh, holders) if holders else {}
        new = [event for event in fresh if event.dedup_key not in receipts]
        if new:
            receipts |= self._record(tx, new, head or _BEFORE_ALL._replace(org_id=self._org), now)
        return [receipts[event.dedup_key] for event in fresh]

    def _absorbed(self, fresh: Sequence[Admitted], holders: Holders) -> dict[str, Receipt]:
        """Answers for the events whose key was there before: nothing is written for them."""
        receipts = {}
        for event in fresh:
            if event.dedup_key in holders:
                first_id, external_id, raw = holders[event.dedup_key]
                receipts[event.dedup_key] = Receipt(
                    outcome="already_there",
                    source_event_id=first_id,
                    domain_event_id=domain_event_id(first_id),
                    deal_id=deal_id(self._org, external_id),
                    conflict=not same_payload(raw, event.raw),
                )
        return receipts

    def _merged(self, tx: Connection, new: Sequence[Admitted]) -> list[Admitted]:
        """The events with the states that follow from them when a snapshot changes only the keys it has."""
        states = statements.states(tx, [deal_id(self._org, event.external_id) for event in new])
        found = []
        for event in new:
            before = states.get(event.external_id)
            state = event.state if before is None else merged(before, event.state)
            states[event.external_id] = state
            found.append(msgspec.structs.replace(event, state=state))
        return found

    def _record(self, tx: Connection, new: Sequence[Admitted], head: Domain, now: str) -> dict[str, Receipt]:
        """Write the new events, chained to the last one, and let the last of each deal be its projection."""
        org, at = self._org, max(now, head.occurred_at)
        sources = [
            Source(_SRC + ulid, org, SOURCE, event.external_id, event.dedup_key, event.raw, at)
            for ulid, event in zip(ulids(at, len(new), head.source_event_id[len(_SRC) :]), new, strict=True)
        ]
        if self._choices.state_merge == "merge":
            new = self._merged(tx, new)
        latest: dict[str, Deal] = {}
        receipts: dict[str, Receipt] = {}

        def chained() -> Iterator[Domain]:
            """Each link is made while the database writes those before it."""
            sequence, prev_hash = head.sequence, head.hash
            for event, source in zip(new, sources, strict=True):
                sequence += 1
                deal, domain = deal_id(org, event.external_id), domain_event_id(source.id)
                fields = (
                    org, sequence, domain, source.id, deal, event.event_type, event.state, at, source_hash(source),
                    prev_hash,
                )  # fmt: skip
                prev_hash = event_hash(fields)
                row = Domain(*fields, prev_hash)
                latest[deal] = projected(row, event.external_id)
                receipts[event.dedup_key] = Receipt(
                    outcome="appended", source_event_id=source.id, domain_event_id=domain, deal_id=deal
                )
                yield row

        statements.append(tx, sources, chained(), latest)
        return receipts


_BEFORE_ALL = Domain("", 0, "", "", "", "", "", "", b"", b"", GENESIS)
"""What the first event of a chain is chained to."""


def domain_event_id(source_event_id: str) -> str:
    """A source event and its domain event are a pair for ever, so they share their ULID."""
    return "dom_api_" + source_event_id[len(_SRC) :]


def _kept(row: Row[tuple[object, ...]]) -> LedgerEvent:
    return LedgerEvent(
        sequence=row.sequence,
        domain_event_id=row.id,
        source_event_id=row.source_event_id,
        event_type=row.event_type,
        dedup_key=row.dedup_key,
        state=decode_json(row.state),
        occurred_at=row.occurred_at,
    )


def _listed(row: Row[tuple[object, ...]]) -> LedgerDeal:
    return LedgerDeal(
        id=row.id,
        external_id=row.external_id,
        state=decode_json(row.state),
        last_event_at=row.last_event_at,
        updated_at=row.updated_at,
    )
