"""Windows: a list without an order is read in windows of the creation date, each small enough to be one page.

One page is one moment: no row can move out of it while it is read, whatever order the list is in. A window that turns
out too full is made narrower; where that cannot be done, its pages are read to an empty one and counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from connectors.faults import Unintelligible
from connectors.leadlex.cursor import Scan
from connectors.leadlex.lists import Listed
from connectors.slicing import Sliced
from connectors.times import shifted

Fetch = Callable[[Mapping[str, str], int], Listed]
"""A page of the deals that the parameters leave, by its number from 1."""

UNCOUNTED = "the list does not say how many deals it has, so nobody can tell whether all were shown"
UNFILTERED = "the list pays no heed to created_after and created_before, so it was read page by page while it moved"
MOVING = "the list moved while its pages were read, so a deal may have been skipped"

_FILL = 0.8
_PASSES = 5
_LONG_AGO = "1990-01-01T00:00:00.000Z"
_BOUND = timedelta(days=5 * 365 + 2)
"""Creation dates may be set so far into the past (section 8): most of an older workspace's deals lie after it."""
_AHEAD = timedelta(hours=25)
"""Creation dates may lie 24 hours ahead."""
_EDGE = timedelta(seconds=1)
"""Whether a bound takes in its own moment is not documented, so windows overlap; filters are sent in whole seconds."""
_TOLD_APART = 200_000


@dataclass(frozen=True, slots=True)
class Step:
    """One page, and where the walk stands once it is committed; `done` after the last."""

    listed: Listed
    scan: Scan
    done: bool = False


class Windows:
    """A walk over all deals that `fetch` leaves, resumed where `scan` stands. `page_size` is what is asked for."""

    def __init__(self, fetch: Fetch, scan: Scan, page_size: int) -> None:
        self._fetch = fetch
        self._scan = scan
        self._page_size = page_size

    def steps(self) -> Iterator[Step]:
        """The pages up to the last deal. Raises `Unintelligible` for a list that has no end."""
        while True:
            after, before = self._scan.after, None
            first = self._fetch(self._params(after, None), 1) if self._scan.width_s is None else None
            if first is None:
                before = self._end(after, self._scan.width_s or 1)
                first = self._fetch(self._params(after, before), 1)
                before = None if before > _horizon(first) else before
            if self._strays(first, after, before):
                self._doubt(UNFILTERED)
                yield from self._paged({}, None, (None, None), passes=1)
                return
            if self._scan.total is None and first.meta.total is not None:
                self._scan = replace(self._scan, total=first.meta.total)
            room = self._room(first)
            if _is_whole(first, room):
                rest = _within(first, after, before)
                yield self._onward(rest, before, len(rest.rows.keys), room)
            elif (first.meta.total or 0) > room and self._narrow(first, before, room):
                continue
            else:
                yield from self._paged(self._params(after, before), first, (after, before))
            if before is None:
                return

    # -- one window

    def _params(self, after: str | None, before: str | None) -> Mapping[str, str]:
        bounds = {}
        if after is not None:
            bounds["created_after"] = seconds(shifted(after, -_EDGE))
        if before is not None:
            bounds["created_before"] = seconds(shifted(before, _EDGE))
        return bounds

    def _end(self, after: str | None, width_s: int) -> str:
        return shifted(after or _LONG_AGO, timedelta(seconds=width_s))

    def _strays(self, first: Listed, after: str | None, before: str | None) -> bool:
        """Whether rows came that the window cannot have: then its bounds are not heeded."""
        low = "" if after is None else shifted(after, -2 * _EDGE)
        high = "~" if before is None else shifted(before, 2 * _EDGE)
        return any(created is not None and not low <= created <= high for created in first.created)

    def _narrow(self, first: Listed, before: str | None, room: int) -> bool:
        """Make the next window such that it should fit; False where it is a second wide already."""
        begin, horizon = _moment(self._scan.after or _LONG_AGO), _moment(_horizon(first))
        oldest = horizon - _AHEAD - _BOUND
        if self._scan.after is None and before is None:
            shown = [created for created in first.created if created is not None]
            width = ((_moment(min(shown)) if shown else oldest) - begin).total_seconds()
        elif self._scan.after is None and before is not None and _moment(before) > oldest:
            width = (oldest - begin).total_seconds()
        else:
            span = ((horizon if before is None else _moment(before)) - begin).total_seconds()
            if span <= 1:
                return False
            width = min(span - 1, span * _FILL * room / (first.meta.total or 1))
        self._scan = replace(self._scan, width_s=max(1, int(width)))
        return True

    def _onward(self, listed: Listed, before: str | None, count: int, room: int) -> Step:
        scan = self._scan
        if before is not None:
            width = scan.width_s or 1
            if scan.after is None:
                rest = (_moment(_horizon(listed)) - _AHEAD - _moment(before)).total_seconds()
                width = int(rest * _FILL * room / max(1, scan.total or 1))
            else:
                width = int(width * min(4.0, max(0.5, _FILL * room / max(1, count))))
            scan = replace(scan, after=before, width_s=max(1, width))
        self._scan = replace(scan, counted=scan.counted + count)
        return Step(listed, self._scan, before is None)

    # -- a window that is no single page

    def _paged(
        self,
        params: Mapping[str, str],
        first: Listed | None,
        bounds: tuple[str | None, str | None],
        *,
        passes: int = _PASSES,
    ) -> Iterator[Step]:
        """Read pages to an empty one, again while the count does not agree; what stays unclear is a doubt.

        Nothing is committed before the last page: pages of a list that moves cannot be resumed.
        """
        standing = self._scan
        for _ in range(passes):
            tally, number = _Tally(), 1
            listed, first = first or self._fetch(params, 1), None
            room = self._room(listed)
            while listed.rows.keys:
                inside = _within(listed, *bounds)
                tally.add(listed, len(listed.rows.keys) - len(inside.rows.keys))
                yield Step(inside, standing)
                number += 1
                listed = self._fetch(params, number)
                tally.hold(number)
            if tally.agrees(listed) or listed.meta.total is None:
                break
        if not tally.agrees(listed):
            self._doubt(UNCOUNTED if listed.meta.total is None else MOVING)
        yield self._onward(listed, bounds[1], tally.inside, room)

    def _room(self, listed: Listed) -> int:
        return min(listed.meta.per_page or self._page_size, self._page_size)

    def _doubt(self, doubt: str) -> None:
        self._scan = replace(self._scan, doubts=tuple(dict.fromkeys((*self._scan.doubts, doubt))))


