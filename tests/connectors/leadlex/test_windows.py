"""Windows: whatever order the list is in and however it moves, what is there all the time is read."""

from __future__ import annotations

from datetime import timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.faults import Unintelligible
from connectors.leadlex.api import MISCOUNTED
from connectors.leadlex.windows import MOVING, UNCOUNTED, UNFILTERED
from connectors.simulated_wire import Answer, Handler, Request
from tests.connectors.leadlex.reading import Tenant
from tests.connectors.pulls import Pulls, swept


@pytest.mark.parametrize("deals", [0, 1, 9, 10, 11, 99, 100, 101, 230])
@pytest.mark.parametrize("order", ["stable", "unstable"])
def test_a_complete_read_shows_every_deal_whatever_the_order(deals: int, order: str):
    tenant = Tenant(deals, order=order)
    ids, doubts = swept(tenant.reader().everything(None))
    assert ids == set(tenant.ids())
    assert doubts == (set() if deals else {"the list is empty"})


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), deals=st.integers(5, 60), inclusive=st.booleans(), unstable=st.booleans())
def test_no_deal_is_missed_by_a_first_pull_while_others_come_and_go(
    seed: int, deals: int, inclusive: bool, unstable: bool
):
    tenant = Tenant(deals, seed=seed, inclusive=inclusive, order="unstable" if unstable else "stable")
    there, random = set(tenant.ids()), Random(seed)

    def between(_: Request) -> None:
        ids = tenant.ids()
        if random.random() < 0.5 and len(ids) > 3:
            tenant.delete(random.choice(ids))
        if random.random() < 0.5:
            tenant.create(created=tenant.clock.now - timedelta(days=random.randrange(900)))

    tenant.before_list = between
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert there & set(tenant.ids()) <= pulls.ids


def crowded(count: int = 33, **switches: object) -> Tenant:
    """So many deals created within the same second, as an import leaves them."""
    tenant = Tenant(12, **switches)
    at = tenant.clock.now - timedelta(days=3)
    for _ in range(count):
        tenant.create(created=at)
    return tenant


def test_a_second_with_more_deals_than_a_page_holds_is_read_page_by_page_to_an_empty_one():
    tenant = crowded()
    ids, doubts = swept(tenant.reader().everything(None))
    assert (ids, doubts) == (set(tenant.ids()), set())
    numbers = [int(call.query["page"]) for call in tenant.log if "created_before" in call.query]
    assert max(numbers) == 5


def test_where_pages_of_one_second_move_they_are_read_again_until_the_count_agrees():
    tenant, moved = crowded(), []

    def between(request: Request) -> None:
        if request.query.get("page") == "3" and not moved:
            moved.append(tenant.create(created=tenant.clock.now - timedelta(days=3)))

    tenant.before_list = between
    ids, doubts = swept(tenant.reader().everything(None))
    assert moved
    assert (ids, doubts) == (set(tenant.ids()), set())


def test_a_second_that_keeps_moving_is_a_doubt():
    tenant = crowded(order="unstable")
    _, doubts = swept(tenant.reader().everything(None))
    assert MOVING in doubts


def test_a_page_clamped_without_a_word_is_followed_to_its_end():
    tenant = Tenant(60, max_per_page=4)

    def unsaid(request: Request, handle: Handler) -> Answer:
        answer = handle(request)
        return Answer(body=answer.body.replace(b'"per_page":4,', b'"per_page":10,'), headers=answer.headers)

    tenant.faults.sometimes(1.0, unsaid)
    ids, doubts = swept(tenant.reader().everything(None))
    assert (ids, doubts) == (set(tenant.ids()), set())


def test_bounds_that_are_not_heeded_are_noticed_and_leave_a_doubt():
    tenant = Tenant(60, ignored_params=frozenset({"created_after", "created_before"}))
    ids, doubts = swept(tenant.reader().everything(None))
    assert ids == set(tenant.ids())
    assert UNFILTERED in doubts
    assert tenant.asked < 12


def test_a_list_that_does_not_count_itself_is_read_to_its_end_and_witnesses_nothing():
    tenant = Tenant(35, total="absent")
    ids, doubts = swept(tenant.reader().everything(None))
    assert ids == set(tenant.ids())
    assert UNCOUNTED in doubts


def test_a_count_that_does_not_agree_is_a_doubt_and_costs_no_deal():
    tenant = Tenant(35, total="stale")
    ids, doubts = swept(tenant.reader().everything(None))
    assert ids == set(tenant.ids())
    assert doubts & {MOVING, MISCOUNTED}


def test_a_list_that_counts_its_page_instead_of_itself_is_read_to_its_end():
    tenant = Tenant(35)

    def short(request: Request, handle: Handler) -> Answer:
        answer = handle(request)
        return Answer(body=answer.body.replace(b'"total":35', b'"total":10'), headers=answer.headers)

    tenant.faults.sometimes(1.0, short)
    ids, doubts = swept(tenant.reader().everything(None))
    assert ids == set(tenant.ids())
    assert doubts


def test_deals_that_come_while_a_sweep_goes_on_are_no_doubt():
    tenant = Tenant(60)
    random = Random(4)
    tenant.before_list = lambda request: (
        tenant.create(created=tenant.clock.now - timedelta(days=random.randrange(900))) and None
    )
    _, doubts = swept(tenant.reader().everything(None))
    assert doubts == set()


def test_deals_that_only_a_count_knows_of_leave_a_doubt():
    """As if the bounds matched some deals in no window at all: the list without bounds counts two more."""
    tenant = Tenant(60)

    def more(request: Request, handle: Handler) -> Answer:
        answer = handle(request)
        return Answer(body=answer.body.replace(b'"total":60', b'"total":62'), headers=answer.headers)

    tenant.faults.sometimes(1.0, more)
    _, doubts = swept(tenant.reader().everything(None))
    assert doubts == {MISCOUNTED}


def test_the_same_page_for_ever_is_no_list():
    tenant = Tenant(35, total="absent", ignored_params=frozenset({"page"}))
    forever = tenant.ask("GET", "/v1/deals", params={"per_page": 10}).content

    def again(request: Request, handle: Handler) -> Answer:
        return Answer(body=forever, headers={"content-type": "application/json"})

    tenant.faults.sometimes(1.0, again)
    with pytest.raises(Unintelligible, match="no end"):
        list(tenant.reader().everything(None))
    assert tenant.asked < 20


def test_a_read_of_many_deals_costs_little_more_than_its_pages():
    tenant = Tenant(1000)
    swept(tenant.reader(page_size=100).everything(None))
    assert tenant.asked <= 18


@pytest.mark.parametrize("lost", range(1, 12))
def test_a_sweep_that_dies_after_any_page_resumes_there_and_counts_right(lost: int):
    tenant = Tenant(80)
    cursor, seen = None, set()
    for number, page in enumerate(tenant.reader().everything(None), start=1):
        cursor = page.cursor
        seen |= {record.source_id for record in page.records}
        if number == lost:
            break
    tenant.clock.advance(timedelta(hours=30))
    ids, doubts = swept(tenant.reader().everything(cursor))
    assert (seen | ids, doubts) == (set(tenant.ids()), set())
    assert lost < 3 or len(ids) < 80
