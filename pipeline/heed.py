"""Heed: what deliveries ask for is done: the records that they name are looked at, each once for many hints."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy import Connection

from connectors.faults import Fault, RateLimited, Unavailable, Unintelligible
from connectors.source import Absent, Found, Record
from connectors.times import shifted
from ledger.port import LedgerFault
from pipeline.faults import PipelineFault
from pipeline.listen import listen
from pipeline.poison import POISON
from pipeline.pull import STREAM, pull
from pipeline.run import Run, running
from pipeline.store import checkpoints, connections, hints, inbox, parking, pauses, projection, runs
from pipeline.store.connections import ConnectionRow
from pipeline.store.hints import Wanted
from pipeline.store.parking import ParkedRow
from pipeline.store.projection import DealRow
from pipeline.store.session import later, now
from pipeline.summary import Progress, Summary, silent
from pipeline.wiring import App

log = structlog.get_logger()

RECORDS = 20
"""So many records are gone for at once; for more than that, a pull may cost fewer requests."""

ROUNDS = 25
"""After so many times `RECORDS` others have their turn; what is left is due at once."""

CRASHES = 5
"""After so many crashes in a row, alone, a record is parked instead of being looked at again."""

FIRST_DELAY_S, LONGEST_DELAY_S = 2, 300
"""Seconds until a record is asked for again that could not be had, or does not show what was announced: 2, 4, 8 ..."""


def heed(app: App, connection: str, *, progress: Progress = silent) -> Summary | None:
    """Do what the deliveries of a connection ask for, as far as it is due; None when there was nothing to look at.

    It waits for no pull or backfill, and any number of processes may heed one connection. Nothing is published. A
    connection whose source refuses us is left alone until a run by hand succeeds, a paused one until it is resumed.
    A record that crashes whoever looks at it is parked. Raises the faults of the source and of the store; what was not
    looked at is due again later.
    """
    listen(app, connection)
    with app.store.read() as tx:
        row = connections.find(tx, connection)
        if row is None or row.state == "refused" or row.id in pauses.all_of_them(tx):
            return None
        if row.id not in hints.due(tx, now(tx)):
            return None
    pulled = _pull(app, row, progress)
    wanted = _taken(app, row.id)
    if not wanted:
        return pulled
    with running(app, connection, "fetch", progress=progress, exclusive=False) as run:
        for left in reversed(range(ROUNDS)):
            _look_at(run, wanted)
            # What is taken in hand is looked at: else it would be suspected of having crashed whoever took it.
            wanted = _taken(app, row.id) if left else []
            if not wanted:
                break
    if pulled is not None:
        run.summary.add(pulled)
    return run.summary


def needing(app: App) -> list[str]:
    """The connections that have deliveries to read, or records to look at now: what nobody rang for included."""
    with app.store.read() as tx:
        wanting = inbox.connections_waiting(tx) | (hints.due(tx, now(tx)) - pauses.all_of_them(tx).keys())
        rows = connections.all_of_them(tx)
    return [row.name for row in rows if row.id in wanting and row.name in app.settings.connections]


def _pull(app: App, row: ConnectionRow, progress: Progress) -> Summary | None:
    """Pull, where a delivery asked for it or where that costs fewer requests than to look at each record."""
    with app.store.write() as tx:
        asked = hints.take(tx, row.id, now(tx), 1, pulls=True)
    if not asked and not _cheaper(app, row):
        return None
    try:
        summary = pull(app, row.name, progress=progress)
    except (Fault, PipelineFault) as fault:
        for one in asked:
            _put_off(app, row.id, one, fault)
        if isinstance(fault, Fault):
            raise
        log.info("heed.not_pulled", connection=row.name, reason=str(fault))  # busy or stopped: go for each record
        return None
    with app.store.write() as tx:
        hints.settle(tx, row.id, asked)
    return summary


def _cheaper(app: App, row: ConnectionRow) -> bool:
    """Whether a pull is likely to need fewer requests than the records that are due: judged by the last one."""
    page_size = app.settings.connection(row.name).options.page_size
    with app.store.read() as tx:
        number = hints.number_due(tx, row.id, now(tx))
        last = runs.last(tx, "pull", row.id)
        begun = checkpoints.read(tx, row.id, STREAM) is not None
    return begun and last is not None and number > max(RECORDS, last["read"] // page_size)


def _taken(app: App, connection_id: int) -> list[Wanted]:
    """The next records to look at: those that have not been seen, since their hint, as the hint announced them."""
    while True:
        with app.store.write() as tx:
            taken = hints.take(tx, connection_id, now(tx), RECORDS, pulls=False)
            for poison in [one for one in taken if one.crashes >= CRASHES]:
                _park(tx, connection_id, poison)
            wanted = [one for one in taken if one.crashes < CRASHES]
            known = projection.lookup(tx, connection_id, [one.source_id for one in wanted]) if wanted else {}
            seen = [one for one in wanted if one.source_id in known and _seen(known[one.source_id], one)]
            hints.settle(tx, connection_id, seen)
        unseen = [one for one in wanted if one not in seen]
        if unseen or not taken:
            return unseen


def _park(tx: Connection, connection_id: int, poison: Wanted) -> None:
    """Whoever looked at this record crashed, again and again: it waits for a person, and holds up nobody."""
    log.error("hint.poison", source_id=poison.source_id, crashes=poison.crashes)
    hints.drop(tx, connection_id, poison)
    if parking.open_records(tx, connection_id, [poison.source_id]):
        return
    at = now(tx)
    message = f"looking at it crashed {poison.crashes} times in a row; the log says how. Retry it once that is mended"
    parking.add(tx, [
        ParkedRow(
            connection_id, poison.source_id, "record", None, None, POISON, None, message, None, None, None,
            poison.version, poison.hinted_at, None, at, at,
        )
    ])  # fmt: skip


def _seen(row: DealRow, hint: Wanted) -> bool:
    if hint.deleted:
        return row.deleted and row.observed_at >= hint.hinted_at
    if hint.version is not None and row.version is not None and row.version > hint.version:
        return True
    since = row.observed_at >= hint.hinted_at
    return since and not row.deleted and (hint.version is None or row.version == hint.version)


def _look_at(run: Run, wanted: list[Wanted]) -> None:
    """Look at each record. A source that does not answer is left alone; a record that it never answers for holds up no
    other: only after two in a row, or with nothing else to go by, is the source itself to blame.
    """
    unanswered: Unavailable | None = None
    answered = False
    for place, one in enumerate(wanted):
        try:
            _look(run, one)
            answered, unanswered = True, None
        except Unintelligible as fault:
            _failed(run, one, fault)
        except (Fault, PipelineFault, LedgerFault) as fault:
            rest = wanted[place:]
            if isinstance(fault, Unavailable) and not isinstance(fault, RateLimited):
                _failed(run, one, fault)
                if unanswered is None and len(wanted) > 1:
                    unanswered = fault
                    continue
                rest = rest[1:]
            for other in rest:
                _put_off(run, run.scope.connection_id, other, fault)
            raise
        except Exception as bug:
            log.exception("heed.crashed", source_id=one.source_id, times=one.crashes + 1)
            _put_off_crashed(run, one, type(bug).__name__)
        except BaseException:  # told to stop, or out of time: nobody knows whether the record has to do with it
            _give_back(run, one, wanted[place + 1 :])
            raise
    if unanswered is not None and not answered:
        raise unanswered


def _failed(run: Run, one: Wanted, fault: Fault) -> None:
    """Ask for a record again that could not be had, until a pull has read what changed since it was hinted at: a source
    that answers for all but one deal must not be asked for it for ever, from a budget that others live on.
    """
    connection_id, options = run.scope.connection_id, run.connected.settings.options
    longest = max(LONGEST_DELAY_S, options.least_interval().total_seconds())
    with run.store.write() as tx:
        pulled = runs.last(tx, "pull", connection_id)
        since = shifted(one.hinted_at, options.read_lag_limit)
        given_up = pulled is not None and pulled["state"] == "done" and pulled["started_at"] >= since
        if given_up:
            hints.settle(tx, connection_id, [one])
        else:
            due_at = later(now(tx), _delay(one.attempts, longest))
            hints.put_off(tx, connection_id, one, due_at, behind_since=one.behind_since)
    end = "; pulls and sweeps decide what it is" if given_up else ""
    run.summary.notes.append(f"{one.source_id}: {fault}{end}")
    if given_up:
        log.warning("hint.given_up", source_id=one.source_id, reason=str(fault))


def _look(run: Run, one: Wanted) -> None:
    """Read one record and land what the source shows; settle the hint, or ask again until it shows."""
    answer = run.reader.one(one.source_id)
    if isinstance(answer, Found):
        run.land_found(answer)
        shown = _shows(answer.record, one)
    else:
        shown = one.deleted and answer.proof
        if shown:
            run.bury(one.source_id, answer.requested_at)
    connection_id = run.scope.connection_id
    since = one.behind_since or answer.requested_at
    limit = run.connected.settings.options.read_lag_limit
    given_up = not shown and answer.requested_at >= shifted(since, limit)
    with run.store.write() as tx:
        if shown or given_up:
            hints.settle(tx, connection_id, [one])
        else:
            hints.put_off(tx, connection_id, one, later(now(tx), _delay(one.attempts)), behind_since=since)
    if given_up:
        run.summary.notes.append(_never_shown(one, answer))
        log.warning("hint.never_shown", source_id=one.source_id, deleted=one.deleted, version=one.version)


def _shows(record: Record, hint: Wanted) -> bool:
    """Whether the source shows what was announced: its reads may lag behind its deliveries."""
    if hint.deleted:
        restored = None not in (record.version, hint.version) and (record.version or "") > (hint.version or "")
        return record.deleted or restored
    return hint.version is None or record.version is None or record.version >= hint.version


def _never_shown(hint: Wanted, answer: Found | Absent) -> str:
    announced = "as deleted" if hint.deleted else f"in version {hint.version}" if hint.version else "at all"
    found = answer.answer if isinstance(answer, Absent) else f"version {answer.record.version}"
    return f"the source does not show {hint.source_id} {announced} ({found}); pulls and sweeps decide what it is"


def _put_off(where: App | Run, connection_id: int, one: Wanted, fault: Exception) -> None:
    delay = timedelta(seconds=fault.retry_after_s) if isinstance(fault, RateLimited) else _delay(one.attempts)
    with where.store.write() as tx:
        hints.put_off(tx, connection_id, one, later(now(tx), delay), behind_since=one.behind_since)


def _give_back(run: Run, in_hand: Wanted, rest: list[Wanted]) -> None:
    """All are due at once; the one in hand by itself, after the others, in case it keeps whoever looks for ever."""
    with run.store.write() as tx:
        at = now(tx)
        hints.put_off_crashed(tx, run.scope.connection_id, in_hand, at)
        hints.give_back(tx, run.scope.connection_id, rest, at)


def _put_off_crashed(run: Run, one: Wanted, kind: str) -> None:
    run.summary.notes.append(f"{one.source_id}: looking at it met a bug ({kind}); the log has the details")
    with run.store.write() as tx:
        hints.put_off_crashed(tx, run.scope.connection_id, one, later(now(tx), _delay(one.crashes)))


def _delay(attempts: int, longest_s: float = LONGEST_DELAY_S) -> timedelta:
    return timedelta(seconds=min(FIRST_DELAY_S * 2 ** min(attempts, 12), longest_s))
