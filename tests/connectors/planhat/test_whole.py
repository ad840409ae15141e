"""Thin list rows are noticed by comparison with a single read, and completed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.faults import Unavailable, Unintelligible
from connectors.planhat.simulated_tenant import Tenant as SimulatedTenant
from connectors.simulated_wire import Answer, Handler, Request, refused, saying
from connectors.whole_rows import THIN
from tests.connectors.planhat.reading import FIELDS, Tenant
from tests.connectors.pulls import Pulls, swept


def singles(tenant: SimulatedTenant) -> int:
    return sum(call.path.count("/") == 2 for call in tenant.log)


def test_rows_thinned_although_selected_are_read_one_by_one():
    tenant = Tenant(25, thin_rows="always")
    pulls = Pulls(tenant.reader)
    pages = pulls.pull()
    assert {source_id: tenant.served(source_id) for source_id in tenant.ids()} == pulls.held
    assert THIN in pulls.notes
    assert all(record.version is not None for page in pages for record in page.records)


def test_select_alone_makes_rows_whole_where_it_works():
    tenant = Tenant(25, thin_rows="unselected")
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert singles(tenant) <= 1
    assert all("custom" in json.loads(raw) for raw in pulls.held.values())
    unselected = Pulls(lambda: tenant.reader(select=False))
    unselected.pull()
    assert THIN in unselected.notes


def test_a_deal_that_really_lacks_a_field_is_not_taken_for_thin():
    tenant = Tenant(25)
    for deal in tenant.ids():
        tenant.drop(deal, "currency", "closeDate")
    tenant.edit(tenant.ids()[0], ownerId=None)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert pulls.notes == set()
    assert singles(tenant) <= 3


def test_an_empty_deal_does_not_hide_that_the_list_leaves_out_everybodys_owner_and_currency():
    """A deal that has been begun and not filled in shows as little in a single read as in the list."""
    tenant = Tenant(25, thin_rows="always")
    for empty in tenant.ids()[:3]:
        tenant.drop(empty, "currency", "closeDate", "ownerId", "total")
    fields = {"deals": FIELDS["deals"] - {"custom"}}
    pulls = Pulls(lambda: tenant.reader(fields=fields))
    pulls.pull()
    assert {source_id: tenant.served(source_id) for source_id in tenant.ids()} == pulls.held
    assert THIN in pulls.notes


def test_what_was_found_whole_is_not_asked_again_until_other_fields_are_wanted():
    tenant = Tenant(25)
    for deal in tenant.ids():
        tenant.drop(deal, "currency")
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.log.clear()
    pulls.pull()
    assert singles(tenant) == 0
    pulls.open_again = lambda: tenant.reader(fields={"deals": FIELDS["deals"] | {"comment"}})
    pulls.pull()
    assert 1 <= singles(tenant) <= 3


def test_an_incremental_pull_of_thin_rows_reads_only_the_changed_ones_by_themselves():
    tenant = Tenant(60, thin_rows="always")
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.log.clear()
    tenant.clock.advance(86_400)
    changed = tenant.ids()[3]
    tenant.edit(changed, currency="EUR")
    pulls.pull()
    assert json.loads(pulls.held[changed])["currency"] == "EUR"
    assert singles(tenant) <= 4


def test_a_deal_deleted_before_its_single_read_is_left_out():
    tenant = Tenant(8, thin_rows="always")
    gone = tenant.ids()[5]

    def delete(_: Any) -> None:
        if gone in tenant.ids() and singles(tenant) > 0:
            tenant.delete(gone)

    tenant.before_list = delete
    pulls = Pulls(lambda: tenant.reader(page_size=4))
    pulls.pull()
    assert set(tenant.ids()) == set(pulls.held)


def test_a_sweep_completes_thin_rows_too():
    tenant = Tenant(12, thin_rows="always")
    pages = list(tenant.reader().everything(None))
    assert all("custom" in json.loads(record.raw) for page in pages for record in page.records)
    assert swept(iter(pages)) == (set(tenant.ids()), set())


def once_pulled(deals: int) -> tuple[Tenant, Pulls]:
    """A tenant whose lists are thin, and what a first pull left."""
    tenant = Tenant(deals, thin_rows="always")
    pulls = Pulls(lambda: tenant.reader(known=pulls.known, page_size=100))
    pulls.pull()
    tenant.log.clear()
    tenant.clock.advance(timedelta(days=1))
    return tenant, pulls


def sweep(tenant: Tenant, pulls: Pulls) -> None:
    """A sweep whose pages land."""
    for page in tenant.reader(known=pulls.known, page_size=100).everything(pulls.cursor):
        pulls.take(replace(page, cursor=None))


def test_a_sweep_reads_few_deals_by_themselves_that_are_known_whole_and_have_not_changed():
    tenant, pulls = once_pulled(140)
    held = dict(pulls.held)
    sweep(tenant, pulls)
    assert singles(tenant) <= 1 + 2 * 140 / 7
    assert pulls.held == held
    edited, new = tenant.ids()[3], tenant.create()
    tenant.edit(edited, currency="EUR")
    tenant.log.clear()
    sweep(tenant, pulls)
    asked = {call.path.rpartition("/")[2] for call in tenant.log if call.path.count("/") == 2}
    assert {edited, new} <= asked
    assert {one: tenant.served(one) for one in tenant.ids()} == pulls.held


def test_each_known_deal_is_read_anew_every_few_days_since_formulas_change_without_a_word():
    tenant, pulls = once_pulled(60)
    for one in tenant.ids():
        tenant.silent(one, custom={"Score": 7})
    most = 0
    for _ in range(60):
        tenant.log.clear()
        sweep(tenant, pulls)
        most = max(most, singles(tenant))
        tenant.clock.advance(timedelta(days=1))
    assert most <= 25
    assert {one: tenant.served(one) for one in tenant.ids()} == pulls.held


def test_where_the_list_leaves_out_what_line_items_add_up_to_each_deal_is_read_by_itself():
    """Roll-ups do not move `updatedAt`, and commissions are paid on them."""
    tenant, pulls = once_pulled(30)
    tenant.model = replace(tenant.model, thin_row=tenant.model.thin_row | {"total"})
    tenant.attach_line_item(tenant.ids()[5], mrr=10, value=120)
    sweep(tenant, pulls)
    assert singles(tenant) >= 30
    assert {one: tenant.served(one) for one in tenant.ids()} == pulls.held


def test_a_page_of_more_single_reads_than_the_source_bears_is_read_in_the_course_of_several_pulls():
    tenant = Tenant(60, thin_rows="always")
    pulls = Pulls(lambda: tenant.reader(known=pulls.known, page_size=100))
    left = 25

    def away_after_some(request: Request, handle: Handler) -> Answer:
        nonlocal left
        left -= 1
        return handle(request) if left >= 0 else refused(503)(request, handle)

    tenant.faults.sometimes(1.0, away_after_some, where=lambda request: request.path.count("/") == 2)
    for landed in (20, 40):
        with pytest.raises(Unavailable):
            pulls.pull()
        assert len(pulls.held) >= landed
        left = 25
    pulls.pull()
    assert {one: tenant.served(one) for one in tenant.ids()} == pulls.held
    assert (
        max(Counter(call.path for call in tenant.log if call.status == 200 and call.path.count("/") == 2).values()) <= 5
    )


@pytest.mark.parametrize("fields", [{}, {"deals": frozenset()}])
def test_without_claimed_fields_or_with_the_fallback_off_rows_are_taken_as_they_come(fields: Any):
    tenant = Tenant(12, thin_rows="always")
    for pulls in (
        Pulls(lambda: tenant.reader(fields=fields)),
        Pulls(lambda: tenant.reader(get_one_fallback=False)),
    ):
        pulls.pull()
        assert set(pulls.held) == set(tenant.ids())
    assert singles(tenant) == 0


@pytest.mark.parametrize("times", [1, 3])
def test_a_sample_that_changed_meanwhile_decides_nothing(times: int):
    tenant = Tenant(12, thin_rows="always")

    def touched_first(request: Request, handle: Handler) -> Answer:
        tenant.touch(request.path.split("/")[-1])
        return handle(request)

    for number in range(times):
        tenant.faults.at(3 + number, touched_first)
    pulls = Pulls(lambda: tenant.reader(revenue_model="deals", page_size=20))
    pulls.pull()
    assert all("custom" in json.loads(raw) for raw in pulls.held.values())
    assert len(pulls.held) == 12


def test_a_sample_that_gained_a_field_meanwhile_does_not_make_the_list_thin():
    tenant = Tenant(12)
    for deal in tenant.ids():
        tenant.drop(deal, "currency")

    def given_first(request: Request, handle: Handler) -> Answer:
        tenant.edit(request.path.split("/")[-1], currency="EUR")
        return handle(request)

    tenant.faults.at(3, given_first)
    pulls = Pulls(lambda: tenant.reader(revenue_model="deals", page_size=20))
    pulls.pull()
    assert pulls.notes == set()


@pytest.mark.parametrize("mishap", [saying(b"[]"), refused(500), refused(403), refused(400)])
def test_a_single_read_that_cannot_be_had_spoils_its_own_row_only(mishap: Any):
    tenant = Tenant(12, thin_rows="always")
    odd = tenant.ids()[7]
    tenant.raw(odd, b'{"_id":"%s","total":NaN}' % odd.encode())
    tenant.faults.sometimes(1.0, mishap, where=lambda request: request.path.endswith(odd))
    pulls = Pulls(lambda: tenant.reader(page_size=20))
    thin = b'{"_id":"%s","updatedAt":"2026-03-01T00:00:00.000Z"}' % odd.encode()
    tenant.raw(odd, thin)
    pages = pulls.pull()
    assert set(pulls.held) == set(tenant.ids()) - {odd}
    assert [(bad.source_id, bad.raw) for page in pages for bad in page.spoiled] == [(odd, thin)]


def test_when_single_reads_go_on_being_unreadable_planhat_itself_is_to_blame():
    tenant = Tenant(12, thin_rows="always")
    good = tenant.ids()[0]
    tenant.faults.sometimes(1.0, saying(b"[]"), where=lambda r: r.path.count("/") == 2 and not r.path.endswith(good))
    with pytest.raises(Unintelligible):
        Pulls(lambda: tenant.reader(page_size=20)).pull()
