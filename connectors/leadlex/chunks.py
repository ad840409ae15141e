"""LeadLex's chunks: windows of the creation date, which is what its list can be filtered by.

Where each begins is found out by counting: from one CSV export where exports are switched on, else by asking windows
for their totals and halving those that have too many (contracts/leadlex.md sections 4 and 15).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from connectors.chunks import WHOLE, ChunkPlan, Span, chunk_rows, label_of
from connectors.faults import Unintelligible
from connectors.leadlex.cursor import Scan
from connectors.leadlex.exports import Exports, NotNow
from connectors.leadlex.lists import Listed, Lists
from connectors.leadlex.windows import MOVING, Step, Windows, seconds
from connectors.slicing import Sliced
from connectors.source import Cursor
from connectors.times import iso, shifted

_LONG_AGO = "1990-01-01T00:00:00.000Z"
_AHEAD = timedelta(hours=25)
"""Creation dates may lie a day ahead."""
_EDGE = timedelta(seconds=1)
_NARROWEST_S = 2
_DAYS_SHARE = 8
"""Counting takes two to three requests a chunk, and a plan must be made within one day: no more chunks than an eighth
of the day's requests."""
_NEVER = ("1980-01-01T00:00:00Z", "1980-01-02T00:00:00Z")
"""No deal was created then: a list that shows one all the same pays no heed to its filters."""


class _Window(NamedTuple):
    """Deals created from `low` on and before `high`, and how many there are; None is no bound."""

    low: str | None
    high: str | None
    deals: int


def plan(lists: Lists, exports: Exports, window: tuple[str | None, str | None], now: str) -> Iterator[ChunkPlan]:
    """Windows with about as many deals as a chunk should have, side by side without a gap between them.

    `window` is since and until, `now` the database's clock.
    """
    since, until = window
    whole = _count(lists, since, until)
    if whole is None or (whole and _heedless(lists)):
        yield ChunkPlan(label_of(since, until) if since or until else WHOLE, _told(Span(since, until)), whole)
        return
    if not whole:
        return
    wanted = max(chunk_rows(whole, lists.options.page_size), whole // max(1, lists.options.day // _DAYS_SHARE))
    every = _Window(since, until, whole)
    found = _exported(exports, every, wanted) if lists.options.use_csv_export else None
    for low, high, count in _joined(found or list(_halved(lists, every, wanted, now)), wanted):
        yield ChunkPlan(label_of(low, high), _told(Span(low, high)), count)


def steps(lists: Lists, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[tuple[Step, Sliced]]:
    """The pages that show a part, each with those of its rows that belong to it.

    Raises `Unintelligible` where the list moved while pages of a window were read, so that a deal may be missing.
    """
    part = msgspec.convert(chunk.place, Span)
    scan = Scan(after=part.low, width_s=_width(part)) if cursor is None else msgspec.convert(cursor, Scan)

    def fetch(params: Mapping[str, str], number: int) -> Listed:
        bounded = dict(params)
        if part.high is not None:
            high = seconds(shifted(part.high, _EDGE))
            bounded["created_before"] = min(params.get("created_before", high), high)
        if part.low is not None:
            low = seconds(shifted(part.low, -_EDGE))
            bounded["created_after"] = max(params.get("created_after", low), low)
        return lists.page(bounded, number)

    for step in Windows(fetch, scan, lists.options.page_size).steps():
        if MOVING in step.scan.doubts:
            raise Unintelligible(MOVING)
        yield step, _within(step.listed, part)
        if part.high is not None and step.scan.after is not None and step.scan.after >= part.high:
            return


def cursor_of(step: Step) -> Cursor:
    """Where a part is read on after a step."""
    return _told(step.scan)


def _width(part: Span) -> int | None:
    """How wide the first window is: the whole part, where both of its ends are known."""
    if part.low is None or part.high is None:
        return None
    return max(1, int((datetime.fromisoformat(part.high) - datetime.fromisoformat(part.low)).total_seconds()) + 1)


def _count(lists: Lists, low: str | None, high: str | None) -> int | None:
    """How many deals of a window the list tells of; None where it does not."""
    params = {}
    if low is not None:
        params["created_after"] = seconds(low)
    if high is not None:
        params["created_before"] = seconds(high)
    return lists.page(params, 1).meta.total


def _heedless(lists: Lists) -> bool:
    params = dict(zip(("created_after", "created_before"), _NEVER, strict=True))
    return bool(lists.page(params, 1).rows.keys)


def _halved(lists: Lists, window: _Window, wanted: int, now: str) -> Iterator[_Window]:
    """The windows, oldest first, that are left when each with more than `wanted` deals is cut in the middle."""
    waiting = [window]
    while waiting:
        low, high, count = waiting.pop()
        middle = _middle(low, high, now)
        if count <= wanted or middle is None:
            yield _Window(low, high, count)
            continue
        older = _count(lists, low, middle) or 0
        waiting += [_Window(middle, high, max(0, count - older)), _Window(low, middle, older)]


def _middle(low: str | None, high: str | None, now: str) -> str | None:
    begin = datetime.fromisoformat(low or _LONG_AGO)
    end = datetime.fromisoformat(high or shifted(now, _AHEAD))
    if (end - begin).total_seconds() < _NARROWEST_S:
        return None
    return iso((begin + (end - begin) / 2).replace(microsecond=0))


def _exported(exports: Exports, window: _Window, wanted: int) -> list[_Window] | None:
    """The windows by an export's creation dates; None where none can be had or a date is missing."""
    try:
        dates = [row.created for row in exports.between(window.low, window.high)]
    except (NotNow, Unintelligible):
        return None
    created = sorted(one for one in dates if one is not None)
    if len(created) < len(dates) or not created:
        return None
    edges = [window.low, *dict.fromkeys(created[wanted::wanted]), window.high]
    counts = [min(wanted, len(created) - place * wanted) for place in range(len(edges) - 1)]
    return [_Window(low, high, count) for low, high, count in zip(edges, edges[1:], counts, strict=False)]


def _joined(windows: list[_Window], wanted: int) -> Iterator[_Window]:
    """Neighbours together as long as they do not have more than `wanted` deals."""
    held = windows[0]
    for one in windows[1:]:
        if held.deals + one.deals <= wanted:
            held = _Window(held.low, one.high, held.deals + one.deals)
        else:
            yield held
            held = one
    yield held


def _within(listed: Listed, part: Span) -> Sliced:
    rows = listed.rows
    records = [record for record, created in zip(rows.records, listed.created, strict=True) if part.holds(created)]
    return Sliced(records, rows.spoiled, rows.keys)


def _told(place: Span | Scan) -> Cursor:
    told: Cursor = msgspec.to_builtins(place if isinstance(place, Span) else replace(place, doubts=()))
    return told
