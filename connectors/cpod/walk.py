"""A walk: one list read to its end, by its cursors or by numbered pages, while it changes underneath."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from connectors.cpod.cursor import Place
from connectors.cpod.envelope import Shape
from connectors.cpod.lists import Lists, Sheet, TurnedDown
from connectors.faults import Unintelligible

SHORT = "the total that the list tells is not the number of rows it showed"
FAR = "rows moved so far between two numbered pages that some may have been skipped"

_RESTARTS = 3
_STILL = 2
_SEAMS = 5


class Step(NamedTuple):
    """One page of a walk, and the place to resume at once it is committed; None at the end.

    `begins` says that the list is read from its beginning, for the first time or because its cursor had died.
    """

    sheet: Sheet
    after: Place | None
    begins: bool
    doubts: tuple[str, ...]


class Walk:
    """Reads `path` from a place on, with the same `params` throughout; a list's cursors die when they change.

    `shape` is what is known of its pages, and grows while it is read. Raises `TurnedDown` when the first page is.
    """

    def __init__(
        self, lists: Lists, path: str, params: Mapping[str, str | int], shape: Shape | None, place: Place
    ) -> None:
        self._lists = lists
        self._path = path
        self._params = params
        self._place = place
        self._begins = place.rows == 0
        self._joined = place.page == 1
        self._before: frozenset[str] = frozenset()
        self._still = 0
        self._restarts = 0
        self._seams = 0
        self._far = False
        self.shape = shape

    def steps(self) -> Iterator[Step]:
        """The pages up to the end of the list.

        Raises `Unintelligible` for a list that has no end, or whose cursors die faster than it can be read.
        """
        surprised = False
        while True:
            try:
                sheet = self._fetch(self._place)
            except TurnedDown as no:
                self._start_again(no)
                continue
            if self._paged() and not self._numbered(sheet):
                continue
            self._verify(sheet)
            if not sheet.rows.keys and self._place.rows and not surprised:
                surprised = True  # The end of some lists, and what a stumbling server shows: it is asked once more.
                continue
            surprised = False
            after = self._after(sheet)
            yield Step(sheet, after, self._begins, self._doubts(sheet, last=after is None))
            self._begins = False
            if after is None:
                return
            self._before, self._place = frozenset(sheet.rows.keys), after

    def _fetch(self, place: Place) -> Sheet:
        asked = self._lists.paging(self.shape, place)
        sheet = self._lists.page(self._path, self._params, self.shape, place)
        self.shape = sheet.shape
        if self._paged() and self._lists.paging(self.shape, place) != asked:
            # Only now is it known how numbered pages are asked for: this one came in another size than the next.
            sheet = self._lists.page(self._path, self._params, self.shape, place)
        return sheet

    def _paged(self) -> bool:
        return self.shape is not None and self.shape.style == "page"

    def _start_again(self, no: TurnedDown) -> None:
        """The cursor has died, as they do after an hour (section 3): the list is read from its beginning."""
        if self._place.cursor is None and self._place.page == 1:
            raise no
        if self._place.cursor is None:
            raise Unintelligible(f"page {self._place.page:,} was turned down ({no.status}), and those before were not")
        self._restarts += 1
        if self._restarts > _RESTARTS:
            raise Unintelligible(
                f"cPod turned down its own cursor {self._restarts} times ({no.status}): they die faster than the list "
                "can be read. Raise page_size, or the limits of requests"
            ) from None
        self._place = Place()
        self._begins, self._before = True, frozenset()

    def _numbered(self, sheet: Sheet) -> bool:
        """Whether a numbered page joins the one before it; if not, the place is moved back.

        Rows that were deleted meanwhile have moved later rows to the left, onto a page already read. So the page
        before is read again after this one: a row that is new on it was about to be skipped.
        """
        place = self._place
        if place.page == 1 or (not self._joined and place.last in sheet.rows.keys):
            self._joined = True
            return True
        before = self._keys_of(place.page - 1)
        if not self._joined:
            self._joined = True
            self._go_back(place.page - 1 if place.last in before else 1, before)
            return False
        if not self._before or self._before.issuperset(before):
            self._seams = 0
            return True
        self._far = self._far or self._seams >= _SEAMS
        if self._far:
            return True
        self._seams += 1
        page, stride = place.page - 1, 1
        while page > 1 and self._before.isdisjoint(before):
            page, stride = max(1, page - stride), 2 * stride
            before = self._keys_of(page)
        self._go_back(page, before)
        return False

    def _keys_of(self, page: int) -> list[str]:
        return self._fetch(msgspec.structs.replace(self._place, page=page)).rows.keys

    def _go_back(self, page: int, keys: Sequence[str]) -> None:
        """Read on from an earlier page; what it holds and what lies behind it will be counted anew."""
        gone_back = (self._place.page - page) * len(keys)
        self._begins = page == 1
        self._place = msgspec.structs.replace(self._place, page=page, rows=max(0, self._place.rows - gone_back))
        if page == 1:
            self._place = Place()
        self._before = frozenset()

    def _verify(self, sheet: Sheet) -> None:
        keys = frozenset(sheet.rows.keys)
        paged = self._paged()
        if sheet.more and not keys:
            raise Unintelligible("the page says that more rows follow, but has none")
        if not paged and sheet.next is not None and sheet.next == self._place.cursor:
            raise Unintelligible("the cursor of the next page is that of this one; the list has no end")
        self._still = self._still + 1 if keys and keys == self._before else 0
        full = len(sheet.rows.keys) >= self._lists.options.page_size
        if self._still >= _STILL or (paged and self._still and (full or sheet.more)):
            raise Unintelligible("the same rows come again, whatever page is asked for; the list has no end")

    def _after(self, sheet: Sheet) -> Place | None:
        """Where to go on; None when this page is the last one."""
        place, size = self._place, len(sheet.rows.keys)
        fresh = sum(key not in self._before for key in sheet.rows.keys)
        rows = place.rows + fresh
        last = sheet.rows.keys[-1] if size else place.last
        total = sheet.total if self._begins else place.total
        if not self._paged():
            if sheet.next is None or (sheet.more is False and not size):
                if not sheet.told and self.shape and self.shape.next and size >= self._lists.options.page_size:
                    raise Unintelligible("a full page says nothing of what follows, and pages before did")
                return None
            return Place(cursor=sheet.next, last=last, rows=rows, total=total)
        if sheet.more is False or not size or not fresh:
            return None
        return Place(page=place.page + 1, last=last, rows=rows, total=total)

    def _doubts(self, sheet: Sheet, *, last: bool) -> tuple[str, ...]:
        """What is made meanwhile raises the total, what is deleted lowers it: the smaller one must be reached."""
        rows = self._place.rows + sum(key not in self._before for key in sheet.rows.keys)
        totals = [total for total in (sheet.total, self._place.total) if total is not None]
        short = last and bool(totals) and (rows < min(totals) or min(totals) < rows // 2)
        return ((FAR,) if self._far else ()) + ((SHORT,) if short else ())