class _Tally:
    """Counts the distinct deals of one pass, and notices a list without an end."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._first_total: int | None = None
        self._last_total: int | None = None
        self._rows = 0
        self._pages = 0
        self._stale = 0
        self._outside = 0

    @property
    def inside(self) -> int:
        """The distinct deals, but for those that another window counts."""
        return len(self._seen) - self._outside

    def add(self, listed: Listed, outside: int) -> None:
        """One page came; so many of its rows belong to other windows."""
        if not self._pages:
            self._first_total, self._rows = listed.meta.total, len(listed.rows.keys)
        self._pages += 1
        self._last_total = listed.meta.total
        before = len(self._seen)
        if before < _TOLD_APART:
            self._seen.update(listed.rows.keys)
            fresh = len(self._seen) > before
            self._stale = 0 if fresh else self._stale + 1
            self._outside += outside if fresh else 0

    def hold(self, number: int) -> None:
        """Before the page of this number is used: the same rows for ever are no list."""
        expected = -(-(self._last_total or 0) // max(1, self._rows))
        if self._stale >= 3 and number > expected + 3:
            raise Unintelligible(
                "the same deals come again whatever the page, so the list has no end. "
                "Ask LeadLex's support whether paging works for this workspace"
            )

    def agrees(self, empty: Listed) -> bool:
        """Whether the list's own count, on its first, last and empty page, is that of the deals it showed."""
        totals = {self._first_total, self._last_total, empty.meta.total} if self._pages else {empty.meta.total}
        return len(self._seen) < _TOLD_APART and totals == {len(self._seen)}


def seconds(moment: str) -> str:
    """An instant as a filter is sent: UTC, whole seconds, `Z`; what lies between is cut off."""
    return f"{moment[:19]}Z"


def _is_whole(first: Listed, room: int) -> bool:
    keys = first.rows.keys
    return len(keys) < room and first.meta.total == len(keys) == len(set(keys))


def _within(listed: Listed, after: str | None, before: str | None) -> Listed:
    """The page without the rows that another window shows as well."""
    if before is None and after is None:
        return listed
    low, high = after or "", before or "~"
    kept = [created is None or low <= created < high for created in listed.created]
    if all(kept):
        return listed
    records = [record for record, keep in zip(listed.rows.records, kept, strict=True) if keep]
    dropped = {record.source_id for record, keep in zip(listed.rows.records, kept, strict=True) if not keep}
    keys = [key for key in listed.rows.keys if key not in dropped]
    created = [one for one, keep in zip(listed.created, kept, strict=True) if keep]
    return listed._replace(rows=Sliced(records, listed.rows.spoiled, keys), created=created)


def _horizon(listed: Listed) -> str:
    """No creation date lies further ahead, unless somebody breaks the rules."""
    return shifted(listed.source_time or listed.requested_at, _AHEAD)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC).replace(microsecond=0)
