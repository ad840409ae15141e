"""Counting: what `/metrics` tells, in the format of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.levels import BUDGET_LEFT, INCIDENTS, LEVELS


class Level(NamedTuple):
    """How much of something there is now, at a connection or an account."""

    name: str
    of: str
    number: float


disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began is nobody's question


class Counting:
    """The counters of this process, and levels read from the store when somebody asks, at most every few seconds."""

    def __init__(self, levels: Callable[[], list[Level]], *, fresh_s: float = 5.0) -> None:
        self._registry = CollectorRegistry()
        self._received = Counter(
            "dealsync_deliveries", "Deliveries answered with 2xx.", ["connection", "outcome"], registry=self._registry
        )
        self._refused = Counter(
            "dealsync_deliveries_refused", "Requests refused.", ["connection", "reason"], registry=self._registry
        )
        self._children: dict[tuple[str, str], Counter] = {}
        self._registry.register(_Levels(levels, fresh_s))

    def received(self, connection: str, outcome: str) -> None:
        """A delivery is in the inbox: `accepted`, or `known` already."""
        known = self._children.get((connection, outcome))
        if known is None:  # looking a child up by its labels costs more than counting
            known = self._children[connection, outcome] = self._received.labels(connection, outcome)
        known.inc()

    def refused(self, connection: str, reason: str) -> None:
        """A request was refused; `connection` is empty where there is none of that name."""
        self._refused.labels(connection, reason).inc()

    def text(self) -> bytes:
        """All of it, as monitors read it. Raises what reading the store raises."""
        return generate_latest(self._registry)


class _Levels(Collector):
    def __init__(self, levels: Callable[[], list[Level]], fresh_s: float) -> None:
        self._read = levels
        self._fresh_s = fresh_s
        self._known: list[Level] = []
        self._until = 0.0

    def describe(self) -> list[Metric]:
        """Nothing is asked of the store before somebody wants to know."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One gauge for each kind of level."""
        if time.monotonic() >= self._until:
            self._known = self._read()
            self._until = time.monotonic() + self._fresh_s
        for name, meaning in _MEANINGS.items():
            gauge = GaugeMetricFamily(
                f"dealsync_{name}", meaning, labels=["account" if name == BUDGET_LEFT else "connection"]
            )
            for level in self._known:
                if level.name == name:
                    gauge.add_metric([level.of], level.number)
            yield gauge


_MEANINGS = {
    **LEVELS,
    BUDGET_LEFT: "Requests that an account may still send at this moment, by the limit that leaves the fewest.",
    INCIDENTS: "Events that met something else in the ledger, and that nobody has acknowledged; of all connections.",
}
