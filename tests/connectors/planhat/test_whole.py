"""Thin list rows are noticed by comparison with a single read, and completed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.faults import Unintelligible
from connectors.planhat.simulated_tenant import Tenant as SimulatedTenant
from connectors.planhat.whole import THIN
from connectors.simulated_wire import Answer, Handler, Request, refused, saying
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
