"""Planhat's cursor: which model is read, how far the source's clock was read, and where a full read stands."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from connectors.committed import Committed
from connectors.paging import Place
from connectors.source import Record

Kind = Literal["deals", "opportunities"]


class Full(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A full read under way: its place, and the watermark it will leave when it has come to the end."""

    offset: int
    last: str | None = None
    ordered: bool = True
    then: str | None = None
    doubts: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """Where the list is read on."""
        return Place(self.offset, self.last, self.ordered)


class State(Committed, frozen=True):
    """What the cursor holds.

    `watermark` is the newest `updatedAt` up to which everything was read. `whole` names the fields for which the list
    was seen to show as much as get-one does.
    """

    model: Kind | None = None
    watermark: str | None = None
    full: Full | None = None
    whole: str | None = None


def newest(records: Iterable[Record], began: str) -> str | None:
    """The newest version that a read begun at `began` (ISO 8601, ms, Z) may leave as a watermark.

    Stamps in the future do not count: one deal stamped 2099 would hide every later change. Where all of them lie in
    the future, the source's clock is ahead of ours and `began` is the safe choice.
    """
    versions = [record.version for record in records if record.version is not None]
    return max((version for version in versions if version <= began), default=began if versions else None)
