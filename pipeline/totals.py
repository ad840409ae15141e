"""Totals: what all runs ever came to, for monitors, who want to know how fast they grow."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from pipeline.store import connections, runs
from pipeline.store.runs import Sum
from pipeline.wiring import App

OUTCOMES = ("applied", "unchanged", "superseded", "parked", "out_of_scope")

TOTALS = {
    "runs": ("Runs that are over, by what they did and how they ended.", ("connection", "verb", "state")),
    "records": ("Records read, by what became of them.", ("connection", "outcome")),
    "events": ("Events decided, of which the ledger is told.", ("connection",)),
    "published": ("Events that the ledger has a receipt of; of all connections.", ()),
}
"""What is told in total, and by what it is told apart."""


class Total(NamedTuple):
    """How much of something there ever was."""

    name: str
    of: tuple[str, ...]
    number: float


class Totals:
    """The totals of a store, which only grow. Runs that are over are added up once in the life of this process.

    May be read by one thread at a time.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._upto = 0
        self._over: Counter[tuple[str, tuple[str, ...]]] = Counter({("published", ()): 0})

    def read(self) -> list[Total]:
        """All of them, as the store has them now."""
        with self._app.store.read() as tx:
            names = connections.names(tx)
            upto = runs.over_upto(tx, self._upto)
            over = runs.sums(tx, self._upto, upto)
            others = runs.sums(tx, upto) + runs.sums_of_backfills(tx)
        self._over.update(_totals(over, names))
        self._upto = upto
        found = self._over.copy()
        found.update(_totals(others, names))
        return [Total(name, of, number) for (name, of), number in found.items()]


def _totals(sums: list[Sum], names: dict[int, str]) -> Counter[tuple[str, tuple[str, ...]]]:
    found: Counter[tuple[str, tuple[str, ...]]] = Counter()
    for one in sums:
        connection = names.get(one.connection_id or 0, "")
        if one.state in runs.OVER:
            found["runs", (connection, one.kind, one.state)] += one.runs
        if one.kind == "publish":
            found["published", ()] += one.counts["published"]
            continue
        found["events", (connection,)] += one.counts["events"]
        for outcome in OUTCOMES:
            found["records", (connection, outcome)] += one.counts[outcome]
    return found
