"""References: what a deal only points at, looked up by key in data that the source keeps elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from deals.state import Json
from mappings.grammar import CustomRule, KindMapping
from mappings.outcome import ABSENT, Problem, Unreadable
from mappings.paths import Record, finder, named
from mappings.rules import Rules
from mappings.transforms import TRANSFORMS, identity

References: TypeAlias = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Reference data: its name, then the key that deals refer by, then the decoded object."""

NONE: Final[References] = MappingProxyType({})
"""No reference data at all."""

USERS = "users"
"""The reference data that knows the e-mail of an owner."""

CHOICES = "choices"
"""The reference data that knows what people are shown for each choice of a custom field, by the field's record key."""


class LookUps:
    """Reads the custom keys of a kind that come from reference data, and says what it needs for that.

    A key that the reference data does not have gives null and the flag `reference_missing`: reference data travels by
    a road of its own and may be behind, and no deal waits for it.
    """

    __slots__ = ("_entries", "_places")

    def __init__(self, rule: KindMapping, rules: Rules) -> None:
        looked_up = {key: entry for key, entry in rule.custom.items() if entry.look_up is not None}
        self._entries = [_Entry(key, entry) for key, entry in looked_up.items()]
        places = {(entry.name, entry.places): entry.find for entry in self._entries}
        if rules.owners_by == "email":
            places.setdefault((USERS, rule.owner.sources), finder(rule.owner.sources))
        self._places = [(name, find) for (name, _), find in places.items()]

    def __bool__(self) -> bool:
        return bool(self._entries)

    @property
    def names(self) -> frozenset[str]:
        """The reference data that records of the kind are read with, that of their owners included."""
        return frozenset(name for name, _ in self._places)

    def keys(self, record: Record) -> Iterator[tuple[str, str]]:
        """The reference data (its name, the key in it) that a record needs. A value that is no id needs none."""
        for name, find in self._places:
            try:
                key = _key(find(record))
            except Unreadable:
                continue
            if key is not None:
                yield name, key

    def read(
        self, record: Record, known: References, custom: dict[str, Json], flags: list[str], problems: list[Problem]
    ) -> None:
        """Put the values looked up into `custom`: a key the record does not bear is left out, a null one is null."""
        for entry in self._entries:
            place = ""
            try:
                value = entry.find(record)
                if value is ABSENT:
                    continue
                custom[entry.key] = None
                key = _key(value)
                if key is None:
                    continue
                found = known.get(entry.name, {}).get(key)
                if found is not None:
                    place = entry.taken
                    custom[entry.key] = entry.value(found)
                elif "reference_missing" not in flags:
                    flags.append("reference_missing")
            except Unreadable as error:
                where = place or named(entry.places, record)
                problems.append(Problem(entry.key, error.reason or "BAD_VALUE", f"{where}: {error}"))


class _Entry:
    """One custom key that is looked up."""

    __slots__ = ("_read", "_take", "find", "key", "name", "places", "taken")

    def __init__(self, key: str, rule: CustomRule) -> None:
        assert rule.look_up is not None
        assert rule.take is not None
        self.key, self.name, self.places = key, rule.look_up, rule.sources
        self.find = finder(rule.sources)
        self.taken = f"{rule.look_up}.{rule.take}"
        self._take, self._read = finder((rule.take,)), TRANSFORMS[rule.transform]

    def value(self, found: Mapping[str, Any]) -> Json:
        taken = self._take(dict(found))
        return None if taken is None or taken is ABSENT else self._read(taken)


def _key(value: Any) -> str | None:
    return None if value is None or value is ABSENT else identity(value)
