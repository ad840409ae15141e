"""Counting: what `/metrics` tells, in the format of Prometheus."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.levels import BUDGET_LEFT, INCIDENTS, LEVELS
from pipeline.totals import TOTALS, Total


class Level(NamedTuple):
    """How much of something there is now, at a connection or an account."""

    name: str
    of: str
    number: float


disable_created_metrics()  # type: ignore[no-untyped-call]  # when a counter began is nobody's question


class Counting:
    """The counters of this process; and levels and totals, read from the store when somebody asks, at most every few
    seconds.
    """

    def __init__(
        self, levels: Callable[[], list[Level]], totals: Callable[[], list[Total]] = list, *, fresh_s: float = 5.0
    ) -> None:
        self._registry = CollectorRegistry()
        self._received = Counter(
            "dealsync_deliveries", "Deliveries answered with 2xx.", ["connection", "outcome"], registry=self._registry
        )
        self._refused = Counter(
            "dealsync_deliveries_refused", "Requests refused.", ["connection", "reason"], registry=self._registry
        )
        self._children: dict[tuple[str, str], Counter] = {}
        self._registry.register(_Stored(lambda: [*_gauges(levels()), *_counters(totals())], fresh_s))

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


class _Stored(Collector):
    """What the store tells: read by one thread at a time, which the others wait for."""

    def __init__(self, read: Callable[[], list[Metric]], fresh_s: float) -> None:
        self._read = read
        self._fresh_s = fresh_s
        self._reading = threading.Lock()
        self._known: list[Metric] = []
        self._until = 0.0

    def describe(self) -> list[Metric]:
        """Nothing is asked of the store before somebody wants to know."""
        return []

    def collect(self) -> list[Metric]:
        """What was read last, or anew where that is too long ago."""
        with self._reading:
            if time.monotonic() >= self._until:
                self._known = self._read()
                self._until = time.monotonic() + self._fresh_s
            return self._known


def _gauges(levels: list[Level]) -> Iterator[Metric]:
    """One for each kind of level."""
    for name, meaning in _MEANINGS.items():
        gauge = GaugeMetricFamily(
            f"dealsync_{name}", meaning, labels=["account" if name == BUDGET_LEFT else "connection"]
        )
        for level in levels:
            if level.name == name:
                gauge.add_metric([level.of], level.number)
        yield gauge


def _counters(totals: list[Total]) -> Iterator[Metric]:
    """One for each kind of total."""
    for name, (meaning, labels) in TOTALS.items():
        counter = CounterMetricFamily(f"dealsync_{name}", meaning, labels=labels)
        for total in totals:
            if total.name == name:
                counter.add_metric(total.of, total.number)
        yield counter


_MEANINGS = {
    **LEVELS,
    BUDGET_LEFT: "Requests that an account may still send at this moment, by the limit that leaves the fewest.",
    INCIDENTS: "Events that met something else in the ledger, and that nobody has acknowledged; of all connections.",
}
