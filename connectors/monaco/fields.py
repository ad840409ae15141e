"""Custom fields: keys that only the schema can name, defined before the first page that bears them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from connectors.monaco.cursor import Seen
from connectors.monaco.lists import KIND, Lists
from connectors.monaco.schema import CUSTOM, Schema
from connectors.source import Field, Record

_KEY = re.compile(rb'"(%b[^"\\]+)"\s*:' % CUSTOM.encode())


class Schemas:
    """What the schema of opportunities says, asked for when it is first needed, when it has become old, and when a
    record bears a custom field that it did not name."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._seen: Seen | None = None
        self._schema: Schema | None = None
        self._fresh: tuple[Field, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether it was asked for and is not there, or may not be read."""
        return self._seen is not None and self._schema is not None and not len(self._schema)

    def at(self, seen: Seen | None, now: str) -> Seen:
        """What is known at a time (ISO 8601, ms, Z): what the cursor remembers while it is young enough."""
        if self._seen is None:
            self._seen = seen
        if self._seen is None or self._old(self._seen, now):
            self._read(now, ())
        assert self._seen is not None
        return self._seen

    def without(self, **refused: bool | None) -> Seen:
        """What is known less what was refused although the schema allows it."""
        assert self._seen is not None
        self._seen = replace(self._seen, **refused)
        return self._seen

    def defining(self, records: Iterable[Record], now: str) -> tuple[Field, ...]:
        """The definitions that have to go with a page: those not handed out yet since the schema was read.

        A key that even a fresh schema does not name belongs to a deleted field: it is not asked for again.
        """
        known = set(() if self._seen is None else self._seen.custom)
        unknown = {key.decode(errors="replace") for record in records for key in _KEY.findall(record.raw)} - known
        if unknown and self.missing and self._seen is not None:
            self._seen = replace(self._seen, custom=tuple(sorted(known | unknown)))
        elif unknown:
            self._read(now, tuple(sorted(known | unknown)))
        fields, self._fresh = self._fresh, ()
        return fields

    def schema(self, now: str) -> Schema:
        """The schema itself; an empty one where there is none."""
        if self._schema is None:
            self._read(now, () if self._seen is None else self._seen.custom)
        assert self._schema is not None
        return self._schema

    def _old(self, seen: Seen, now: str) -> bool:
        age = datetime.fromisoformat(now) - datetime.fromisoformat(seen.at)
        return age >= self._lists.options.schema_refresh

    def _read(self, now: str, asked_for: tuple[str, ...]) -> None:
        schema = self._schema = self._lists.schema(KIND) or Schema()
        self._fresh = schema.custom_fields()
        custom = dict.fromkeys((*(field.record_key for field in self._fresh), *asked_for))
        self._seen = Seen(now, schema.lower_bound("updated_at"), schema.sorts("updated_at"), tuple(custom))
