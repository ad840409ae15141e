"""Chunks: how a source's deals are cut into parts that can each be read, resumed and read again by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import msgspec

from connectors.source import Cursor, Page, Reader

WHOLE = "everything, by no creation date"

FEWEST = 10
"""A list is cut into at least so many chunks, unless a chunk would be less than a page."""

MOST = 200
"""A list is cut into at most so many chunks, however long they get."""

LONGEST_PAGES = 10
"""A chunk has at most so many pages, unless there would be more than `MOST` chunks."""


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """A part of a source's deals.

    `label` says to a person which part; `place` says it to the source and to nobody else. `expects` is about how many
    rows it has, None where the source does not tell.
    """

    label: str
    place: Cursor
    expects: int | None = None


class Span(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The place of a part that is what was created from `low` on and before `high` (instants); None is no bound."""

    low: str | None = None
    high: str | None = None

    def holds(self, created: str | None) -> bool:
        """Whether what was created then belongs here; what does not say when belongs to every part that shows it."""
        return created is None or (self.low or "") <= created < (self.high or "~")


@runtime_checkable
class Divisible(Protocol):
    """A reader that can cut its deals into chunks. Both methods may raise a `connectors.faults.Fault`."""

    def chunks(self, since: str | None, until: str | None) -> Iterator[ChunkPlan]:
        """The parts that hold every deal created from `since` on and before `until` (instants; None is no bound).

        A deal that is there all the time belongs to one of them, whatever is created or deleted meanwhile. None for an
        empty list.
        """
        ...

    def chunk(self, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[Page]:
        """The deals of one part; a page's cursor is where this part is read on. A page says no doubts but notes."""
        ...


@runtime_checkable
class Recalling(Protocol):
    """A reader that finds something out about its tenant once, and keeps to it."""

    def recall(self, cursor: Cursor | None) -> None:
        """Take over what the committed cursor of a pull knows of the tenant."""
        ...


def chunks_of(reader: Reader, since: str | None, until: str | None, known: Cursor | None = None) -> Iterator[ChunkPlan]:
    """The parts of any source: one that cannot be cut has a single one, which no bound makes smaller.

    `known` is the committed cursor of a pull, if there is one: what it found out once is not found out anew.
    """
    if isinstance(reader, Recalling):
        reader.recall(known)
    if isinstance(reader, Divisible):
        return reader.chunks(since, until)
    return iter([ChunkPlan(WHOLE, {})])


def pages_of(reader: Reader, chunk: ChunkPlan, cursor: Cursor | None) -> Iterator[Page]:
    """The pages of a part, from a committed cursor on."""
    if isinstance(reader, Divisible):
        return reader.chunk(chunk, cursor)
    # Whether it could witness absence is of no matter here.
    return (replace(page, doubts=(), notes=(*page.notes, *page.doubts)) for page in reader.everything(cursor))


def chunk_rows(total: int, page_size: int) -> int:
    """How many rows a chunk of a list of `total` should have: whole pages, few enough to be told of and retried."""
    pages = max(1, -(-total // page_size))
    wanted = min(max(1, pages // FEWEST), LONGEST_PAGES)
    return max(wanted, -(-pages // MOST)) * page_size


def label_of(low: str | None, high: str | None) -> str:
    """A window of creation times as a person reads it."""
    words = [f"from {_day(low)}" if low else "", f"before {_day(high)}" if high else ""]
    return f"created {' '.join(word for word in words if word)}" if low or high else "everything"


def _day(moment: str) -> str:
    return moment[:10] if moment[11:19] == "00:00:00" else f"{moment[:19]}Z"
