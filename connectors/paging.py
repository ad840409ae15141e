"""Paging: reads a list by offset while it changes underneath, and tells a complete read from one that only looks so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from connectors.faults import Unintelligible
from connectors.slicing import Sliced
from connectors.source import Record

OUT_OF_ORDER = "the list does not keep the order that was asked for"
EMPTY_BETWEEN = "an empty page came where rows had just been seen"
MOVING = "rows moved so far between two pages that some may have been skipped"

_REPEATS = 2
"""Seen so often, what could be rows moving just then is the source ignoring the offset, or cutting its list short."""


class PagedBadly(Unintelligible):
    """The source pages its list in a way that cannot be followed to its end."""


class Fetched(NamedTuple):
    """One page of a list; `requested_at` is the time just before its request was sent, by the database's clock."""

    rows: Sliced
    requested_at: str


class Order(NamedTuple):
    """The order a list was asked for.

    `rank` gives the text a record is ranked by, None for one that has no say. `unique` promises that no two records
    share a rank: then ranks alone prove that nothing lies between two pages.
    """

    rank: Callable[[Record], str | None]
    descending: bool
    unique: bool


BY_ID = Order(lambda record: record.source_id, descending=False, unique=True)
NEWEST_FIRST = Order(lambda record: record.version, descending=True, unique=False)


class Place(NamedTuple):
    """Where a walk stands: the rows before `offset` were read, up to the record ranked `last`.

    `ordered` is False once the list was seen not to keep its order.
    """

    offset: int = 0
    last: str | None = None
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a walk, the place to resume at once it is committed, and the doubts of the walk so far."""

    fetched: Fetched
    place: Place
    doubts: tuple[str, ...]


def each_once(pages: Iterable[Sequence[Record]]) -> Iterator[list[Record]]:
    """The pages, each without the records that it shares with the one before."""
    before: frozenset[str] = frozenset()
    for page in pages:
        yield [record for record in page if record.source_id not in before]
        before = frozenset(record.source_id for record in page)


class OffsetWalk:
    """A list read page by page with `fetch(offset, limit)`, each page overlapping the one before by `overlap` rows.

    A page begins where the last one ended, by what came and never by what was asked, since a limit may be clamped
    (contracts/planhat.md section 4). Rows deleted meanwhile move later rows to the left: when a page does not join
    the one before, the walk looks further back until one does. It ends at an empty page only.
    """

    def __init__(
        self,
        fetch: Callable[[int, int], Fetched],
        *,
        limit: int,
        overlap: int,
        order: Order,
        start: Place | None = None,
    ) -> None:
        place = start or Place()
        self._fetch = fetch
        self._limit = limit
        self._overlap = overlap
        self._order = order
        self._last = place.last
        self._seen: set[str] | None = None if place.ordered else set()
        self._doubts: dict[str, None] = {} if place.ordered else {OUT_OF_ORDER: None}
        self._before: frozenset[str] = frozenset()
        self._expected = min(overlap, place.offset)
        self._offset = place.offset - self._expected
        self._catch_up = 0
        self._contradicted = 0
        self._joined = True

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why this walk may have missed a record; empty when it cannot have."""
        return tuple(self._doubts)

    def steps(self) -> Iterator[Step]:
        """The pages up to the end of the list.

        Raises `PagedBadly` for rows repeated for ever, for an empty page where there must be rows, and for a list
        that becomes empty while it is read.
        """
        repeats = 0
        while True:
            fetched = self._joining(self._fetch(self._offset, self._limit))
            rows = fetched.rows
            if not rows.keys:
                return
            self._verify(rows)
            fresh = self._fresh(rows)
            end = self._offset + len(rows.keys)
            behind = end <= self._catch_up
            if fresh:
                repeats = 0
            elif len(rows.keys) > self._expected and not behind:
                repeats += 1
            if repeats >= _REPEATS:
                raise PagedBadly(
                    f"the same {len(rows.keys):,} rows come again whatever the offset, so the list has no end. "
                    "Ask the source's support whether paging works for this account"
                )
            self._remember(rows)
            yield Step(fetched, Place(end, self._last, self._seen is None), self.doubts)
            # Nothing new: the next request must be the empty page that proves the end.
            self._expected = min(self._overlap, len(rows.keys) - 1) if fresh or behind else 0
            self._offset = end - self._expected

    def _joining(self, fetched: Fetched) -> Fetched:
        """The page itself when it joins the one before, else the first page further back that does."""
        if self._last is None and not self._before:
            return fetched
        if fetched.rows.keys:
            alone = not self._expected and len(self._before) == 1
            return fetched if alone or self._joins(fetched.rows) else self._look_back(fetched)
        if not self._expected:
            return fetched
        self._doubts[EMPTY_BETWEEN] = None
        again = self._fetch(self._offset, self._limit)
        return again if again.rows.keys and self._joins(again.rows) else self._look_back(again)

    def _joins(self, rows: Sliced) -> bool:
        shares = not self._joined or not self._before.isdisjoint(rows.keys)
        if shares or self._seen is not None or self._last is None:
            return shares or not self._before
        first = next((rank for record in rows.records if (rank := self._order.rank(record)) is not None), None)
        if first is None:
            return False
        return first > self._last if self._order.descending else first <= self._last

    def _look_back(self, page: Fetched) -> Fetched:
        """The first page further to the left that joins the one before, when `page` does not."""
        missed, stride, offset = self._offset, 2 * max(1, self._overlap), self._offset
        while offset > 0:
            offset = max(0, offset - stride)
            stride *= 2
            earlier = self._fetch(offset, self._limit)
            if not page.rows.keys and offset + len(earlier.rows.keys) > missed:
                self._contradicted += 1
                if self._contradicted >= _REPEATS:
                    raise PagedBadly(f"an empty page came at offset {missed:,}, where the source has rows")
            whole = offset == 0 and self._order.unique and self._seen is None
            if earlier.rows.keys and (whole or self._joins(earlier.rows)):
                self._offset = offset
                self._catch_up = max(missed, offset + len(earlier.rows.keys))
                return earlier
        if not page.rows.keys:
            raise PagedBadly("the list became empty while it was being read; nothing is concluded from that")
        self._doubts[MOVING] = None
        self._joined = False
        return page

    def _verify(self, rows: Sliced) -> None:
        if self._seen is not None:
            return
        ranks = [rank for record in rows.records if (rank := self._order.rank(record)) is not None]
        if ranks != sorted(ranks, reverse=self._order.descending):
            self._seen = set(self._before)
            self._doubts[OUT_OF_ORDER] = None

    def _fresh(self, rows: Sliced) -> bool:
        if self._seen is not None:
            return not self._seen.issuperset(rows.keys)
        if self._order.unique and self._last is not None and not rows.spoiled:
            return any(key > self._last for key in rows.keys)
        return not self._before.issuperset(rows.keys)

    def _remember(self, rows: Sliced) -> None:
        self._before = frozenset(rows.keys)
        if self._seen is not None:
            self._seen |= self._before
        ranks = [rank for record in rows.records if (rank := self._order.rank(record)) is not None]
        if ranks:
            last = ranks[-1]
            self._last = last if self._last is None or self._order.descending else max(self._last, last)
