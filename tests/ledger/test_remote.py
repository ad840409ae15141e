"""The remote ledger: what each answer of the other side means for the event, its lane and everything else."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from ledger.budget import Budget, OwnPurse
from ledger.port import LedgerPaced, LedgerRefused, LedgerUnavailable, Receipt, Rejected, Unsettled
from ledger.remote import LOOK_S, RemoteLedger
from tests.ledger.shaky import KEY, Mishap, Shaky, answer, away, reset, slow
from tests.ledger.subjects import event


@pytest.fixture
def line() -> Shaky:
    return Shaky()


@pytest.fixture
def ledger(line: Shaky, monkeypatch: pytest.MonkeyPatch) -> Iterator[RemoteLedger]:
    monkeypatch.setattr("ledger.remote.time.sleep", lambda _: None)
    ledger = RemoteLedger("https://ledger.example/v1/", KEY, transport=line, in_flight=4)
    yield ledger
    ledger.close()


UNSETTLING: dict[str, Mishap] = {
    "500": answer(500, error="internal_error"),
    "503": answer(503, error="unavailable"),
    "reset": reset,
    "timeout": slow,
    "200 with nonsense": lambda: httpx.Response(200, text="<html>welcome</html>"),
    "201 without ids": answer(201, ok=True),
    "201 with empty ids": answer(201, source_event_id="", domain_event_id="d", deal_id="x"),
}


@pytest.mark.parametrize("name", UNSETTLING)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_event_of_unknown_fate_is_unsettled_and_its_retry_settles_it_once(
    line: Shaky, ledger: RemoteLedger, name: str, when: str
):
    getattr(line, when)["k1"] = [UNSETTLING[name]]
    one, other = ledger.append([event("a", "k1"), event("b", "k2")])
    assert isinstance(one, Unsettled)
    assert isinstance(other, Receipt)
    [again] = ledger.append([event("a", "k1")])
    assert isinstance(again, Receipt)
    assert again.outcome == ("appended" if when == "before" else "already_there")
    assert sorted(one.dedup_key for one in line.ledger.events) == ["k1", "k2"]
    first, second = [body for body in line.bodies if b'"k1"' in body]
    assert first == second


def test_a_deal_is_sent_in_order_one_at_a_time_and_stops_at_what_is_not_settled(line: Shaky, ledger: RemoteLedger):
    line.before["k2"] = [answer(500, {"Retry-After": "7"}, error="internal_error")]
    answers = ledger.append([event("a", f"k{n}") for n in range(5)] + [event("b", "other")])
    assert [type(one) for one in answers] == [Receipt, Receipt, Unsettled, Unsettled, Unsettled, Receipt]
    assert isinstance(answers[2], Unsettled)
    assert answers[2].retry_after_s == 7
    assert [body for body in line.bodies if b'"a"' in body] == [b for b in line.bodies if b'"a"' in b][:3]


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_refused_event_stops_its_lane_and_says_why(line: Shaky, ledger: RemoteLedger, status: int):
    line.before["k1"] = [answer(status, error="invalid_request", reason="state: too odd")]
    refused, later, fine = ledger.append([event("a", "k1"), event("a", "k2"), event("b", "k3")])
    assert isinstance(refused, Rejected)
    assert "state: too odd" in refused.message
    assert isinstance(later, Unsettled)
    assert isinstance(fine, Receipt)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_everything(line: Shaky, ledger: RemoteLedger, status: int):
    line.always = answer(status, error="forbidden", reason="missing scope: deals:write")
    with pytest.raises(LedgerRefused, match="missing scope: deals:write"):
        ledger.append([event(f"d{n}", f"k{n}") for n in range(100)])
    assert len(line.bodies) <= 4


def test_a_key_revoked_half_way_keeps_the_receipts_and_is_told_next_time(line: Shaky, ledger: RemoteLedger):
    line.before["k1"] = [answer(401, error="invalid_key")] * 2
    answers = ledger.append([event("a", "k0"), event("a", "k1"), event("a", "k2")])
    assert [type(one) for one in answers] == [Receipt, Unsettled, Unsettled]
    with pytest.raises(LedgerRefused, match="does not accept the API key"):
        ledger.append([event("a", "k1")])


@pytest.mark.parametrize("status", [301, 404, 405])
def test_an_address_that_is_no_ledger_is_not_taken_for_a_refused_event(line: Shaky, ledger: RemoteLedger, status: int):
    line.always = answer(status, error="not_found")
    with pytest.raises(LedgerRefused, match="url"):
        ledger.append([event()])


def test_a_ledger_that_is_away_is_left_in_peace_soon(line: Shaky, ledger: RemoteLedger):
    line.always = away
    with pytest.raises(LedgerUnavailable, match="cannot be reached"):
        ledger.append([event(f"d{n}", f"k{n}") for n in range(500)])
    assert len(line.bodies) <= 12


def test_one_event_that_always_fails_does_not_hold_up_the_others(line: Shaky, ledger: RemoteLedger):
    line.before["k0"] = [answer(500, error="internal_error")] * 3
    answers = ledger.append([event(f"d{n}", f"k{n}") for n in range(50)])
    assert sum(isinstance(one, Receipt) for one in answers) == 49


def test_too_many_requests_hold_back_the_whole_key(line: Shaky, ledger: RemoteLedger):
    line.before["k0"] = [answer(429, {"Retry-After": "37"}, error="rate_limited", retry_after_seconds=37)]
    [first] = ledger.append([event("a", "k0")])
    assert isinstance(first, Unsettled)
    assert first.retry_after_s == 37
    [later] = ledger.append([event("b", "k1")])
    assert isinstance(later, Unsettled)
    assert 36 < later.retry_after_s <= 37
    assert len(line.bodies) == 1


def test_the_last_request_of_a_window_is_used_and_no_429_is_earned(line: Shaky, ledger: RemoteLedger):
    reset_at = str(int(time.time()) + 30)
    line.headers = [
        {"X-RateLimit-Limit": "3", "X-RateLimit-Remaining": str(left), "X-RateLimit-Reset": reset_at}
        for left in (2, 1, 0)
    ]
    answers = ledger.append([event("a", f"k{n}") for n in range(5)])
    assert [type(one) for one in answers] == [Receipt, Receipt, Receipt, Unsettled, Unsettled]
    assert isinstance(answers[3], Unsettled)
    assert 28 <= answers[3].retry_after_s <= 30


def test_our_own_limit_holds(line: Shaky):
    ledger = RemoteLedger("https://ledger.example/v1", KEY, transport=line, budget=Budget(10))
    answers = ledger.append([event(f"d{n}", f"k{n}") for n in range(25)])
    assert sum(isinstance(one, Receipt) for one in answers) == len(line.bodies) == 9
    # The tenth request asked what the ledger can do.
    ledger.close()


def test_no_more_are_in_flight_than_asked_for(line: Shaky, ledger: RemoteLedger):
    together = threading.Barrier(4)

    def meet() -> httpx.Response:
        together.wait(5)
        return httpx.Response(400)

    ledger.append([event("first", "k")])  # what is asked first is asked alone
    line.before = {f"k{n}": [meet] for n in range(4)}
    ledger.append([event(f"d{n}", f"k{n}") for n in range(12)])
    assert line.most_in_flight == 4


def test_a_409_with_ids_is_a_conflict_not_a_refusal(line: Shaky, ledger: RemoteLedger):
    line.before["k1"] = [answer(409, error="conflict", source_event_id="s", domain_event_id="d", deal_id="x")]
    [receipt] = ledger.append([event("a", "k1")])
    assert isinstance(receipt, Receipt)
    assert (receipt.outcome, receipt.conflict, receipt.domain_event_id) == ("already_there", True, "d")


@pytest.mark.parametrize("mishap", [answer(400, error="x", reason=f"your header was Bearer {KEY}\n\x1b[31m"), away])
def test_the_key_is_in_no_message(line: Shaky, ledger: RemoteLedger, mishap: Mishap):
    line.always = mishap
    try:
        said = repr(ledger.append([event()]))
    except LedgerUnavailable as fault:
        said = repr(fault)
    assert KEY not in said + repr(ledger)
    assert "\x1b" not in said


@pytest.mark.parametrize("key", ["", "oqp_ab cd", "oqp_\r\nX: y", "oqp_é"])
def test_a_key_that_fits_no_header_is_refused_unrepeated(key: str):
    with pytest.raises(ValueError, match="API key") as caught:
        RemoteLedger("https://ledger.example/v1", key)
    assert "oqp_" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "ledger.example/v1", "ftp://x/v1", "http://api.example.com/v1", "https://u:p@x/v1", "https://x/v1?a=b"]
)
def test_an_address_that_cannot_work_is_refused(url: str):
    with pytest.raises(ValueError, match="url"):
        RemoteLedger(url, KEY)


def deal(n: int) -> dict[str, object]:
    at = f"2026-04-22T10:15:{n % 60:02}.000Z"
    return {"id": f"deal_{n}", "external_id": f"d:{n}", "state": {}, "last_event_at": at, "updated_at": at}


def page(numbers: list[int], following: int | None) -> Mishap:
    pagination = {"limit": 500, "offset": 0, "next_offset": following, "more": "to come"}
    return answer(200, deals=[deal(n) | {"source": "api", "new_field": 1} for n in numbers], pagination=pagination)


def test_deals_that_move_while_we_page_are_found_at_the_head_and_none_comes_twice(line: Shaky, ledger: RemoteLedger):
    # Deal 5 changed after the first page was read, so it stands at the head now and 3 slid into the second page.
    line.gets = [page([3, 2, 1], 3), page([2, 1], None), page([5, 3, 2], 3), page([2, 1], None)]
    assert [one.external_id for one in ledger.deals()] == ["d:3", "d:2", "d:1", "d:5"]


def test_a_page_that_fails_is_read_again(line: Shaky, ledger: RemoteLedger):
    line.gets = [answer(500, error="x"), reset, page([1], None)]
    assert [one.external_id for one in ledger.deals()] == ["d:1"]


def test_a_list_that_never_comes_is_unavailable(line: Shaky, ledger: RemoteLedger):
    line.gets = [answer(200, deals="none")] * 10
    with pytest.raises(LedgerUnavailable, match="deals"):
        list(ledger.deals())


def who(*scopes: str) -> Mishap:
    return answer(200, api_version="v1", authenticated_as={"key_prefix": "oqp_5ec2", "scopes": scopes}, endpoints=[])


def test_the_check_tells_the_scopes(line: Shaky, ledger: RemoteLedger):
    line.gets = [who("deals:write", "deals:read")]
    assert ledger.check() == "ledger at https://ledger.example/v1, key oqp_5ec2…, scopes deals:read, deals:write"


def test_the_check_names_a_missing_scope(line: Shaky, ledger: RemoteLedger):
    line.gets = [who("deals:read")]
    with pytest.raises(LedgerRefused, match="deals:write"):
        ledger.check()


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long the ledger slept, on a clock that only its sleep moves."""
    slept: list[float] = []
    monkeypatch.setattr("ledger.remote.time.sleep", slept.append)
    monkeypatch.setattr("ledger.remote.time.monotonic", lambda: sum(slept))
    return slept


