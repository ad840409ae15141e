"""The limits of an account are never exceeded, and a 429 is obeyed: told by the tenant's own log and clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connectors.simulated_wire import rate_limited
from connectors.simulation import Call
from connectors.source import Source
from pipeline.pull import pull
from pipeline.summary import Summary
from tests.conformance import oracles
from tests.conformance.world import NAME, World, Worlds, every_source

WINDOWS = {
    "requests_per_minute": timedelta(minutes=1),
    "requests_per_hour": timedelta(hours=1),
    "requests_per_day": timedelta(days=1),
}
COUNT = 12


def times(calls: list[Call]) -> list[datetime]:
    return [datetime.fromisoformat(call.at) for call in calls]


def most_within(calls: list[Call], window: timedelta) -> int:
    """How many requests came within any such window."""
    at, first, most = times(calls), 0, 0
    for last, moment in enumerate(at):
        while moment - at[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def read_on(one: World) -> list[list[Call]]:
    """Pull again whenever the budget has room again, until a pull comes to its end; the requests of each run."""
    runs = []

    def run() -> Summary:
        begun = len(one.crm.log)
        try:
            return pull(one.app, NAME)
        finally:
            runs.append(one.crm.log[begun:])

    one.patiently(run, times=200)
    return runs


@every_source
@pytest.mark.parametrize("limit", WINDOWS)
def test_no_window_of_a_run_holds_more_requests_than_the_limit_says(world: Worlds, source: Source, limit: str):
    one = world(source, deals=60, page_size=2, **{limit: COUNT})
    runs = read_on(one)
    one.publish()
    assert len(one.crm.log) > COUNT, "too few requests to try a limit"
    assert max(most_within(calls, WINDOWS[limit]) for calls in runs) <= COUNT
    oracles.agrees(one)


@every_source
def test_with_its_own_defaults_the_vendor_never_says_429(world: Worlds, source: Source):
    """The simulated tenant counts as the vendor does."""
    unset = dict.fromkeys(WINDOWS)
    one = world(source, deals=60, page_size=2, **unset)
    read_on(one)
    one.publish()
    assert [call for call in one.crm.log if call.status == 429] == []
    oracles.agrees(one)


@every_source
def test_a_stated_wait_is_kept(world: Worlds, source: Source):
    one = world(source)
    one.pull()
    asked = len(one.crm.log)
    one.crm.faults.next(rate_limited("4"))
    one.patiently(one.pull)
    refused, then, *_ = times(one.crm.log[asked:])
    assert then - refused >= timedelta(seconds=4)
    oracles.has_seen(one, set(one.crm.ids()))
