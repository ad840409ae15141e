"""Rows that leave out keys are noticed, and completed where it matters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from connectors.faults import Fault, RateLimited, Unintelligible
from connectors.leadlex.lists import UNEDITED
from connectors.simulated_wire import Answer, Handler, Request, html, refused, saying
from connectors.source import Found, Known, Record
from connectors.times import instant
from connectors.whole_rows import THIN
from tests.connectors.leadlex.reading import CLAIMED, Tenant
from tests.connectors.pulls import Pulls, swept

WANTED = CLAIMED | {"closed_date", "related_company_id"}


def singles(tenant: Tenant) -> int:
    """How many deals were read by themselves."""
    return sum(len(call.path.split("/deals/")) == 2 for call in tenant.log)


def test_keys_that_the_list_leaves_out_are_fetched_for_each_deal_that_changed():
    tenant = Tenant(15, thin_rows=True)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    pulls.pull()
    assert all("closed_date" in json.loads(raw) for raw in pulls.held.values())
    assert THIN in pulls.notes
    tenant.clock.advance(timedelta(hours=1))
    tenant.edit(tenant.ids()[0], estimated_value=1)
    before = singles(tenant)
    pulls.pull()
    assert singles(tenant) - before == 1
    assert "closed_date" in json.loads(pulls.held[tenant.ids()[0]])


def test_deals_that_bear_little_do_not_hide_what_the_list_leaves_out():
    tenant = Tenant(15, thin_rows=True)
    for bare in tenant.ids()[:3]:
        tenant.edit(bare, status="won", closed_date="2026-03-01")
        tenant.drop(bare, "related_company_id", "closed_date", "currency", "owner_user_id")
    tenant.edit(tenant.ids()[3], status="won", closed_date="2026-03-01")
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED, page_size=100))
    pulls.pull()
    assert json.loads(pulls.held[tenant.ids()[3]])["closed_date"] == "2026-03-01"


def test_a_deal_that_both_walks_show_is_completed_once():
    tenant = Tenant(15, thin_rows=True)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    pulls.pull()
    tenant.clock.advance(timedelta(hours=1))
    new = tenant.create()
    tenant.edit(new, estimated_value=1)
    before = singles(tenant)
    pulls.pull()
    assert (singles(tenant) - before, pulls.ids) == (1, {new})


def test_a_sweep_of_thin_rows_shows_the_same_deals_as_the_pulls_did():
    tenant = Tenant(15, thin_rows=True)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    pulls.pull()
    pages = list(tenant.reader(claimed=WANTED).everything(pulls.cursor))
    assert {record.source_id: record.raw for page in pages for record in page.records} == pulls.held


def test_keys_that_are_absent_everywhere_cost_a_few_reads_once():
    tenant = Tenant(40, missing_currency=1.0)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert singles(tenant) == 3
    tenant.clock.advance(timedelta(hours=1))
    tenant.edit(tenant.ids()[0], estimated_value=1)
    pulls.pull()
    swept(tenant.reader().everything(pulls.cursor))
    assert singles(tenant) == 3


def test_a_thin_list_costs_nothing_where_the_mapping_asks_for_no_more():
    tenant = Tenant(40, thin_rows=True)
    Pulls(tenant.reader).pull()
    assert singles(tenant) == 0


def test_where_the_fallback_is_off_a_deal_has_one_shape_on_every_road():
    tenant = Tenant(15, thin_rows=True)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED, get_one_fallback=False))
    pulls.pull()
    assert singles(tenant) == 0
    assert pulls.ids == set(tenant.ids())
    reader = tenant.reader(claimed=WANTED, get_one_fallback=False)
    for one in tenant.ids():
        found = reader.one(one)
        assert isinstance(found, Found)
        assert found.record.raw == pulls.held[one]


def test_where_the_fallback_is_off_a_deal_that_no_list_shows_is_not_taken_for_less_than_it_is():
    tenant = Tenant(15, thin_rows=True)
    nothing = saying(b'{"data":{"deals":[]},"meta":{"page":1,"per_page":10,"total":0}}')
    tenant.faults.sometimes(1.0, nothing, lambda request: request.path.endswith("/deals"))
    with pytest.raises(Unintelligible, match="the list does not show it"):
        tenant.reader(claimed=WANTED, get_one_fallback=False).one(tenant.ids()[0])


def known_of(pulls: Pulls) -> Known:
    """What a store that the pulls landed in would say."""

    def known(ids: Sequence[str]) -> dict[str, Record]:
        dates = {one: json.loads(pulls.held[one])["updated_date"] for one in ids if one in pulls.held}
        return {one: Record(one, instant(at) or UNEDITED, pulls.held[one], "deals") for one, at in dates.items()}

    return known


def test_a_sweep_reads_no_deal_by_itself_that_is_known_whole_and_has_not_changed():
    tenant = Tenant(40, thin_rows=True)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    pulls.pull()
    before = singles(tenant)
    pages = list(tenant.reader(claimed=WANTED, known=known_of(pulls)).everything(pulls.cursor))
    assert singles(tenant) == before
    assert {record.source_id: record.raw for page in pages for record in page.records} == pulls.held
    edited, new = tenant.ids()[3], tenant.create()
    tenant.edit(edited, estimated_value=7)
    list(tenant.reader(claimed=WANTED, known=known_of(pulls)).everything(pulls.cursor))
    assert singles(tenant) - before == 2
    asked = [call.path.rpartition("/")[2] for call in tenant.log if "/deals/" in call.path]
    assert set(asked[-2:]) == {edited, new}


def days_of(tenant: Tenant, pulls: Pulls) -> int:
    """How many days a pull takes that goes on each day until nothing is left of it."""
    for day in range(1, 10):
        with suppress(RateLimited):
            pulls.pull()
            return day
        tenant.clock.advance(timedelta(days=1))
    raise AssertionError("the pull never came to its end")


def test_a_page_of_more_single_reads_than_a_day_has_is_read_in_the_course_of_several():
    """Otherwise a small plan would spend every day's requests on the same deals, and land none of them for ever."""
    tenant = Tenant(60, thin_rows=True)
    options = {"limited": True, "requests_per_day": 35, "page_size": 100}
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED, known=known_of(pulls), **options))
    assert days_of(tenant, pulls) == 2
    assert set(pulls.held) == set(tenant.ids())
    assert all("closed_date" in json.loads(raw) for raw in pulls.held.values())
    tenant.clock.advance(timedelta(days=1))
    for one in tenant.ids():
        tenant.edit(one, estimated_value=7)
    assert days_of(tenant, pulls) == 2
    assert {json.loads(raw)["estimated_value"] for raw in pulls.held.values()} == {7}


