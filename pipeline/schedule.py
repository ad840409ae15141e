"""Schedule: what is due and what will be, worked out from the tables, so that any number of beats may ask."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import takewhile
from operator import itemgetter
from typing import NamedTuple

from sqlalchemy import Connection

from pipeline import settings
from pipeline.store import asked, backfills, connections, hints, inbox, leases, outbox, pauses, runs
from pipeline.store.connections import ConnectionRow
from pipeline.store.session import now
from pipeline.wiring import App

VERBS = ("pull", "sweep", "reconcile")
"""What each connection is read by, as often as its settings say; one at a time, they share its lease."""

JITTER = 0.1
LONGEST_JITTER = timedelta(minutes=5)
"""An interval is stretched by up to so great a share of itself, so that not every connection is read at once."""

FIRST_BACKOFF, LONGEST_BACKOFF = timedelta(minutes=1), timedelta(hours=1)
"""Within twice this time, four times, eight times a run that failed is tried again, where its interval is longer."""

LONGEST_PUBLISH_BACKOFF = timedelta(minutes=5)
_PUBLISH_BACKOFF = timedelta(seconds=15)
_LOOKED_AT = 6
"""More failures than these are waited for no longer."""


class Due(NamedTuple):
    """One piece of work whose time has come. `connection` is empty for the publisher."""

    verb: str
    connection: str


class Attempt(NamedTuple):
    """One past run of a verb: its number, when it began, whether it failed or died, and before when its source let
    nobody try again.
    """

    run: int
    started_at: datetime
    failed: bool
    resumes_at: datetime | None = None


class Planned(NamedTuple):
    """When a verb is due on a connection: at once where `at` has passed. Without `at`, `why` it is not started."""

    verb: str
    connection: str
    at: datetime | None
    why: str = ""


def next_start(name: str, every: timedelta, least: timedelta, history: Sequence[Attempt]) -> datetime:
    """When work that was done before is due again; `history` is what became of it, the last attempt first.

    Never sooner than `least` after the last attempt began. After one that ended well: after `every`, stretched by a
    little. After failures: at random within a time that doubles with each, and no later than after one that ended well;
    but not before the source, or the budget of its requests, lets us.
    Whatever slots were missed meanwhile, it is due once. One that was interrupted is no attempt: it is gone on with as
    soon as it was due. `name` and the attempt's number decide what is random, so that everybody who asks is told the
    same.
    """
    last = history[0]
    every = max(every, least)
    share = _share(f"{name} {last.run}")
    failures = sum(1 for _ in takewhile(lambda attempt: attempt.failed, history))
    wait = every
    if failures:
        bound = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2**failures)
        wait = min(every, max(least, bound * share))
    at = last.started_at + wait + share * min(wait * JITTER, LONGEST_JITTER)
    return at if last.resumes_at is None else max(at, last.resumes_at)


def least_interval(chosen: settings.Connection) -> timedelta:
    """How far the runs of a verb lie apart at least: as far as pulls, which the source's quota may stretch."""
    return max(chosen.pull_every, chosen.options.least_interval())


class Seen(NamedTuple):
    """What the store says of all connections at one moment: everything that is decided by, but for the settings.

    `rows` are by name; `paused` and `first_pulls` (when a connection's first pull began) by its number; what a person
    has asked for (`wanted`) and the `histories`, the last attempt first, by number and verb; `held` are the leases that
    somebody holds.
    """

    at: str
    rows: Mapping[str, ConnectionRow]
    paused: Collection[int]
    wanted: Collection[tuple[int, str]]
    held: Collection[str]
    histories: Mapping[tuple[int, str], Sequence[Attempt]]
    first_pulls: Mapping[int, str]


def due(app: App) -> list[Due]:
    """What should be started now: pulls, sweeps and reconciles by their intervals, fetches, backfills and the publisher
    when something waits.

    Of a connection's own verbs the one that has waited longest. A connection that was never pulled is due at once. One
    whose source refuses us is left alone until a run by hand succeeds, a paused one until it is resumed. What a person
    has asked for is a run by hand: it goes first, and is done once. So is a backfill: one that is refused stops itself.
    Nothing is written: a message sent twice finds the lease taken, or nothing left to do. The store is asked as often
    for a thousand connections as for one.
    """
    with app.store.read() as tx:
        seen = _seen(tx)
        unread, hinted = inbox.connections_waiting(tx), hints.due(tx, seen.at)
        begun = backfills.connections_due(tx, seen.at)
        publish = [Due("publish", "")] if _publish_due(tx, seen) else []
    moment = datetime.fromisoformat(seen.at)
    found = []
    for plans in planned(app.settings.connections, seen).values():
        waiting = [(one.at, one) for one in plans if one.at is not None and one.at <= moment]
        found += [Due(one.verb, one.connection) for _, one in sorted(waiting, key=itemgetter(0))[:1]]
    for name in app.settings.connections:
        row = seen.rows.get(name)
        if row is None:
            continue
        left_alone = row.state == "refused" or row.id in seen.paused
        if row.id in unread or (row.id in hinted and not left_alone):
            found.append(Due("fetch", name))
        if row.id in begun and row.id not in seen.paused:
            found.append(Due("backfill", name))
    return found + publish


