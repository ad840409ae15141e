"""Counting: what the service's `/metrics` tells, in the format of Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, generate_latest


class Counting:
    """The counters of one service in this process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "dealsync_ledger_requests", "Requests answered.", ["path", "status"], registry=self._registry
        )
        self._events = Counter(
            "dealsync_ledger_events",
            "Events taken: appended, already there, or in conflict with what their key holds.",
            ["outcome"],
            registry=self._registry,
        )
        self._known: dict[tuple[str, int], Counter] = {}
        self._outcomes: dict[str, Counter] = {}

    def answered(self, path: str, status: int) -> None:
        """A request was answered; `path` is one of the service's own, or `other`."""
        known = self._known.get((path, status))
        if known is None:  # looking a child up by its labels costs more than counting
            known = self._known[path, status] = self._requests.labels(path, str(status))
        known.inc()

    def taken(self, outcome: str, number: int = 1) -> None:
        """So many events got this outcome: `appended`, `already_there` or `conflict`."""
        known = self._outcomes.get(outcome)
        if known is None:
            known = self._outcomes[outcome] = self._events.labels(outcome)
        known.inc(number)

    def text(self) -> bytes:
        """All of it, as monitors read it."""
        return generate_latest(self._registry)
