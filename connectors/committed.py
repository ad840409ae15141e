"""Committed: what a source keeps in its cursor, and how it comes back from there."""

from __future__ import annotations

from typing import Self

import msgspec

from connectors.source import Cursor

UNREAD = "the checkpoint could not be understood, so everything was read"
"""What a page notes when the cursor it was given is not one of ours."""


class Committed(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The state of a source between two reads. A source's own state derives from this; every field has a default."""

    def cursor(self) -> Cursor:
        """This state as the JSON object that is committed: what is read back is equal to it, lists and all."""
        built: Cursor = msgspec.json.decode(msgspec.json.encode(self))
        return built

    @classmethod
    def read(cls, cursor: Cursor | None) -> Self | None:
        """The state in a cursor; None when it is not one of ours (another version's, or damaged)."""
        try:
            return cls() if cursor is None else msgspec.convert(cursor, cls)
        except msgspec.ValidationError:
            return None
