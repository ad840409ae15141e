"""Complete: everything that a source shows, page by page, and what speaks against its being a witness of absence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from connectors.source import Cursor, Page
from pipeline.ahead import ahead, with_the_last
from pipeline.run import Run

NOTHING_SHOWN = "the source showed no deals at all"
"""The doubt about a complete read of nothing."""


def pages(run: Run, cursor: Cursor | None) -> Iterator[tuple[Page, bool]]:
    """The pages of a complete read from its cursor on, and of each whether it is the last one.

    Without a cursor of its own it reads what the pulls read: their cursor says which kind of record.
    """
    return with_the_last(ahead(run.reader.everything(cursor or run.checkpoint("pull"))))


def doubts_after(doubts: Sequence[str], page: Page) -> tuple[str, ...]:
    """What speaks against the read once this page is read as well."""
    nameless = any(bad.source_id is None for bad in page.spoiled)
    more = ("a record without a readable id was among those read",) if nameless else ()
    return tuple(dict.fromkeys((*doubts, *page.doubts, *more)))
