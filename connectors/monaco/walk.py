"""Walking a list of numbered pages while it changes underneath, so that each page shares rows with the one before.

Monaco has page numbers only, so a page cannot begin a few rows before the last one ended. But it may have another size:
of all sizes the one is taken whose pages begin just before that place and reach farthest. A row that is there all
the time is then read, whatever is deleted or inserted meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import msgspec

from connectors.monaco.lists import Listed
from connectors.paging import EMPTY_BETWEEN, MOVING, OUT_OF_ORDER, PagedBadly
from connectors.source import Record
from connectors.times import instant

SHORT = "the list ends before as many rows came as its total_count tells of"
TIES = "more rows share one time than fit into a page, and their order changes from request to request"

_OVERLAP = 20
_PATIENCE = 2
"""So often a page may bring nothing new although rows must follow, or join none before it."""

_LARGEST = 500


class Order(NamedTuple):
    """What the list is sorted by: `rank` reads it from a record, as text, None where it has no say."""

    rank: Callable[[Record], str | None]
    descending: bool = False


class _Created(msgspec.Struct):
    created_at: str | None = None


_created = msgspec.json.Decoder(_Created)


def _created_at(record: Record) -> str | None:
    try:
        return instant(_created.decode(record.raw).created_at)
    except msgspec.DecodeError:
        return None


OLDEST_FIRST = Order(_created_at)
NEWEST_CHANGE_FIRST = Order(lambda record: record.version, descending=True)


class Place(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a walk stands: the rows before position `end` were read, the last of them `tail`, the next page has to
    begin at position `back` or before."""

    end: int = 0
    back: int = 0
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a walk, the place to resume at once it is committed, and the doubts of the walk so far."""

    listed: Listed
    place: Place
    doubts: tuple[str, ...]
    done: bool


class PageWalk:
    """A list read with `fetch(number, size)` up to the end that its total tells, in pages of at most `size` rows.

    Rows deleted meanwhile move later rows to the left: when a page shares no row with the one before, the walk looks
    further back until one does. Rows that share a time may come in any order, so a page begins before all of them;
    `TIES` when they are too many for that and were seen to change places.
    """

    def __init__(
        self, fetch: Callable[[int, int], Listed], *, size: int, order: Order, start: Place | None = None
    ) -> None:
        self._fetch = fetch
        self._size = size
        self._order = order
        self._place = start or Place()
        self._doubts: dict[str, None] = {}
        self._wide = False
        self._lost = 0

    def steps(self) -> Iterator[Step]:
        """The pages up to the end. Raises `PagedBadly` for a list that becomes empty while it is read."""
        stalled = 0
        while True:
            before = self._place
            listed, further_back = self._joining()
            self._size = min(self._size, listed.size) if listed.size < self._asked else self._size
            self._place = self._after(listed)
            stalled = stalled + 1 if self._place.end <= before.end and not further_back else 0
            done = listed.start + len(listed.rows.keys) >= listed.total
            if stalled >= _PATIENCE and not done:
                self._doubts[SHORT] = None
                done = True
            yield Step(listed, self._place, tuple(self._doubts), done)
            if done:
                return

    def _joining(self) -> tuple[Listed, bool]:
        """The next page, or the first one further back that shares a row with the one before; and whether it is."""
        page = listed = self._at(self._place.back)
        if not self._place.tail or self._joins(listed):
            return listed, False
        if not listed.rows.keys:
            self._doubts[EMPTY_BETWEEN] = None
        offset, stride = self._place.back, self._size
        while offset > 0:
            offset, stride = max(0, offset - stride), stride * 2
            listed = self._at(offset)
            if self._joins(listed):
                return listed, True
        if not listed.rows.keys:
            raise PagedBadly("the list became empty while it was being read; nothing is concluded from that")
        self._lost += 1
        if self._lost < _PATIENCE:
            return listed, True
        self._doubts[MOVING] = None
        return page, False

    def _at(self, position: int) -> Listed:
        number, self._asked = numbered(position, self._place.end, self._size)
        return self._fetch(number, self._asked)

    def _joins(self, listed: Listed) -> bool:
        tail = set(self._place.tail)
        shared = [key for key in listed.rows.keys if key in tail]
        if self._wide and shared:
            among = set(shared)
            if shared != [key for key in self._place.tail if key in among]:
                self._doubts[TIES] = None
        return bool(shared)

    def _after(self, listed: Listed) -> Place:
        """The place after a page: the next one has to begin before the last rows, and all that share their time."""
        rows = listed.rows
        ranks = [rank for record in rows.records if (rank := self._order.rank(record)) is not None]
        if ranks != sorted(ranks, reverse=self._order.descending):
            self._doubts[OUT_OF_ORDER] = None
        end = listed.start + len(rows.keys)
        if not rows.keys:
            return Place(min(end, self._place.end), min(self._place.back, end), self._place.tail)
        widest = max(1, self._size // 2)
        tied = 1
        while ranks and tied < len(ranks) and ranks[-1 - tied] == ranks[-1]:
            tied += 1
        self._wide = tied > widest
        shared = min(max(tied, min(_OVERLAP, self._size // 3)), widest, len(rows.keys))
        return Place(end, end - shared, tuple(rows.keys[-shared:]))


@lru_cache(maxsize=1024)
def numbered(position: int, end: int, size: int) -> tuple[int, int]:
    """The number and the size of the page that holds `position` and reaches farthest beyond `end`.

    It has at most `size` rows, unless only a larger one reaches beyond.
    """
    reach, best = max((each * (position // each) + each, each) for each in range(1, size + 1))
    if reach <= end:
        larger = range(size + 1, _LARGEST + 1)
        best = next((each for each in larger if each * (position // each) + each > end), best)
    return position // best + 1, best
