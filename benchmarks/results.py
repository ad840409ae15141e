"""What was measured, and what it has to be held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Spent

FIRST, ONE_PERCENT, NOTHING = PASSES = ("first load", "1 % changed", "nothing changed")
POSTGRESQL, SQLITE = "dealsync, PostgreSQL", "dealsync, SQLite"


@dataclass(frozen=True, slots=True)
class Result:
    """One pass of one contender. `road` is the command where a contender has two for the same pass."""

    contender: str
    name: str
    spent: Spent
    road: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number that is not a pass; `goal` is compared with `at_least` or `at_most` where one is set."""

    what: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most


@dataclass(slots=True)
class Table:
    """Everything measured in one run of the benchmark."""

    deals: int
    results: list[Result] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    machine: Sequence[str] = ()

    def find(self, contender: str, name: str, road: str = "") -> Result | None:
        """The pass, if it was run and went well."""
        return next((r for r in self.results if (r.contender, r.name, r.road) == (contender, name, road)), None)


RATIOS: tuple[tuple[str, tuple[str, str], str, float | None], ...] = (
    # pass, (our contender, our road), the other contender, goal
    (FIRST, (POSTGRESQL, "pull + publish"), "plain script", 8.0),
    (FIRST, (POSTGRESQL, "pull + publish"), "dlt as documented", 3.0),
    (FIRST, (POSTGRESQL, "pull + publish"), "dlt tuned", 1.5),
    (FIRST, (POSTGRESQL, "pull + publish"), "dlt tuned, no cursor", None),
    (ONE_PERCENT, (POSTGRESQL, "pull + publish"), "dlt as documented", None),
    (ONE_PERCENT, (POSTGRESQL, "pull + publish"), "dlt tuned", None),
    (ONE_PERCENT, (POSTGRESQL, "sweep + publish"), "dlt tuned, no cursor", None),
    (NOTHING, (POSTGRESQL, "sweep"), "dlt as documented", 20.0),
    (NOTHING, (POSTGRESQL, "sweep"), "dlt tuned, no cursor", 2.0),
    (NOTHING, (POSTGRESQL, "pull"), "dlt as documented", None),
    (NOTHING, (POSTGRESQL, "pull"), "dlt tuned", 2.0),
    (NOTHING, (POSTGRESQL, "sweep"), "dlt tuned", None),
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times faster than a peer we were in one pass, by wall clock and by working time."""

    name: str
    ours: Result
    theirs: Result
    goal: float | None

    @property
    def by_wall(self) -> float:
        """By wall clock, interpreters and imports included: what the goal is held against."""
        return self.theirs.spent.wall_s / self.ours.spent.wall_s

    @property
    def by_work(self) -> float | None:
        """By what the programs themselves say they took; None where one of them runs as several processes."""
        mine, other = self.ours.spent.working_s, self.theirs.spent.working_s
        return other / mine if mine and other else None


def ratios(table: Table) -> list[Ratio]:
    """Every ratio of `RATIOS` whose two passes were run."""
    found = []
    for name, (ours, road), theirs, goal in RATIOS:
        mine, other = table.find(ours, name, road), table.find(theirs, name)
        if mine and other:
            found.append(Ratio(name, mine, other, goal))
    return found
