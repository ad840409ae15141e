"""Monaco's chunks: ranges of `created_at`, by which the list is sorted and which never changes.

It is nothing that Monaco filters by, and pages go by number. So a chunk is a range of times, and the position it had
when it was planned is only where to begin looking (contracts/monaco.md section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import msgspec

from connectors.chunks import ChunkPlan, chunk_rows, label_of
from connectors.faults import Unintelligible
from connectors.monaco.lists import Lists, Which
from connectors.monaco.walk import OLDEST_FIRST, PageWalk, Place, Step
from connectors.paging import MOVING, OUT_OF_ORDER
from connectors.slicing import Sliced
from connectors.source import Cursor, Record

MIXED = (
    "Monaco no longer keeps sort=created_at, so one part cannot be told from another; "
    "cancel this backfill and start anew"
)


class _Part(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What was created from `low` on and before `high`; None is no bound. It began at `position` when it was planned.

    Where the list was seen not to be `ordered`, all of it is read, and what lies beyond the bounds passed over.
    """

    position: int = 0
    low: str | None = None
    high: str | None = None
    ordered: bool = True

    def holds(self, record: Record) -> bool:
        """Whether a record belongs here; one that nobody can place belongs to every part that shows it."""
        created = OLDEST_FIRST.rank(record)
        return created is None or ((self.low or "") <= created < (self.high or "~"))


def plan(lists: Lists, since: str | None, until: str | None) -> Iterator[ChunkPlan]:
    """Parts of a few pages each, found by looking at the one row at which each begins."""
    size = lists.options.page_size
    marks = _Marks(lists)
    if not marks.total:
        return
    first = 0 if since is None else marks.first(lambda created: created >= since)
    end = marks.total if until is None else marks.first(lambda created: created >= until)
    edges = list(range(first, end, chunk_rows(end - first, size)))
    if not edges:
        return
    starts = [marks.at(edge) for edge in edges]
    if any((one or "") > (other or "~") for one, other in pairwise(starts)):
        yield ChunkPlan(label_of(since, until), _told(_Part(low=since, high=until, ordered=False)), marks.total)
        return
    # Rows of one time cannot be told apart: a part that would begin among them begins with the next time.
    kept = [place for place, start in enumerate(starts) if not place or (start and start > (starts[place - 1] or ""))]
    bounds = [since, *(starts[place] for place in kept[1:]), until]
    reach = [edges[place] for place in kept] + [end]
    for (low, high), (begin, stop) in zip(pairwise(bounds), pairwise(reach), strict=True):
        yield ChunkPlan(label_of(low, high), _told(_Part(begin, low, high)), stop - begin)


def steps(lists: Lists, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[tuple[Step, Sliced]]:
    """The pages that show a part, each with those of its rows that belong to the part and were not on the page before.

    Raises `Unintelligible` where rows may have been skipped, or the list has lost its order and the part has bounds.
    """
    part = msgspec.convert(chunk.place, _Part)
    bounded = part.ordered and (part.low is not None or part.high is not None)
    place = Place() if cursor is None else msgspec.convert(cursor, Place)
    before = frozenset(place.tail)
    for step in _from_its_beginning(lists, part) if cursor is None else _walk(lists, place):
        if MOVING in step.doubts or (bounded and OUT_OF_ORDER in step.doubts):
            raise Unintelligible(MIXED if OUT_OF_ORDER in step.doubts else MOVING)
        rows = step.listed.rows
        yield step, _within(rows, part, before)
        before = frozenset(rows.keys)
        if bounded and part.high is not None and any(_created(record) >= part.high for record in rows.records):
            return


def cursor_of(step: Step) -> Cursor:
    """Where a part is read on after a step."""
    return _told(step.place)


def _from_its_beginning(lists: Lists, part: _Part) -> Iterator[Step]:
    """The walk that begins at or before the first row of a part, wherever that has moved to meanwhile."""
    size = lists.options.page_size
    begin, stride = max(0, part.position - 1) // size * size if part.ordered else 0, size
    while begin > 0:
        walk = _walk(lists, Place(begin, begin))
        step = next(walk)
        if any(_created(record) < (part.low or "") for record in step.listed.rows.records[:1]):
            yield step
            yield from walk
            return
        begin, stride = max(0, begin - stride), stride * 2
    yield from _walk(lists, Place())


def _walk(lists: Lists, place: Place) -> Iterator[Step]:
    fetch = partial(lists.page, Which())
    return PageWalk(fetch, size=lists.options.page_size, order=OLDEST_FIRST, start=place).steps()


class _Marks:
    """The creation times at positions of the list, each looked at once. `total` rows there are."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._seen: dict[int, str | None] = {}
        self.total = lists.page(Which(), 1, 1).total

    def at(self, position: int) -> str | None:
        """When the row at a position was created; None where that cannot be read, or nothing is there any more."""
        if position not in self._seen:
            rows = self._lists.page(Which(), position + 1, 1).rows.records
            self._seen[position] = OLDEST_FIRST.rank(rows[0]) if rows else None
        return self._seen[position]

    def first(self, reached: Callable[[str], bool]) -> int:
        """The first position of a row for which `reached` holds, in a list that keeps its order."""
        low, high = 0, self.total
        while low < high:
            middle = (low + high) // 2
            created = self.at(middle)
            low, high = (low, middle) if created is not None and reached(created) else (middle + 1, high)
        return low


def _within(rows: Sliced, part: _Part, before: frozenset[str]) -> Sliced:
    records = [record for record in rows.records if record.source_id not in before and part.holds(record)]
    spoiled = [bad for bad in rows.spoiled if bad.source_id is None or bad.source_id not in before]
    return Sliced(records, spoiled, rows.keys)


def _created(record: Record) -> str:
    """When a record was created; one that does not say so stands at no bound."""
    return OLDEST_FIRST.rank(record) or ""


def _told(place: _Part | Place) -> Cursor:
    told: Cursor = msgspec.json.decode(msgspec.json.encode(place))
    return told
