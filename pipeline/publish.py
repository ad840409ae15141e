"""Publish: send what the outbox holds to the ledger, in order for each deal, many deals at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import Connection

from ledger import bulk
from ledger.port import Answer, LedgerUnavailable, Receipt, Rejected, Unsettled
from pipeline.ahead import ahead
from pipeline.faults import reason_of
from pipeline.observe import bind
from pipeline.store import incidents, leases, outbox, parking, runs
from pipeline.store.incidents import CONFLICT, MEANINGS, THERE_BEFORE, IncidentRow
from pipeline.store.leases import Lease
from pipeline.store.outbox import BEGINNING, WHENEVER, Head, Lane
from pipeline.store.parking import ParkedRow
from pipeline.store.session import later, now
from pipeline.summary import Progress, Summary, silent
from pipeline.unrecovered import refuse_unrecovered
from pipeline.wiring import App

log = structlog.get_logger()

BATCH = 2000
LONGEST_WAIT_S = 20.0


class Pause(NamedTuple):
    """Nothing at all can be sent for at least so many seconds."""

    seconds: float


def publish(app: App, *, progress: Progress = silent) -> Summary:
    """Send all that can be sent now, then end.

    An event is settled by any receipt; one the ledger refuses is parked and stops its own lane only; one whose fate is
    unknown goes again later with the same key and the same bytes. A ledger elsewhere that already has what was never
    sent is an incident: settled, logged, noted, and open until a person acknowledges it. A limit of requests is waited
    for as long as each wait lets something through; several publishers of one store take turns. Raises
    `LedgerRefused`, `Busy`, `Stopped` when this store looks like one that was lost, and `LedgerUnavailable` when the
    ledger stayed away for longer than `give_up_after_s`.
    """
    with leases.hold(app.store, "publish") as lease:
        with app.store.write() as tx:
            summary = Summary(run=runs.start(tx, "publish", None, now(tx)), connection=None)
        with bind(run=summary.run):
            publisher = _Publisher(app, lease, summary, progress)
            try:
                publisher.begin()
                publisher.drain()
            except BaseException as error:
                _end(app, lease, summary, "failed", reason_of(error))
                raise
            summary.notes += publisher.found()
            _end(app, lease, summary, "done", "; ".join(summary.notes) or None)
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
    pause: Pause | None = None
    waited: bool = False
    met: Counter[str] = field(default_factory=Counter)
    trouble: str = "an earlier run put them off"
    random: random.Random = field(default_factory=random.Random)

    def begin(self) -> None:
        """Look whether this store may have been lost. Raises `Stopped` before anything is sent when it looks so."""
        if self._elsewhere:
            refuse_unrecovered(self.app)

    def drain(self) -> None:
        """Pass over the lanes until nothing is left that may be sent, waiting for what was put off a moment ago."""
        self._be_patient()
        # Who waits for less than our own pauses would see nothing tried that an earlier run put off.
        due = WHENEVER if self.app.give_up_after_s < LONGEST_WAIT_S else None
        while True:
            progressed = self._one_pass(due)
            due = None
            if progressed and self.pause is None:
                continue
            wait_s = self._seconds_to_next(progressed)
            if wait_s is None:
                return
            if time.monotonic() + wait_s > self.patience_ends:
                raise LedgerUnavailable(
                    f"the ledger did not settle every event in time: {self.trouble}. Those left are sent again by the "
                    "next publish, under the same keys"
                )
            time.sleep(wait_s)

    def found(self) -> list[str]:
        """What a person should know of the receipts."""
        return [
            f"{many:,} events {MEANINGS[what]}; `dealsync incidents list` shows them" for what, many in self.met.items()
        ]

    def _one_pass(self, due: str | None) -> bool:
        """Send the head of every lane that is due; whether any was settled. The next batch is read meanwhile."""
        progressed, self.pause = False, None
        for batch in ahead(self._batches(due)):
            self._mark(batch)
            progressed |= self._settle([(head, answer) for head, answer in zip(batch, self._send(batch), strict=True)])
            if self.pause is not None:
                break  # it holds for the others as well
        return progressed

    def _batches(self, due: str | None) -> Iterator[list[Head]]:
        after = BEGINNING
        while True:
            with self.app.store.read() as tx:
                bulk.by_index(tx)
                batch = outbox.heads(tx, after=after, due=due or now(tx), limit=BATCH)
            if not batch:
                return
            after = batch[-1].lane
            yield batch

    def _mark(self, batch: Sequence[Head]) -> None:
        """Note what is about to be sent: an event that was never noted cannot be in the ledger from us."""
        if self._elsewhere:
            with self.app.store.write() as tx:
                leases.confirm(tx, self.lease)
                bulk.by_index(tx)
                outbox.mark(tx, [head.lane for head in batch])

    def _send(self, batch: Sequence[Head]) -> list[Answer]:
        try:
            return self.app.ledger.append([head.event for head in batch])
        except LedgerUnavailable as error:
            log.warning("ledger.unavailable", reason=str(error))
            self.pause = Pause(0.0)
            return [Unsettled(str(error)) for _ in batch]

    def _settle(self, answered: Sequence[tuple[Head, Answer]]) -> bool:
        receipts = [(head.lane, answer, self._outcome(head, answer)) for head, answer in answered
                    if isinstance(answer, Receipt)]  # fmt: skip
        refused = [(head, answer) for head, answer in answered if isinstance(answer, Rejected)]
        with self.app.store.write() as tx:
            leases.confirm(tx, self.lease)
            bulk.by_index(tx)
            at = now(tx)
            outbox.settle(tx, receipts, at)
            self._raise(tx, receipts, at)
            outbox.stop(tx, [head.lane for head, _ in refused])
            parking.add(tx, [_parked(head, rejected, at) for head, rejected in refused])
            self._put_off(tx, [(head.lane, answer) for head, answer in answered if isinstance(answer, Unsettled)], at)
            total = self._count([outcome for _, _, outcome in receipts], len(refused))
            runs.count(tx, total)
        self.progress(total)
        if receipts or refused:
            self.waited = False
            self._be_patient()
        return bool(receipts or refused)

    def _outcome(self, head: Head, receipt: Receipt) -> str:
        """What is kept of a receipt: an event that was there before we first sent it is somebody else's."""
        event = head.event
        if receipt.conflict:
            log.error("ledger.conflict", deal=event.external_id, key=event.dedup_key, held=receipt.domain_event_id)
            return CONFLICT
        if receipt.outcome == "already_there" and not head.attempts and self._elsewhere:
            log.error("ledger.there_before", deal=event.external_id, key=event.dedup_key, held=receipt.domain_event_id)
            return THERE_BEFORE
        return receipt.outcome

    def _raise(self, tx: Connection, receipts: Sequence[tuple[Lane, Receipt, str]], at: str) -> None:
        """Let a person know of receipts that are no retries of ours."""
        for outcome in MEANINGS:
            met = [(lane, receipt) for lane, receipt, what in receipts if what == outcome]
            if met:
                (connection_id, source_id, _), held = met[-1]
                run, theirs = self.summary.run, held.domain_event_id
                incidents.add(tx, IncidentRow(run, outcome, len(met), at, at, connection_id, source_id, theirs))

    def _count(self, outcomes: Sequence[str], refused: int) -> Summary:
        new = outcomes.count("appended")
        self.summary.read += len(outcomes) + refused
        self.summary.applied += new
        self.summary.unchanged += len(outcomes) - new
        self.summary.published += len(outcomes)
        self.summary.parked += refused
        self.summary.seconds = time.monotonic() - self.begun
        self.met.update(outcome for outcome in outcomes if outcome in MEANINGS)
        return self.summary

    def _be_patient(self, more_s: float = 0.0) -> None:
        self.failures = 0
        self.patience_ends = max(self.patience_ends, time.monotonic() + more_s + self.app.give_up_after_s)

    def _put_off(self, tx: Connection, unsettled: Sequence[tuple[Lane, Unsettled]], at: str) -> None:
        """Events that left us wait for themselves; those that did not are due, once the pause is over."""
        if unsettled:
            self.trouble = unsettled[0][1].message.rstrip(".")
        kept = [lane for lane, answer in unsettled if not answer.tried]
        if kept:
            pause_s = max(answer.retry_after_s for _, answer in unsettled if not answer.tried)
            self.pause = Pause(pause_s)
            if self._elsewhere:
                outbox.unmark(tx, kept)
        for retry_after_s in {answer.retry_after_s for lane, answer in unsettled if answer.tried}:
            lanes = [lane for lane, answer in unsettled if answer.tried and answer.retry_after_s == retry_after_s]
            outbox.put_off(tx, lanes, until=later(at, timedelta(seconds=self._backoff(retry_after_s))))

    def _backoff(self, retry_after_s: float) -> float:
        """Full jitter: anything up to a bound that doubles with each failure, but not before the ledger allows."""
        bound = min(LONGEST_WAIT_S, 0.5 * 2 ** min(self.failures, 10))
        self.failures += 1
        return max(retry_after_s, self.random.uniform(0.0, bound))

    def _seconds_to_next(self, progressed: bool) -> float | None:
        """How long nothing can be done; None when nothing is left to do."""
        with self.app.store.read() as tx:
            due, at = outbox.next_due(tx), now(tx)
        if due is None:
            return None
        if self.pause is not None:
            asked_s = self.pause.seconds
            if not asked_s:
                return self._backoff(0.0)
            if self.app.give_up_after_s and (progressed or not self.waited):
                self._be_patient(asked_s)  # it works as fast as it is allowed to: that is not to be away
                self.waited = True
            return asked_s
        return max(0.05, (datetime.fromisoformat(due) - datetime.fromisoformat(at)).total_seconds())

    @property
    def _elsewhere(self) -> bool:
        """Whether store and ledger can be parted, by a crash or by a restore."""
        return self.app.settings.ledger.kind != "embedded"


def _parked(head: Head, rejected: Rejected, at: str) -> ParkedRow:
    connection_id, source_id, revision = head.lane
    return ParkedRow(
        connection_id=connection_id,
        source_id=source_id,
        stage="event",
        revision=revision,
        kind=None,
        reason=rejected.reason,
        field=None,
        message=f"the ledger refused event {head.event.dedup_key}: {rejected.message}",
        raw_digest=None,
        raw_block=None,
        raw_position=None,
        version=None,
        observed_at=at,
        mapping_id=None,
        since=at,
        last_seen=at,
    )


def _end(app: App, lease: Lease, summary: Summary, state: str, reason: str | None) -> None:
    try:
        with app.store.write() as tx:
            leases.confirm(tx, lease)  # whoever has taken over has written down what became of this run
            runs.end(tx, summary.run, state, now(tx), reason)
    except Exception:
        log.warning("run.end_not_written")
