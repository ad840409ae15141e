"""cPod's one chunk: its list goes by cursors that live for an hour, and nothing filters it by creation.

So it cannot be cut. What lies beyond the bounds is read all the same, and passed over by `created_at`
(contracts/cpod.md section 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from connectors.chunks import ChunkPlan, Span, label_of
from connectors.source import Page, Record
from connectors.times import instant


class _Stamp(msgspec.Struct):
    created_at: str | None = None


_stamp = msgspec.json.Decoder(_Stamp)


def plan(since: str | None, until: str | None) -> ChunkPlan:
    """The only part."""
    return ChunkPlan(label_of(since, until), msgspec.to_builtins(Span(since, until)))


def within(pages: Iterator[Page], chunk: ChunkPlan) -> Iterator[Page]:
    """The pages of a complete read, less the deals that were created beyond the bounds.

    A deal that does not say when it was created is kept, as is the source's word that one is gone.
    """
    part = msgspec.convert(chunk.place, Span)
    for page in pages:
        records = page.records
        if part != Span():
            records = [one for one in records if one.deleted or part.holds(_created(one))]
        # Whether the read could witness absence is of no matter to a backfill.
        yield replace(page, records=records, doubts=(), notes=tuple(dict.fromkeys((*page.notes, *page.doubts))))


def _created(record: Record) -> str | None:
    try:
        return instant(_stamp.decode(record.raw).created_at)
    except (msgspec.DecodeError, RecursionError):
        return None
