"""Attention: what needs a person, the most urgent first, worked out from how everything is doing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pipeline.backfill_report import Standing

LATE_AFTER = 3
"""A connection that was not read for so many of its intervals has been forgotten by everybody."""

LEAST_LATE = timedelta(minutes=15)
"""Nobody is called late sooner, however short an interval is."""


class Need(NamedTuple):
    """One thing that needs a person: where, what is wrong, what to do, and the page that shows more."""

    urgent: bool
    where: str
    what: str
    remedy: str
    href: str


class Sight(NamedTuple):
    """What is looked at: the status document, how often each connection is pulled, in how many months the latest
    reconciles found differences, the backfills that are not done, and the time of the store."""

    status: Mapping[str, Any]
    pull_every: Mapping[str, timedelta]
    differing: Mapping[str, int]
    backfills: Sequence[Standing]
    at: str


def needs(sight: Sight) -> list[Need]:
    """What needs a person, what holds up money first."""
    found = [*_of_ledger(sight.status["ledger"])]
    for one in sight.status["connections"]:
        found += [*_of_connection(one), *_late(one, sight), *_unlike(one["name"], sight.differing)]
    found += [need for one in sight.backfills for need in _of_backfill(one)]
    return sorted(found, key=lambda need: not need.urgent)


def _of_ledger(ledger: Mapping[str, Any]) -> Iterator[Need]:
    if not ledger["ok"]:
        yield Need(True, "ledger", ledger["message"], "Nothing is lost: events wait and are sent once it answers.", "/")
    if ledger["incidents"]:
        what = f"{_some(ledger['incidents'], 'event')} met something in the ledger that we did not put there"
        yield Need(True, "ledger", what, "See which; compare store and ledger, then acknowledge them.", "/incidents")


def _of_connection(one: Mapping[str, Any]) -> Iterator[Need]:
    name, href = one["name"], f"/connections/{one['name']}"
    if one["state"] == "refused":
        yield Need(True, name, one["reason"] or "the source refuses us", "Mend its rights, then pull it now.", href)
    if one["state"] == "failing":
        yield Need(True, name, one["reason"] or "the last run failed", "It is tried again by itself; look why.", href)
    if one["held"]:
        what = f"{_some(one['held'], 'event')} held: a run deleted too much"
        yield Need(True, name, what, "Look at them, then release or discard them.", f"/held?connection={name}")
    if one["parked"]:
        what = f"{one['parked']:,} parked: records or events that cannot go on"
        yield Need(True, name, what, "See why; mend mapping or record, then retry.", f"/parked?connection={name}")
    for lack in one.get("lacks", ()):
        yield Need(False, name, lack, "Grant that right, or change what its mapping looks up.", href)
    if one["paused"]:
        pause = one["paused"]
        why = f": {pause['reason']}" if pause["reason"] else ""
        yield Need(False, name, f"paused by {pause['who']}{why}", "Resume it once that is over.", href)
    if one.get("drift"):
        what = f"its records have {_some(one['drift'], 'key')} neither mapped nor ignored"
        yield Need(False, name, what, "Claim or ignore them in its mapping.", f"{href}/drift")


def _late(one: Mapping[str, Any], sight: Sight) -> Iterator[Need]:
    if one["state"] not in ("ok", "failing") or one["last_success"] is None:
        return
    late = datetime.fromisoformat(sight.at) - datetime.fromisoformat(one["last_success"])
    if late > max(LATE_AFTER * sight.pull_every[one["name"]], LEAST_LATE):
        remedy = "See that `dealsync up`, or workers and beat, or a timer runs; or why its runs fail."
        yield Need(True, one["name"], "nobody has read it for too long", remedy, f"/connections/{one['name']}")


def _unlike(name: str, differing: Mapping[str, int]) -> Iterator[Need]:
    if months := differing.get(name):
        what = f"the ledger does not hold what the source says, in {_some(months, 'close month')}"
        remedy = "Look at the windows; `dealsync reconcile NAME` lists the deals, `--repair` sets them right."
        yield Need(True, name, what, remedy, f"/connections/{name}/windows")


def _of_backfill(one: Standing) -> Iterator[Need]:
    where, href = f"{one.connection}, backfill {one.id}", f"/backfills/{one.id}"
    if one.state == "failed" or (one.failed and one.state != "cancelled"):
        what = one.reason or f"{one.failed:,} of its {_some(one.total, 'chunk')} failed"
        yield Need(True, where, what, "See why, then retry the chunks that failed.", href)
    elif one.state == "paused":
        yield Need(False, where, one.reason or "paused", "Resume or cancel it: its range is taken until then.", href)


def _some(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
