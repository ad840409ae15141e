"""Drift: how many records of a run bore keys that the mapping neither claims nor ignores."""

from __future__ import annotations

from collections.abc import Iterable

from mappings.outcome import SHOWN

MOST_KEYS = 1_000
"""So many different keys are counted apart: a source that invents keys must not fill the memory."""

OTHERS = "(other keys)"
"""Counts the records' keys beyond the first `MOST_KEYS`."""


class Drift:
    """Counts unclaimed keys, in constant memory."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, keys: Iterable[str]) -> None:
        """Count one record's unclaimed keys."""
        counts = self._counts
        for key in keys:
            name = key if key in counts else _name(key)
            if name not in counts and len(counts) >= MOST_KEYS:
                name = OTHERS
            counts[name] = counts.get(name, 0) + 1

    def counts(self) -> dict[str, int]:
        """Records by key. Long keys are cut and unprintable characters escaped, so any store takes them."""
        return dict(self._counts)


def _name(key: str) -> str:
    name = key if len(key) <= SHOWN else key[: SHOWN - 1] + "…"
    return name if name.isprintable() else ascii(name)[1:-1]