def test_a_change_that_left_the_clock_alone_is_read_by_itself():
    tenant = Tenant(15, thin_rows=True, words="list")
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    pulls.pull()
    one = tenant.ids()[0]
    held = json.loads(pulls.held[one])
    for key, value in (("estimated_value", 123.5), ("owner_user_id", "somebody"), ("stage", "Elsewhere")):
        changed = json.dumps(held | {key: value}).encode()
        before, known = singles(tenant), known_of(pulls)
        pulls.held[one] = changed
        list(tenant.reader(claimed=WANTED, known=known).everything(pulls.cursor))
        assert singles(tenant) - before == 1, key
        pulls.held[one] = json.dumps(held).encode()


def test_the_same_values_written_otherwise_are_no_change():
    tenant = Tenant(15, thin_rows=True, words="documented")
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    pulls.pull()
    pulls.held = {one: json.dumps(json.loads(raw), indent=1).encode() for one, raw in pulls.held.items()}
    before = singles(tenant)
    list(tenant.reader(claimed=WANTED, known=known_of(pulls)).everything(pulls.cursor))
    assert singles(tenant) == before


def test_a_deal_that_is_known_from_a_list_only_is_read_by_itself():
    tenant = Tenant(15, thin_rows=True)
    thin = Pulls(lambda: tenant.reader(claimed=CLAIMED))
    thin.pull()
    assert singles(tenant) == 0
    pages = list(tenant.reader(claimed=WANTED, known=known_of(thin)).everything(None))
    assert singles(tenant) >= 15
    assert all("closed_date" in json.loads(record.raw) for page in pages for record in page.records)


MISHAPS = [saying(b'{"data":{"deal":{"id":"other"}}}'), html(200), refused(500), refused(403)]


@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_deal_whose_single_read_cannot_be_had_is_parked_and_holds_back_no_other(mishap: Any):
    tenant = Tenant(40, thin_rows=True)
    bad = tenant.ids()[7]
    tenant.faults.sometimes(1.0, mishap, lambda request: request.path.endswith(bad))
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    pulls.pull()
    assert [one.source_id for page in pulls.pages for one in page.spoiled] == [bad]
    assert set(pulls.held) == set(tenant.ids()) - {bad}
    pages = list(tenant.reader(claimed=WANTED).everything(pulls.cursor))
    assert {one.source_id for page in pages for one in page.spoiled} == {bad}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_where_no_single_read_can_be_had_rows_are_not_taken_for_whole(mishap: Any):
    tenant = Tenant(40, thin_rows=True)
    tenant.faults.sometimes(1.0, mishap, lambda request: "/deals/" in request.path)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED))
    with pytest.raises(Fault):
        pulls.pull()
    assert pulls.held == {}


def test_deals_gone_between_the_list_and_the_single_read_are_left_out():
    tenant = Tenant(15, thin_rows=True)
    reader = tenant.reader(claimed=WANTED)
    reader.one(tenant.ids()[0])
    gone = tenant.ids()[4]
    tenant.before_list = None

    def vanish(request, handle):
        answer = handle(request)
        if gone in tenant.ids():
            tenant.delete(gone)
        return answer

    tenant.faults.next(vanish)
    assert gone not in swept(reader.everything(None))[0]


def test_where_the_samples_are_deleted_between_two_looks_no_row_of_that_page_is_taken_for_whole():
    """Somebody tidies up while the first page is read: what is left of it must not land without its closing dates."""
    tenant = Tenant(15, thin_rows=True)
    left = 3

    def vanishes(request: Request, handle: Handler) -> Answer:
        nonlocal left
        left -= 1
        if left >= 0:
            tenant.delete(request.path.rpartition("/")[2])
        return handle(request)

    tenant.faults.sometimes(1.0, vanishes, where=lambda request: "/deals/" in request.path)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED, page_size=100))
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert len(pulls.held) == 12
    assert all("closed_date" in json.loads(raw) for raw in pulls.held.values())
