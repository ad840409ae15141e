"""Planhat's chunks: ranges of `_id`, which counts up with the time of creation and never changes.

Offsets move while the list does, ids do not. So a chunk is a range of ids, and the offset it had when it was planned is
only where to begin looking (contracts/planhat.md section 4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from math import ceil

import msgspec

from connectors.chunks import ChunkPlan, chunk_rows
from connectors.faults import Unintelligible
from connectors.paging import BY_ID, MOVING, OUT_OF_ORDER, Fetched, OffsetWalk, Place
from connectors.planhat.cursor import Kind
from connectors.planhat.lists import Lists
from connectors.planhat.whole import Wholeness
from connectors.slicing import Sliced
from connectors.source import Cursor, Page
from connectors.times import iso

MIXED = "Planhat no longer keeps sort=_id, so one part cannot be told from another; cancel this backfill and start anew"

_MONGO = re.compile(r"[0-9a-f]{24}", re.ASCII)
_LATEST = datetime(2106, 2, 7, tzinfo=UTC)
"""Four bytes of seconds, with which an `_id` begins, reach no further."""


class _Part(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The ids from `low` on and before `high`; None is no bound. `offset` is where `low` lay when it was planned.

    Where the list was seen not to be `ordered`, all of it is read, and what lies beyond the bounds passed over.
    """

    kind: Kind
    offset: int = 0
    low: str | None = None
    high: str | None = None
    ordered: bool = True


class _At(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where a part is read on."""

    offset: int
    last: str | None = None
    ordered: bool = True


class Parts:
    """Plans the parts of a list of deals, and reads them."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._whole: Wholeness | None = None

    def plan(self, kind: Kind, since: str | None, until: str | None) -> Iterator[ChunkPlan]:
        """Parts of whole pages, found by looking at one row where each page begins. Bounds are minded to the second."""
        options = self._lists.options
        # So much of a page is new to it: the rest it shares with the one before, and one row shows that a part is over.
        size = max(1, options.page_size - options.page_overlap - 1)
        low, high = _bound(since, up=False), _bound(until, up=True)
        marks = _Marks(self._lists, kind, size)
        if marks.at(0) is None:
            return
        first = 0 if low is None else max(0, marks.first(lambda id_: id_ >= low) - 1)
        end = marks.first(lambda id_: high is not None and id_ >= high)
        stride = chunk_rows((end - first) * size, size) // size
        edges = list(range(first, end, stride))
        if not edges:
            return  # the first deal comes after the range
        starts = [marks.at(edge) for edge in edges]
        mixed = any(one is None or other is None or one >= other for one, other in pairwise(starts))
        if mixed or not marks.ordered:
            # Rows went away while we looked, or the order is none: one part has to do.
            yield ChunkPlan(_label(low, high), _told(_Part(kind, low=low, high=high, ordered=False)), end * size)
            return
        for edge, begin, stop in zip(edges, [low, *starts[1:]], [*starts[1:], high], strict=True):
            rows = (min(edge + stride, end) - edge) * size
            yield ChunkPlan(_label(begin, stop), _told(_Part(kind, edge * size, begin, stop)), rows)

    def read(self, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[Page]:
        """The rows of a part, whatever was inserted or deleted since it was planned.

        Raises `Unintelligible` where rows may have been skipped, or the list has lost the order that bounds need.
        """
        part = msgspec.convert(chunk.place, _Part)
        bounded = part.ordered and (part.low is not None or part.high is not None)
        start = Place(part.offset, part.low if part.offset else None)
        if cursor is not None:
            start = Place(**msgspec.structs.asdict(msgspec.convert(cursor, _At)))
        walk = OffsetWalk(
            lambda offset, limit: self._lists.page(part.kind, "_id", offset, limit),
            limit=self._lists.options.page_size,
            overlap=self._lists.options.page_overlap,
            order=BY_ID,
            start=start,
        )
        whole = self._whole = self._whole or Wholeness(self._lists, part.kind, None)
        read: str | None = None
        for step in walk.steps():
            if bounded and OUT_OF_ORDER in step.doubts:
                raise Unintelligible(MIXED)
            if MOVING in step.doubts:
                raise Unintelligible(MOVING)
            rows = step.fetched.rows
            inside = yield from whole.complete(Fetched(_within(rows, part, read), step.fetched.requested_at))
            # In a list that keeps its order, what a page shares with the one before has landed with that one.
            ids = (record.source_id for record in rows.records)
            read = max((read or "", *ids)) if step.place.ordered else None
            yield Page(
                records=inside.records,
                spoiled=inside.spoiled,
                requested_at=step.fetched.requested_at,
                cursor=_told(_At(*step.place)),
                notes=(*whole.notes, *step.doubts),
            )
            if bounded and part.high is not None and any(record.source_id >= part.high for record in rows.records):
                return


class _Marks:
    """The ids at which the pages of a list begin, each looked at once; `ordered` says whether the first page is."""

    def __init__(self, lists: Lists, kind: Kind, size: int) -> None:
        self._lists = lists
        self._kind = kind
        self._size = size
        rows = lists.page(kind, "_id", 0, lists.options.page_size).rows
        ids = [record.source_id for record in rows.records]
        self.ordered = ids == sorted(ids)
        self._seen = {0: _first_of(rows)}

    def at(self, page: int) -> str | None:
        """The id of the first row of a page, None beyond the end."""
        if page not in self._seen:
            self._seen[page] = _first_of(self._lists.page(self._kind, "_id", page * self._size, 1).rows)
        return self._seen[page]

    def first(self, reached: Callable[[str], bool]) -> int:
        """The first page that begins with an id for which `reached` holds, or that is beyond the end."""

        def there(page: int) -> bool:
            found = self.at(page)
            return found is None or reached(found)

        low, high = -1, 1
        while not there(high):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if there(middle) else (middle, high)
        return high


def _first_of(rows: Sliced) -> str | None:
    """The first id of a page, None for an empty one. Where no row has one, it counts as the first of all."""
    return rows.records[0].source_id if rows.records else "" if rows.keys else None


def _told(place: _Part | _At) -> Cursor:
    told: Cursor = msgspec.to_builtins(place)
    return told


def _within(rows: Sliced, part: _Part, read: str | None) -> Sliced:
    """The rows of a page that belong to a part, but for those up to the id that was `read`.

    Rows that nobody can place belong to every part that shows them.
    """

    def belongs(source_id: str | None) -> bool:
        if source_id is None:
            return True
        if read is not None and source_id <= read:
            return False
        return (part.low is None or source_id >= part.low) and (part.high is None or source_id < part.high)

    return Sliced(
        [record for record in rows.records if belongs(record.source_id)],
        [bad for bad in rows.spoiled if belongs(bad.source_id)],
        [key for key in rows.keys if belongs(key)],
    )


def _bound(moment: str | None, *, up: bool) -> str | None:
    """The least id that may have been given out in the second of a moment, or in the next full one."""
    if moment is None:
        return None
    at = min(datetime.fromisoformat(moment), _LATEST).timestamp()
    return f"{max(0, ceil(at) if up else int(at)):08x}{'0' * 16}"


def _label(low: str | None, high: str | None) -> str:
    words = [f"from {_created(low)}" if low else "", f"before {_created(high)}" if high else ""]
    return f"created {' '.join(word for word in words if word)}" if low or high else "everything"


def _created(id_: str) -> str:
    if not _MONGO.fullmatch(id_):
        return f"_id {id_[:40]}"
    return f"{iso(datetime.fromtimestamp(int(id_[:8], 16), UTC))[:19]}Z (_id {id_})"
