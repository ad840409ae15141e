"""Windows of a reconcile: each close month's deals counted and added up on every side, and how far they agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deals.identity import decode_json
from pipeline.compare import Sight, face
from pipeline.store import sides
from pipeline.store.sides import Group, Sides

SIDES = ("source", "projection", "ledger")


@dataclass(slots=True)
class Tally:
    """The living deals of one side in one month: their number, and sums by currency in minor units."""

    count: int = 0
    sums: dict[str, int] = field(default_factory=dict)
    stages: dict[str, Tally] = field(default_factory=dict)
    owners: dict[str, Tally] = field(default_factory=dict)

    def add(self, group: Group) -> None:
        """Count deals that are alike, in all and by their stage and owner ("" for none)."""
        self._count(group)
        self.stages.setdefault(group.face.stage, Tally())._count(group)
        self.owners.setdefault(group.face.owner, Tally())._count(group)

    def _count(self, group: Group) -> None:
        currency = group.face.currency
        self.count += group.deals
        self.sums[currency] = self.sums.get(currency, 0) + (group.face.amount_cents or 0)

    def as_json(self) -> dict[str, Any]:
        """The tally with its parts."""
        parts = {"stages": self.stages, "owners": self.owners}
        shown = {
            name: {key: {"count": one.count, "sums": one.sums} for key, one in sorted(of.items())}
            for name, of in parts.items()
        }
        return {"count": self.count, "sums": dict(sorted(self.sums.items())), **shown}


@dataclass(slots=True)
class Window:
    """One close month ("" for deals without a close date) on all three sides.

    A deal that the sides put in different months counts as differing, or as pending, in each of them. `delta_cents` is
    what the ledger holds too much in this month on account of the deals that differ.
    """

    month: str
    tallies: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in SIDES})
    differing: int = 0
    pending: int = 0
    delta_cents: int = 0

    @property
    def state(self) -> str:
        """passed, pending or failed."""
        return "failed" if self.differing else "pending" if self.pending else "passed"

    def sums(self) -> dict[str, Any]:
        """Number and sums of each side."""
        return {name: {"count": tally.count, "sums": tally.sums} for name, tally in self.tallies.items()}

    def as_json(self) -> dict[str, Any]:
        """The window as scripts rely on it; `ok` says that nothing differs, `pending` how much was not compared."""
        sums = {name: tally.as_json() for name, tally in self.tallies.items()}
        numbers = {"differing": self.differing, "pending": self.pending, "delta_cents": self.delta_cents}
        return {"month": self.month or None, **sums, "ok": not self.differing, **numbers}


def tally(laid: Sides, windows: dict[str, Window]) -> None:
    """Count every side's deals into their windows; months not yet there are added."""
    for name, side in (("source", sides.source), ("projection", sides.projection), ("ledger", sides.ledger)):
        for group in laid.groups(side):
            windows.setdefault(group.face.month, Window(group.face.month)).tallies[name].add(group)


def verified_through(windows: Iterable[Window]) -> str | None:
    """The last close month up to which every window passed. Deals without a close date belong to none."""
    mark = None
    for window in sorted((one for one in windows if one.month), key=lambda one: one.month):
        if window.state != "passed":
            break
        mark = window.month
    return mark


def of_difference(sight: Sight, currency: str) -> Mapping[str, int]:
    """The months in which any side has the deal, each with what the ledger holds there beyond the source."""
    held = sight.projection.state if sight.projection is not None and sight.projection.alive else None
    shown = sight.source.state if sight.source is not None else None
    deltas: dict[str, int] = {}
    for state, sign in ((shown, -1), (held, 0), (sight.ledger, 1)):
        if state is not None:
            one = face(decode_json(state), currency)
            deltas[one.month] = deltas.get(one.month, 0) + sign * (one.amount_cents or 0)
    return deltas
