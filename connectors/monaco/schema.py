"""Monaco's schema: what a list is filtered and sorted by, the stages, the owners, what custom fields are called."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from connectors.envelopes import opened
from connectors.faults import Unintelligible
from connectors.source import Field

CUSTOM = "custom_field_"
"""What the key of every custom field begins with; the rest is its id (section 7)."""

LOWER_BOUNDS = ("greater_than", "after", "is_after", "on_or_after")
"""Operators taken for a lower bound of a time, the preferred first (section 3.2)."""


class _Word(msgspec.Struct):
    key: str
    display_value: str | None = None


class _Words(msgspec.Struct):
    allowed_values: list[_Word] = []


class _Descriptor(msgspec.Struct):
    key: str
    name: str | None = None
    type: str | None = None
    sortable: bool | None = None
    allowed_operators: list[str] | None = None
    enum_field_settings: _Words | None = None


class Schema:
    """The fields of one entity by their keys. Descriptors that cannot be read are left out."""

    def __init__(self, fields: Mapping[str, _Descriptor] | None = None) -> None:
        self._fields = fields or {}

    @classmethod
    def read(cls, body: bytes) -> Schema:
        """The schema in an answer; raises `Unintelligible` when there is none in it."""
        try:
            rows = _raws.decode(opened(body).rows("data"))
        except msgspec.DecodeError:
            raise Unintelligible("the schema is no list of field descriptors") from None
        fields: dict[str, _Descriptor] = {}
        for row in rows:
            try:
                field = _descriptor.decode(row)
            except msgspec.DecodeError:
                continue
            fields.setdefault(field.key, field)
        return cls(fields)

    def lower_bound(self, key: str) -> str | None:
        """The operator that keeps what is later than a value; None when the field cannot be filtered so."""
        listed = self._operators(key)
        return next((name for name in LOWER_BOUNDS if name in listed), None)

    def matches(self, key: str) -> bool:
        """Whether the field can be filtered by its exact value."""
        return "is" in self._operators(key)

    def sorts(self, key: str) -> bool:
        """Whether a list can be sorted by the field."""
        field = self._fields.get(key)
        return field is not None and bool(field.sortable)

    def words(self, key: str) -> dict[str, str]:
        """The values an enum (or a directory of users) may have: key to label, in the schema's order."""
        field = self._fields.get(key)
        listed = field.enum_field_settings.allowed_values if field and field.enum_field_settings else []
        return {word.key: word.display_value or word.key for word in listed}

    def custom_fields(self) -> tuple[Field, ...]:
        """The custom fields, each with the id that stays when it is relabelled."""
        named = ((key, field) for key, field in self._fields.items() if key.startswith(CUSTOM) and key != CUSTOM)
        return tuple(Field(key.removeprefix(CUSTOM), key, field.name or key) for key, field in named)

    def __len__(self) -> int:
        return len(self._fields)

    def _operators(self, key: str) -> list[str]:
        field = self._fields.get(key)
        return [] if field is None else field.allowed_operators or []


_raws = msgspec.json.Decoder(list[msgspec.Raw])
_descriptor = msgspec.json.Decoder(_Descriptor)