def is_over(app: App, work: Due, since: str) -> bool:
    """Whether a pull, sweep or reconcile that was due at `since` is so no longer: one has begun meanwhile, or a person
    or the source's refusal has stopped the connection. What was rung for a hundred times while nobody worked is so done
    once.
    """
    with app.store.read() as tx:
        row = connections.find(tx, work.connection)
        if row is None:
            return False
        last = runs.last(tx, work.verb, row.id)
        if last is not None and str(last["started_at"]) >= since:
            return True
        left_alone = row.state == "refused" or row.id in pauses.all_of_them(tx)
        return left_alone and (row.id, work.verb) not in asked.unanswered(tx)


def look_ahead(app: App, tx: Connection) -> dict[str, list[Planned]]:
    """For each configured connection when each of its verbs is due, for whoever looks."""
    return planned(app.settings.connections, _seen(tx))


def planned(configured: Mapping[str, settings.Connection], seen: Seen) -> dict[str, list[Planned]]:
    """For each connection, by name, when each of its verbs is due, as follows from what was seen."""
    return {name: [_plan(verb, name, chosen, seen) for verb in VERBS] for name, chosen in sorted(configured.items())}


def _plan(verb: str, name: str, chosen: settings.Connection, seen: Seen) -> Planned:
    row = seen.rows.get(name)
    stopped = "" if row is None else "paused" if row.id in seen.paused else "refused" if row.state == "refused" else ""
    by_hand = row is not None and (row.id, verb) in seen.wanted
    if stopped and not by_hand:
        return Planned(verb, name, None, stopped)
    if f"connection {name}" in seen.held:
        return Planned(verb, name, None, "a run is under way")
    if by_hand:
        return Planned(verb, name, _BEFORE_ALL)
    if row is None:
        at_once = verb == "pull"
        return Planned(verb, name, _LONG_AGO if at_once else None, "" if at_once else "waits for the first pull")
    return _by_interval(verb, row, chosen, seen)


def _by_interval(verb: str, row: ConnectionRow, chosen: settings.Connection, seen: Seen) -> Planned:
    history = seen.histories.get((row.id, verb), ())
    if not history and verb != "reconcile":
        return Planned(verb, row.name, _LONG_AGO if verb == "pull" else _NOT_SO_LONG_AGO)
    if not history:
        began = seen.first_pulls.get(row.id)
        if began is None:
            return Planned(verb, row.name, None, "waits for the first pull")
        history = [Attempt(0, _moment(began), False)]
    return Planned(
        verb,
        row.name,
        next_start(f"{row.name} {verb}", getattr(chosen, f"{verb}_every"), least_interval(chosen), history),
    )


def _seen(tx: Connection) -> Seen:
    """Leases are looked at before runs: one that ends meanwhile must not look like one whose process has died."""
    at, held, wanted = now(tx), leases.held(tx), asked.unanswered(tx)
    rows = {row.name: row for row in connections.all_of_them(tx)}
    latest = runs.histories(tx, VERBS, _LOOKED_AT)
    histories = {of: [_attempt(run) for run in past] for of, past in latest.items()}
    paused, first_pulls = pauses.all_of_them(tx).keys(), runs.first_started(tx, "pull")
    return Seen(at, rows, paused, wanted, held, histories, first_pulls)


def _publish_due(tx: Connection, seen: Seen) -> bool:
    """Whether an event may be sent; after failures the ledger is given time that doubles with each."""
    if "publish" in seen.held:
        return False
    waits_until = outbox.next_due(tx)
    if waits_until is None or waits_until > seen.at:
        return False
    history = [run for run in runs.latest(tx, "publish", None, _LOOKED_AT) if run["reason"] != runs.INTERRUPTED]
    failures = sum(1 for _ in takewhile(lambda run: run["state"] == "failed", history))
    if not failures:
        return True
    bound: timedelta = min(LONGEST_PUBLISH_BACKOFF, _PUBLISH_BACKOFF * 2**failures)
    started_at = _moment(history[0]["started_at"])
    return _moment(seen.at) >= started_at + bound * _share(f"publish {history[0]['id']}")


def _attempt(run: runs.Past) -> Attempt:
    """A run that is still marked as running although nobody holds its lease has died."""
    resumes_at = _moment(run.resumes_at) if run.resumes_at else None
    return Attempt(run.id, _moment(run.started_at), run.state in runs.UNHAPPY, resumes_at)


def _share(name: str) -> float:
    """A number from 0 to 1, the same for the same name."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]) / 2**48


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


_BEFORE_ALL = datetime.fromisoformat("1999-01-01T00:00:00Z")
_LONG_AGO = datetime.fromisoformat("2000-01-01T00:00:00Z")
_NOT_SO_LONG_AGO = datetime.fromisoformat("2000-01-02T00:00:00Z")
