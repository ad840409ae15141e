"""Rows that leave out keys are noticed, and completed where it matters."""

from __future__ import annotations

import json
from datetime import timedelta

from connectors.leadlex.whole import THIN
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


def test_the_fallback_can_be_switched_off():
    tenant = Tenant(15, thin_rows=True)
    pulls = Pulls(lambda: tenant.reader(claimed=WANTED, get_one_fallback=False))
    pulls.pull()
    assert singles(tenant) == 0
    assert pulls.ids == set(tenant.ids())


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