def test_whoever_only_looks_waits_for_no_budget_and_is_told_for_how_long_nobody_may_ask(
    line: Shaky, asleep: list[float]
):
    budget = Budget()
    budget.hold(60)
    ledger = RemoteLedger("https://ledger.example/v1", KEY, transport=line, budget=budget)
    with pytest.raises(LedgerPaced, match="for another 60 s") as caught:
        ledger.check()
    assert 59 < caught.value.wait_s <= 60
    assert (asleep, line.patience) == ([], [])
    ledger.close()


def test_whoever_only_looks_is_asked_for_little_patience(line: Shaky, ledger: RemoteLedger, asleep: list[float]):
    line.gets = [slow, answer(502), who("deals:write")]
    assert "deals:write" in ledger.check()
    line.gets = [slow] * 10
    with pytest.raises(LedgerUnavailable, match="in time"):
        ledger.check()
    assert sum(asleep) <= 2 * LOOK_S
    assert max(line.patience) <= LOOK_S
    assert line.patience[0] > line.patience[1] > line.patience[2], "what was waited for is not waited for again"


def test_a_look_takes_no_more_of_the_budget_than_it_asks_for(line: Shaky):
    purse = OwnPurse()
    ledger = RemoteLedger("https://ledger.example/v1", KEY, transport=line, budget=Budget(40, purse))
    line.gets = [who("deals:write")] * 2
    for _ in range(2):
        ledger.check()
    other = Budget(40, purse)
    assert [other.take() for _ in range(38)] == [0] * 38
    assert other.take() > 0
    ledger.close()


