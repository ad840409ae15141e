"""Monaco's cursor: how far changes were read, where a full read stands, and what the schema said."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from connectors.committed import Committed
from connectors.monaco.walk import Place
from connectors.source import Record


class Full(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A full read under way: its place, when it began, the newest `updated_at` met so far that is not later than that,
    and whether every row bore one. A `sweep` is not gone on with by a pull, nor the reverse."""

    place: Place
    began: str
    newest: str | None = None
    dated: bool = True
    doubts: tuple[str, ...] = ()
    sweep: bool = False


class Seen(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What the schema said at a time (ISO 8601, ms, Z): the operator that filters on `updated_at`, whether a list can
    be sorted by it, and the custom fields that were looked up. What was refused all the same is taken out again."""

    at: str
    bound: str | None = None
    sorts: bool = False
    custom: tuple[str, ...] = ()


class State(Committed, frozen=True):
    """What the cursor holds.

    `watermark` is the newest `updated_at` up to which everything was read; None until a full read in which every row
    had one.
    """

    watermark: str | None = None
    full: Full | None = None
    seen: Seen | None = None


def newest(records: Iterable[Record], began: str, before: str | None = None) -> str | None:
    """The newest version that a read begun at `began` may leave as a watermark; never older than `before`.

    Stamps later than `began` do not count: what was changed since, and one opportunity stamped 2099 would hide it.
    """
    versions = (record.version for record in records if record.version is not None and record.version <= began)
    return max(versions, default=None) if before is None else max(versions, default=before)
