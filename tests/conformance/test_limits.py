"""The limits of an account are never exceeded, and a 429 is obeyed: told by the tenant's own log and clock."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from connectors.faults import Unavailable
from connectors.simulated_wire import Request, rate_limited
from connectors.simulation import Call
from connectors.source import Source
from pipeline.heed import heed
from pipeline.pull import pull
from pipeline.sweep import sweep
from tests.conformance import oracles
from tests.conformance.test_webhooks import Inbox
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


def most_of(one: World, limit: str) -> int:
    """The most requests that any of a limit's windows held; days of the calendar where the source has such."""
    window = WINDOWS[limit]
    stated = one.app.settings.connection(NAME).options.limits()
    if any(known.aligned and known.seconds == window.total_seconds() for known in stated):
        return max(Counter(moment.date() for moment in times(one.crm.log)).values())
    return most_within(one.crm.log, window)


def undying(one: World) -> World:
    """The same tenant, its cursors live for ever: under so small a limit a read takes days, and one whose cursors die
    within the hour would never see its end."""
    switches = getattr(one.crm, "switches", None)
    if hasattr(switches, "cursor_life_s"):
        switches.cursor_life_s = None  # type: ignore[union-attr]
    return one


def read_on(one: World) -> None:
    """Pull again whenever the budget has room again, until a pull comes to its end."""
    one.patiently(lambda: pull(one.app, NAME), times=200)


@every_source
@pytest.mark.parametrize("limit", WINDOWS)
def test_no_window_holds_more_requests_than_the_limit_says_however_many_runs_it_takes(
    world: Worlds, source: Source, limit: str
):
    one = undying(world(source, deals=60, page_size=2, **{limit: COUNT}))
    read_on(one)
    one.publish()
    assert len(one.crm.log) > COUNT, "too few requests to try a limit"
    assert most_of(one, limit) <= COUNT
    oracles.agrees(one)


@every_source
def test_two_that_take_turns_keep_to_the_limit_together(world: Worlds, source: Source):
    one = world(source, deals=60, page_size=2, requests_per_minute=COUNT)
    for _ in range(3):
        one.patiently(lambda: pull(one.app, NAME), times=200)
        one.patiently(lambda: sweep(one.app, NAME), times=200)
    assert len(one.crm.log) > COUNT, "too few requests to try a limit"
    assert most_of(one, "requests_per_minute") <= COUNT


@every_source
def test_deliveries_that_come_while_a_sweep_reads_keep_to_the_limit_with_it(world: Worlds, source: Source):
    """While each page is asked for somebody works in the CRM; what they do is delivered and looked at, at once."""
    one = world(source, deals=60, page_size=2, requests_per_minute=COUNT)
    read_on(one)
    box, heeded = Inbox(one), []

    def meanwhile(_: Request) -> None:
        one.crm.before_list = None
        deal = one.crm.ids()[7 * len(heeded) % 50]
        one.crm.set_amount(deal, Decimal(len(heeded)))
        for delivery in box.got:
            box.receive(delivery)
        box.got.clear()
        with suppress(Unavailable):
            heeded.append(heed(one.app, NAME))
        one.crm.before_list = meanwhile

    one.crm.before_list = meanwhile
    one.patiently(lambda: sweep(one.app, NAME), times=200)
    one.crm.before_list = None
    assert any(summary is not None and summary.read for summary in heeded), "nothing was looked at beside the sweep"
    assert most_of(one, "requests_per_minute") <= COUNT
    one.settle()
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