def able(*capabilities: str) -> Mishap:
    return answer(200, capabilities=capabilities)


def results(*statuses: int) -> Mishap:
    ids = {"source_event_id": "s", "domain_event_id": "d", "deal_id": "x"}
    more = {400: {"error": "invalid_request", "reason": "too odd"}, 424: {"error": "not_tried"}, 500: {}}
    return answer(200, results=[{"status": status, **more.get(status, ids)} for status in statuses])


def test_batches_are_used_where_the_ledger_says_so_and_each_event_has_its_own_answer(line: Shaky, ledger: RemoteLedger):
    line.gets, line.batches = [able("batch")], [results(201, 200, 400, 424, 500)]
    events = [event("a", "1"), event("b", "2"), event("c", "3"), event("c", "4"), event("d", "5")]
    one, two, three, four, five = ledger.append(events)
    assert isinstance(one, Receipt)
    assert isinstance(two, Receipt)
    assert (one.outcome, two.outcome) == ("appended", "already_there")
    assert isinstance(three, Rejected)
    assert "too odd" in three.message
    assert isinstance(four, Unsettled)
    assert isinstance(five, Unsettled)
    assert (four.tried, five.tried) == (False, True)


def test_a_refusal_within_a_batch_tells_why_and_not_the_key(line: Shaky, ledger: RemoteLedger):
    ids = {"source_event_id": "s", "domain_event_id": "d", "deal_id": "x"}
    odd = {"status": 400, "error": "invalid_request", "reason": f"you sent Bearer {KEY}\x1b[31m"}
    line.gets = [able("batch")]
    line.batches = [answer(200, results=[odd, {"status": 413}, {"status": 201, **ids}])]
    refused, unexplained, fine = ledger.append([event("a", "1"), event("b", "2"), event("c", "3")])
    assert isinstance(refused, Rejected)
    assert refused.message == "invalid_request: you sent Bearer [key]?[31m"
    assert isinstance(unexplained, Rejected)
    assert unexplained.message == "status 413"
    assert isinstance(fine, Receipt)


