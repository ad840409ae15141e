"""The summary every run ends with: what was read, what became of each record, and what was sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(slots=True, kw_only=True)
class Counts:
    """What became of some records. Conservation: read = applied + unchanged + superseded + parked + out_of_scope."""

    read: int = 0
    applied: int = 0
    unchanged: int = 0
    superseded: int = 0
    parked: int = 0
    out_of_scope: int = 0
    events: int = 0
    flags: Counter[str] = field(default_factory=Counter)
    """How many records were read in a way that a person may like to know of; see pipeline/flags.py."""


@dataclass(slots=True, kw_only=True)
class Summary(Counts):
    """Counts of one run, see `Counts`; `published` events have a receipt of the ledger.

    `doubts` says why the run does not count as a witness of absence, `lacks` what the source refused to show of that
    which deals refer to, `notes` what the operator may like to know; `held` is how many of its events wait for a
    person; neither they nor the flags are part of the summary that scripts rely on.
    """

    run: int
    connection: str | None
    published: int = 0
    held: int = 0
    seconds: float = 0.0
    doubts: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, counts: Counts) -> None:
        """Count what a committed transaction did."""
        for one in fields(Counts):
            setattr(self, one.name, getattr(self, one.name) + getattr(counts, one.name))

    def as_json(self) -> dict[str, Any]:
        """The summary as scripts rely on it."""
        counts = asdict(self)
        for name in ("doubts", "lacks", "notes", "flags", "held"):
            del counts[name]
        counts["seconds"] = round(self.seconds, 3)
        return {"run": counts.pop("run"), "connection": counts.pop("connection"), **counts}

    @property
    def clean(self) -> bool:
        """Nothing was parked, held or distrusted in this run, and nothing it needed was refused."""
        return not (self.parked or self.held or self.doubts or self.lacks)


Progress = Callable[[Summary], None]
"""Called after each committed batch with the counts so far."""


def silent(_: Summary) -> None:
    """The progress of a run nobody watches."""
