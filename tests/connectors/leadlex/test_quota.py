"""Two clocks' worth of limits: the minute that nobody sees, and the day of which a share is left to others."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from pydantic import ValidationError

from connectors.faults import RateLimited, Unavailable
from connectors.leadlex.options import LeadlexOptions
from connectors.leadlex.quota import Quota
from connectors.pacing import DAY, Limit
from connectors.simulated_wire import rate_limited
from tests.connectors.leadlex.reading import Tenant
from tests.connectors.pulls import Pulls

AT = "2026-03-02T08:00:10.000Z"
MIDNIGHT = 1772496000


def headers(left: int | None = None, **others: str) -> httpx.Headers:
    shown = {} if left is None else {"x-ratelimit-limit": "100", "x-ratelimit-remaining": str(left)}
    return httpx.Headers({**shown, **{name.replace("_", "-"): value for name, value in others.items()}})


@pytest.mark.parametrize(
    ("status", "left", "news"),
    [
        (200, 21, (1, 57590.0)), (200, 20, (0, 57590.0)), (429, 50, (0, 51.0)), (429, 0, (0, 57590.0)),
        (429, 20, (0, 51.0)),
    ],
)  # fmt: skip
def test_the_day_is_used_up_at_the_reserve_and_a_429_before_that_is_the_minutes(
    status: int, left: int, news: tuple[int, float]
):
    quota = Quota(LeadlexOptions())
    assert quota.told(status, headers(left, x_ratelimit_reset=str(MIDNIGHT)), AT) == news
    assert quota.resumes_at == ("2026-03-03T00:00:00.000Z" if news == (0, 57590.0) else None)


@pytest.mark.parametrize("reset", ["", "soon", "0", "1708905600", "99999999999"])
def test_a_reset_that_makes_no_sense_is_the_next_midnight(reset: str):
    quota = Quota(LeadlexOptions())
    quota.told(200, headers(0, x_ratelimit_reset=reset), AT)
    assert quota.resumes_at == "2026-03-03T00:00:00.000Z"


def test_the_sources_own_clock_counts_where_it_tells_its_time():
    quota = Quota(LeadlexOptions())
    assert quota.told(429, headers(9, date="Mon, 02 Mar 2026 23:59:40 GMT"), AT) == (0, 21.0)


def test_without_headers_an_answer_tells_nothing_of_the_day():
    quota = Quota(LeadlexOptions())
    assert quota.told(200, headers(), AT) is None
    assert (quota.limit, quota.left, quota.resumes_at) == (None, None, None)


@pytest.mark.parametrize(("options", "day"), [({}, 80), ({"plan": "org"}, 8000), ({"requests_per_day": 2}, 2)])
def test_the_day_is_the_plans_less_the_reserve_or_what_is_set_and_begins_at_midnight(options: dict, day: int):
    assert Limit(day, DAY, aligned=True) in LeadlexOptions(**options).limits()


@pytest.mark.parametrize("shown", [True, False])
def test_without_headers_the_plans_day_is_counted_from_midnight(shown: bool):
    """A limit of one's own counts beside the vendor's, whichever of them is less."""
    tenant = Tenant(400, requests_per_day=1000 if shown else None)
    with pytest.raises(RateLimited, match=r"used up for another \d+ s; it goes on at 2026-03-03T00:00:00\.\d{3}Z"):
        Pulls(lambda: tenant.reader(limited=True, plan="pro", requests_per_day=12)).pull()
    assert tenant.asked == 12
    tenant.clock.advance(57600)
    with pytest.raises(RateLimited):
        Pulls(lambda: tenant.reader(limited=True, plan="pro", requests_per_day=12)).pull()
    assert tenant.asked == 24


def test_an_export_refused_for_the_hour_holds_up_nothing_else():
    quota = Quota(LeadlexOptions())
    quota.exporting = True
    assert quota.told(429, headers(50), AT) is None


@pytest.mark.parametrize("retry_after", [False, True])
def test_a_day_that_is_used_up_ends_the_pull_and_says_when_it_goes_on(retry_after: bool):
    tenant = Tenant(400, requests_per_day=40, retry_after=retry_after)
    pulls = Pulls(lambda: tenant.reader(limited=True, plan="org"))
    with pytest.raises(RateLimited, match=r"reading goes on at 2026-03-03T00:00:00\.000Z") as told:
        pulls.pull()
    assert isinstance(told.value, Unavailable)
    assert tenant.asked == 32
    assert [call for call in tenant.log if call.status == 429] == []
    held = len(pulls.held)
    assert 0 < held < 400
    tenant.clock.advance(told.value.retry_after_s)
    for _ in range(9):
        try:
            pulls.pull()
            break
        except RateLimited as again:
            tenant.clock.advance(again.retry_after_s)
    assert set(pulls.held) == set(tenant.ids())
    assert [call for call in tenant.log if call.status == 429] == []


def test_what_others_spend_of_the_day_is_noticed():
    tenant = Tenant(60, requests_per_day=100)
    tenant.spend(78)
    with pytest.raises(RateLimited, match="reading goes on"):
        Pulls(lambda: tenant.reader(limited=True)).pull()
    assert tenant.asked == 2


def test_a_day_already_used_up_is_a_429_that_says_when_it_goes_on():
    tenant = Tenant(60, requests_per_day=100)
    tenant.spend(100)
    with pytest.raises(RateLimited, match=r"2026-03-03T00:00:00\.000Z"):
        Pulls(lambda: tenant.reader(limited=True)).pull()
    assert tenant.asked == 1


def test_a_429_with_something_left_of_the_day_waits_for_the_next_minute():
    tenant = Tenant(12, requests_per_day=1000)
    tenant.faults.next(rate_limited(headers={"X-RateLimit-Limit": "1000", "X-RateLimit-Remaining": "900"}))
    tenant.clock.advance(50)
    pulls = Pulls(lambda: tenant.reader(limited=True, plan="pro"))
    pulls.pull()
    assert pulls.ids == set(tenant.ids())
    first, second = (call.at for call in tenant.log[:2])
    assert second[:16] > first[:16]


def test_the_minute_is_never_exceeded():
    tenant = Tenant(300, requests_per_minute=10, requests_per_day=1000)
    pulls = Pulls(lambda: tenant.reader(limited=True, reserve=0.0))
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert [call for call in tenant.log if call.status == 429] == []


@pytest.mark.parametrize(("plan", "apart"), [("starter", 120), ("pro", 12), ("org", 1.2)])
def test_pulls_lie_as_far_apart_as_the_plan_can_bear(plan: str, apart: float):
    assert LeadlexOptions(plan=plan).least_interval() == timedelta(minutes=apart)


def test_a_limit_that_is_set_wins_over_the_plans():
    assert LeadlexOptions().requests_per_minute == 10
    assert LeadlexOptions(plan="org").requests_per_minute == 200
    assert LeadlexOptions(plan="org", requests_per_minute=7).requests_per_minute == 7


@pytest.mark.parametrize("wrong", [{"plan": "gold"}, {"page_size": 101}, {"reserve": 1.0}, {"export_limit": 50_001}])
def test_options_out_of_bounds_are_refused(wrong: dict):
    with pytest.raises(ValidationError):
        LeadlexOptions(**wrong)