@pytest.mark.parametrize("mishap", [answer(500), answer(200, results=[]), reset, slow])
def test_a_batch_of_unknown_fate_leaves_all_of_it_unsettled(line: Shaky, ledger: RemoteLedger, mishap: Mishap):
    line.gets, line.batches = [able("batch")], [results(201, 201), mishap]
    ledger.append([event("a", "1"), event("b", "2")])
    try:
        answers = ledger.append([event("a", "3"), event("b", "4")])
    except LedgerUnavailable:
        return
    assert all(isinstance(one, Unsettled) and one.tried for one in answers)


@pytest.mark.parametrize("status", [400, 404, 405, 413])
def test_a_ledger_that_takes_no_batches_after_all_gets_its_events_one_by_one(
    line: Shaky, ledger: RemoteLedger, status: int
):
    line.gets, line.batches = [able("batch")], [answer(status, error="x")]
    answers = ledger.append([event("a", "1"), event("b", "2")])
    assert [type(one) for one in answers] == [Receipt, Receipt]


def test_without_the_capability_no_batch_is_tried(line: Shaky, ledger: RemoteLedger):
    line.gets = [able("history")]
    assert all(isinstance(one, Receipt) for one in ledger.append([event("a", "1"), event("b", "2")]))
    assert line.gets == []
