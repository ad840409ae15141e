"""Requests as the contract has them: both headers, both generations, redirects that never lose or leak the key."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from connectors.faults import Misconfigured, RateLimited, Unintelligible
from connectors.monaco.simulator import TOKEN
from connectors.simulated_wire import rate_limited
from connectors.source import Found
from tests.connectors.monaco.reading import Organization, open_reader
from tests.connectors.pulls import Pulls, swept
from tests.connectors.wire import Script, answer

EMPTY_PAGE = '{"data":[],"pagination":{"page":1,"page_size":20,"total_count":0,"total_pages":0},"meta":{}}'


@pytest.mark.parametrize(
    ("style", "sent"),
    [("bearer", {"authorization": f"Bearer {TOKEN}"}), ("x-monaco-api-key", {"x-monaco-api-key": TOKEN})],
)
def test_the_key_goes_into_the_header_that_is_configured_and_no_other(style: str, sent: dict[str, str]):
    script = Script(answer('{"data":[]}'), answer(EMPTY_PAGE))
    list(open_reader(script, auth_header_style=style).changed(None))
    for request in script.requests:
        keys = {name: value for name, value in request.headers.items() if TOKEN in value}
        assert keys == sent
    assert Organization(5).reader(auth_header_style=style).one("x-y")


def test_a_list_is_asked_for_by_post_with_a_json_body():
    script = Script(answer('{"data":[]}'), answer(EMPTY_PAGE))
    list(open_reader(script, page_size=500).changed(None))
    request = script.requests[1]
    assert (request.method, request.url.path) == ("POST", "/v1/opportunities/list")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.content) == {"filters": [], "sort": "created_at", "page": 1, "page_size": 500}


@pytest.mark.parametrize("prefix", ["/v1", "/v1/preview"])
@pytest.mark.parametrize("generation", ["both", "/v1", "/v1/preview"])
@pytest.mark.parametrize("slash", [True, False])
def test_either_generation_and_either_slash_is_found_through_its_redirects(prefix: str, generation: Any, slash: bool):
    made = Organization(90, generation=generation, trailing_slash=slash)
    pulls = Pulls(lambda: made.reader(path_prefix=prefix))
    pulls.pull()
    assert set(pulls.held) == set(made.ids())
    moved = sum(call.status == 307 for call in made.log)
    assert moved == (2 if slash or generation not in ("both", prefix) else 0), "what moved is asked where it is now"
    reader, before = made.reader(path_prefix=prefix), len(made.log)
    for deal in made.ids()[:9]:
        assert isinstance(reader.one(deal), Found)
    statuses = [call.status for call in made.log[before:] if call.method == "GET" and "opportunities/" in call.path]
    assert statuses.count(307) == (1 if moved else 0)


def test_a_redirect_keeps_the_key_and_the_body():
    script = Script(
        answer('{"data":[]}'),
        lambda _: httpx.Response(307, headers={"location": "/v1/preview/opportunities/list"}),
        answer(EMPTY_PAGE),
    )
    list(open_reader(script).changed(None))
    before, after = script.requests[1:]
    assert after.url.path == "/v1/preview/opportunities/list"
    assert (after.method, after.content) == (before.method, before.content)
    assert after.headers["authorization"] == before.headers["authorization"]


@pytest.mark.parametrize(
    "location",
    [
        "https://evil.example.com/v1/opportunities/list",
        "//evil.example.com/v1/opportunities/list",
        "http://api.monaco.com/v1/opportunities/list",
        "https://api.monaco.com:8443/v1/opportunities/list",
        "/elsewhere?key=1",
        "/v1/accounts/list",
        "https://[",
    ],
)
def test_the_key_is_never_sent_to_another_host(location: str):
    script = Script(lambda _: httpx.Response(307, headers={"location": location}))
    with pytest.raises(Unintelligible, match="redirect"):
        list(open_reader(script).changed(None))
    assert {request.url.host for request in script.requests} == {"api.monaco.com"}
    assert {request.url.scheme for request in script.requests} == {"https"}


def test_the_simulated_redirect_to_another_host_is_not_followed_either():
    made = Organization(9, trailing_slash=True, redirect_host="evil.example.com")
    with pytest.raises(Unintelligible, match="must not be sent"):
        Pulls(made.reader).pull()


def test_redirects_in_a_circle_end():
    script = Script(lambda request: httpx.Response(308, headers={"location": f"{request.url.path}/"}))
    with pytest.raises(Unintelligible, match="circle"):
        list(open_reader(script).changed(None))
    assert len(script.requests) <= 12


def test_a_base_url_with_a_path_keeps_it_through_a_redirect():
    script = Script(
        answer('{"data":[]}'),
        lambda _: httpx.Response(307, headers={"location": "/monaco/v1/opportunities/list/"}),
        answer(EMPTY_PAGE),
    )
    list(open_reader(script, base_url="https://proxy.example.com/monaco").changed(None))
    assert [request.url.path for request in script.requests[1:]] == [
        "/monaco/v1/opportunities/list",
        "/monaco/v1/opportunities/list/",
    ]


@pytest.mark.parametrize("token", ["", "  ", "mks_ä", "mks_a b"])
def test_a_key_that_fits_no_header_is_misconfigured(token: str):
    with pytest.raises(Misconfigured, match="token"):
        open_reader(Script(answer()), token=token)


def test_an_over_large_page_size_is_followed_where_it_is_clamped():
    made = Organization(90, max_page_size=15, over_limit="clamp")
    assert swept(made.reader(page_size=40).everything(None)) == (set(made.ids()), set())


# -- the hour's budget


@pytest.mark.parametrize("reset_in", ["s", "ms"])
@pytest.mark.parametrize("headers", ["always", "429"])
def test_what_others_have_spent_is_seen_and_the_reset_is_waited_for(reset_in: Any, headers: Any):
    made = Organization(90, rate_headers=headers, reset_in=reset_in)
    made.clock.advance(1800)
    made.spend(1000 if headers == "429" else 895)
    pulls = Pulls(made.reader)
    with pytest.raises(RateLimited) as caught:
        pulls.pull()
    assert 1795 <= caught.value.retry_after_s <= 1800
    assert len(made.log) < 10
    made.clock.advance(caught.value.retry_after_s)
    pulls.pull()
    assert set(pulls.held) == set(made.ids())
    assert sum(call.status == 429 for call in made.log) == (1 if headers == "429" else 0)


def test_the_reserve_is_left_to_the_customers_other_integrations():
    made = Organization(90, rate_headers="always", requests_per_hour=100)
    made.spend(70)
    with pytest.raises(RateLimited):
        Pulls(lambda: made.reader(reserve=0.25)).pull()
    assert len(made.log) == 5


def test_a_refusal_that_tells_its_wait_is_waited_out():
    made = Organization(9, rate_headers="none")
    made.faults.next(rate_limited("4"))
    Pulls(made.reader).pull()
    first, second, *_ = made.log
    assert (first.status, second.status) == (429, 200)
    assert second.at >= "2026-03-02T08:00:04.000Z"


def test_refusals_that_tell_nothing_are_waited_out_for_a_minute_and_then_longer():
    made = Organization(9, rate_headers="none")
    made.faults.next(rate_limited(), times=3)
    reader = made.reader(give_up_after_s=1000.0)
    list(reader.changed(None))
    assert [call.at[11:19] for call in made.log[:4]] == ["08:00:00", "08:01:00", "08:03:00", "08:07:00"]
    made.faults.next(rate_limited())
    with pytest.raises(RateLimited):
        Pulls(made.reader).pull()
