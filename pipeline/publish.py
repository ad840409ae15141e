"""Publish: send what the outbox holds to the ledger, in order for each deal, many deals at once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from deals.events import Event
from ledger import bulk
from ledger.port import Answer, LedgerUnavailable, Receipt, Rejected, Unsettled
from pipeline.ahead import ahead
from pipeline.observe import bind
from pipeline.store import leases, outbox, parking, runs
from pipeline.store.leases import Lease
from pipeline.store.outbox import BEGINNING, Lane
from pipeline.store.parking import ParkedRow
from pipeline.store.session import later, now
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

log = structlog.get_logger()

BATCH = 2000
LONGEST_WAIT_S = 20.0


def publish(app: App, *, progress: Progress = silent) -> Summary:
    """Send all that can be sent now, then end.

    An event is settled by any receipt; one the ledger refuses is parked and stops its own lane only; one whose fate is
    unknown goes again later with the same key and the same bytes. Raises `LedgerRefused`, `Busy`, and
    `LedgerUnavailable` when the ledger stayed away for longer than `give_up_after_s`.
    """
    with leases.hold(app.store, "publish") as lease:
        with app.store.write() as tx:
            summary = Summary(run=runs.start(tx, "publish", None, now(tx)), connection=None)
        with bind(run=summary.run):
            publisher = _Publisher(app, lease, summary, progress)
            try:
                publisher.drain()
            except BaseException as error:
                _end(app, summary, "failed", str(error))
                raise
            _end(app, summary, "done", None)
            log.info("publish.finished", published=summary.published, parked=summary.parked, seconds=summary.seconds)
    return summary


@dataclass(slots=True)
class _Publisher:
    app: App
    lease: Lease
    summary: Summary
    progress: Progress
    begun: float = field(default_factory=time.monotonic)
    patience_ends: float = 0.0
    failures: int = 0
    trouble: str = "an earlier run put them off"
    random: random.Random = field(default_factory=random.Random)

    def drain(self) -> None:
        """Pass over the lanes until nothing is left that may be sent, waiting for what was put off a moment ago."""
        self._be_patient()
        while True:
            while self._one_pass():
                pass
            wait_s = self._seconds_to_next()
            if wait_s is None:
                return
            if time.monotonic() + wait_s > self.patience_ends:
                raise LedgerUnavailable(
                    f"the ledger did not settle every event in time: {self.trouble}. Those left are sent again by the "
                    "next publish, under the same keys"
                )
            time.sleep(wait_s)

    def _one_pass(self) -> bool:
        """Send the head of every lane that is due; whether any was settled. The next batch is read meanwhile."""
        progressed = False
        for batch in ahead(self._batches()):
            answers = self._send([event for _, event in batch])
            settled = [(lane, event, answer) for (lane, event), answer in zip(batch, answers, strict=True)]
            progressed |= self._settle(settled)
        return progressed

    def _batches(self) -> Iterator[list[tuple[Lane, Event]]]:
        after = BEGINNING
        while True:
            with self.app.store.read() as tx:
                bulk.by_index(tx)
                batch = outbox.heads(tx, after=after, due=now(tx), limit=BATCH)
            if not batch:
                return
            after = batch[-1][0]
            yield batch

    def _send(self, events: Sequence[Event]) -> list[Answer]:
        try:
            return self.app.ledger.append(events)
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", reason=str(error))
            return [Unsettled(str(error)) for _ in events]

    def _settle(self, answered: Sequence[tuple[Lane, Event, Answer]]) -> bool:
        receipts = [(lane, answer) for lane, _, answer in answered if isinstance(answer, Receipt)]
        refused = [(lane, event, answer) for lane, event, answer in answered if isinstance(answer, Rejected)]
        with self.app.store.write() as tx:
            leases.confirm(tx, self.lease)
            bulk.by_index(tx)
            at = now(tx)
            outbox.settle(tx, receipts, at)
            for lane, event, rejected in refused:
                _park(tx, lane, event, rejected, at)
            self._put_off(tx, [(lane, answer) for lane, _, answer in answered if isinstance(answer, Unsettled)], at)
            total = self._count([receipt for _, receipt in receipts], len(refused))
            runs.count(tx, total)
        self.progress(total)
        if receipts or refused:
            self._be_patient()
        return bool(receipts or refused)

    def _count(self, receipts: Sequence[Receipt], refused: int) -> Summary:
        new = sum(receipt.outcome == "appended" for receipt in receipts)
        for receipt in receipts:
            if receipt.conflict:
                log.error("ledger.conflict", deal=receipt.deal_id, domain_event=receipt.domain_event_id)
        self.summary.read += len(receipts) + refused
        self.summary.applied += new
        self.summary.unchanged += len(receipts) - new
        self.summary.published += len(receipts)
        self.summary.parked += refused
        self.summary.seconds = time.monotonic() - self.begun
        return self.summary

    def _be_patient(self) -> None:
        self.failures = 0
        self.patience_ends = time.monotonic() + self.app.give_up_after_s

    def _put_off(self, tx: Connection, unsettled: Sequence[tuple[Lane, Unsettled]], at: str) -> None:
        if unsettled:
            self.trouble = unsettled[0][1].message.rstrip(".")
        for retry_after_s in {answer.retry_after_s for _, answer in unsettled}:
            lanes = [lane for lane, answer in unsettled if answer.retry_after_s == retry_after_s]
            outbox.put_off(tx, lanes, until=self._later(at, retry_after_s))

    def _later(self, at: str, retry_after_s: float) -> str:
        """Full jitter: anything up to a bound that doubles with each failure, but not before the ledger allows."""
        bound = min(LONGEST_WAIT_S, 0.5 * 2 ** min(self.failures, 10))
        self.failures += 1
        wait = max(retry_after_s, self.random.uniform(0.0, bound))
        return later(at, timedelta(seconds=wait))

    def _seconds_to_next(self) -> float | None:
        with self.app.store.read() as tx:
            due, at = outbox.next_due(tx), now(tx)
        if due is None:
            return None
        return max(0.05, (datetime.fromisoformat(due) - datetime.fromisoformat(at)).total_seconds())


def _park(tx: Connection, lane: Lane, event: Event, rejected: Rejected, at: str) -> None:
    outbox.set_parked(tx, lane, parked=True)
    connection_id, source_id, revision = lane
    row = ParkedRow(
        connection_id=connection_id,
        source_id=source_id,
        stage="event",
        revision=revision,
        kind=None,
        reason=rejected.reason,
        field=None,
        message=f"the ledger refused event {event.dedup_key}: {rejected.message}",
        raw_digest=None,
        raw_block=None,
        raw_position=None,
        version=None,
        observed_at=at,
        mapping_id=None,
        since=at,
        last_seen=at,
    )
    parking.add(tx, [row])


def _end(app: App, summary: Summary, state: str, reason: str | None) -> None:
    try:
        with app.store.write() as tx:
            runs.end(tx, summary.run, state, now(tx), reason)
    except Exception:
        log.warning("run.end_not_written")
