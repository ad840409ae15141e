"""Observed: what a tenant's records show, counted in constant memory, before any table is chosen."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

MOST_WORDS = 300
"""So many different texts of one key are counted apart, the rest together."""

MOST_KEYS = 300
"""So many different keys of one object are counted; a tenant's records have fewer."""

LONGEST_WORD = 200
"""Longer texts are counted, not kept: they are prose, not words."""

DEEPEST = 3
"""Objects within objects are looked into so far: enough for `estimated_value.amount` and custom fields."""

_TYPES = {str: "text", bool: "boolean", int: "number", Decimal: "number", list: "list", dict: "object"}


class Seen:
    """One key: in how many records it stood, with values of which types, and which texts."""

    __slots__ = ("count", "types", "within", "words")

    def __init__(self) -> None:
        self.count = 0
        self.types: dict[str, int] = {}
        self.words: dict[str, int] = {}
        self.within: dict[str, Seen] = {}

    def add(self, value: Any, depth: int) -> None:
        """Count one value, and the keys within it when it is an object."""
        self.count += 1
        name = _TYPES.get(type(value), "null")
        self.types[name] = self.types.get(name, 0) + 1
        if name == "text":
            word = value.strip()
            if word in self.words or (word and len(word) <= LONGEST_WORD and len(self.words) < MOST_WORDS):
                self.words[word] = self.words.get(word, 0) + 1
        elif name == "object" and depth < DEEPEST:
            for key, inner in value.items():
                seen = self.within.get(key)
                if seen is None:
                    if len(self.within) >= MOST_KEYS:
                        continue
                    seen = self.within[key] = Seen()
                seen.add(inner, depth + 1)

    def at(self, path: str) -> Seen:
        """What was seen at a path of keys joined by points; empty when nothing was."""
        here = self
        for key in path.split("."):
            found = here.within.get(key)
            if found is None:
                return Seen()
            here = found
        return here

    def kinds_of_value(self) -> str:
        """The types of the values, the most frequent first, as words."""
        return ", ".join(sorted(self.types, key=lambda name: (-self.types[name], name)))


class Observed:
    """Counts what records show: `add` each, then hand it to `mappings.suggest`."""

    __slots__ = ("kinds",)

    def __init__(self) -> None:
        self.kinds: dict[str, Seen] = {}

    def add(self, kind: str, record: dict[str, Any]) -> None:
        """Count one decoded record of a kind."""
        if kind in self.kinds or len(self.kinds) < MOST_KEYS:
            self.kinds.setdefault(kind, Seen()).add(record, 0)
