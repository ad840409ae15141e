"""Counting: what the service's `/metrics` tells, in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

OUTCOMES = ("appended", "already_there", "conflict")
"""What becomes of an event that is taken."""

REASONS = ("full", "late", "hangs", "failed")
"""Why a request is answered 503 (`ledger.away`)."""


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
        self._away = Counter(
            "dealsync_ledger_sent_away",
            "Requests answered 503: too many wait, it waited too long, the database hangs, or it failed.",
            ["reason"],
            registry=self._registry,
        )
        self._waiting = Gauge(
            "dealsync_ledger_waiting",
            "Requests that wait for the database: with events to be committed, or with a question.",
            ["kind"],
            registry=self._registry,
        )
        self._oldest = Gauge(
            "dealsync_ledger_oldest_waiting_seconds",
            "How long the request with events has waited that has waited longest.",
            registry=self._registry,
        )
        # From the beginning on: what is first told as 1 has never risen, for a monitor.
        for why in REASONS:
            self._away.labels(why)
        self._outcomes = {outcome: self._events.labels(outcome) for outcome in OUTCOMES}
        self._known: dict[tuple[str, int], Counter] = {}

    def answered(self, path: str, status: int) -> None:
        """A request was answered; `path` is one of the service's own, or `other`."""
        known = self._known.get((path, status))
        if known is None:  # looking a child up by its labels costs more than counting
            known = self._known[path, status] = self._requests.labels(path, str(status))
        known.inc()

    def taken(self, outcome: str, number: int = 1) -> None:
        """So many events got this one of `OUTCOMES`."""
        self._outcomes[outcome].inc(number)

    def sent_away(self, reason: str) -> None:
        """A request was answered 503, for one of `REASONS`."""
        self._away.labels(reason).inc()

    def watch(self, *, events: Callable[[], int], oldest_s: Callable[[], float], questions: Callable[[], int]) -> None:
        """From now on tell how many requests wait with events, for how long, and how many with questions."""
        self._waiting.labels("events").set_function(events)
        self._waiting.labels("questions").set_function(questions)
        self._oldest.set_function(oldest_s)

    def text(self) -> bytes:
        """All of it, as monitors read it."""
        return generate_latest(self._registry)
