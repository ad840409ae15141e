"""The audit log names deletions; only a single read proves them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors.faults import RateLimited, Unavailable
from connectors.leadlex.audit import ENDLESS, NO_ADMIN, UNCONFIRMED
from connectors.simulated_wire import Answer, Handler, Mishap, Request, refused
from tests.connectors.leadlex.reading import Tenant
from tests.connectors.pulls import Pulls


def settled(deals: int = 20, *, options: dict[str, object] | None = None, **switches: object) -> tuple[Tenant, Pulls]:
    tenant = Tenant(deals, **switches)
    pulls = Pulls(lambda: tenant.reader(use_audit_log=True, **(options or {})))
    pulls.pull()
    tenant.clock.advance(timedelta(hours=2))
    return tenant, pulls


def test_a_deletion_in_the_log_is_a_tombstone_once_a_single_read_proves_it():
    tenant, pulls = settled(admin=True)
    gone = tenant.ids()[:3]
    for deal in gone:
        tenant.delete(deal)
    pulls.pull()
    assert pulls.gone == set(gone)
    tombstones = [record for page in pulls.pages for record in page.records if record.deleted]
    assert all(record.version is None and record.kind == "deals" and b"audit-" in record.raw for record in tombstones)


def test_a_deal_that_is_there_is_not_gone_whatever_the_log_says():
    tenant, pulls = settled(admin=True)
    there = tenant.ids()[0]
    tenant._audit("delete", there)
    pulls.pull()
    assert pulls.gone == set()
    assert there in pulls.ids


def test_an_entry_is_asked_about_once():
    tenant, pulls = settled(admin=True)
    tenant.delete(tenant.ids()[0])
    pulls.pull()
    before = tenant.asked
    pulls.pull()
    assert tenant.asked - before == 4  # two walks, the log, and its empty page
    assert pulls.ids == set()


def test_a_log_of_many_pages_is_read_to_its_end():
    tenant, pulls = settled(admin=True)
    gone = {tenant.create() for _ in range(230)}
    for deal in gone:
        tenant.delete(deal)
    pulls.pull()
    assert pulls.gone == gone


def asking(**query: str) -> Mishap:
    """The log as it is shown to whoever asks in this way, however it is asked."""

    def mishap(request: Request, handle: Handler) -> Answer:
        return handle(replace(request, query={**request.query, **query}))

    return mishap


def in_the_log(request: Request) -> bool:
    return request.path.endswith("/audit-logs")


def single_reads(tenant: Tenant) -> Counter[str]:
    return Counter(call.path.rpartition("/")[2] for call in tenant.log if "/deals/" in call.path)


def test_of_a_log_of_a_hundred_pages_no_deletion_is_left_out():
    tenant, pulls = settled(admin=True)
    gone = {tenant.create() for _ in range(200)}
    for deal in gone:
        tenant.delete(deal)
    tenant.faults.sometimes(1.0, asking(per_page="2"), where=in_the_log)
    pulls.pull()
    assert pulls.gone == gone


def test_a_log_that_pays_no_heed_to_pages_is_read_once_and_the_operator_is_told():
    tenant, pulls = settled(admin=True)
    gone = tenant.ids()[:3]
    for deal in gone:
        tenant.delete(deal)
    tenant.faults.sometimes(1.0, asking(page="1"), where=in_the_log)
    pulls.pull()
    assert pulls.gone == set(gone)
    assert ENDLESS in pulls.notes
    pulls.pull()
    assert set(single_reads(tenant).values()) == {1}


def test_more_deletions_than_a_day_has_requests_are_confirmed_in_the_course_of_several():
    """Otherwise every day's requests would be spent on the newest of them, and the others be paid on for ever."""
    tenant, pulls = settled(80, options={"limited": True, "requests_per_day": 30}, admin=True)
    gone = tenant.ids()[:60]
    for deal in gone:
        tenant.delete(deal)
    for day in range(4):
        tenant.clock.advance(timedelta(days=1))
        try:
            pulls.pull()
        except RateLimited:
            assert len(pulls.gone) >= 20 * (day + 1)
        else:
            break
    assert pulls.gone == set(gone)
    assert set(single_reads(tenant).values()) == {1}


@pytest.mark.parametrize("pages", range(1, 9))
def test_a_pull_that_dies_among_the_deletions_goes_on_there(pages: int):
    tenant, pulls = settled(60, admin=True)
    gone = tenant.ids()[:45]
    for deal in gone:
        tenant.delete(deal)
    tenant.faults.sometimes(1.0, asking(per_page="20"), where=in_the_log)
    pulls.pull(pages=pages)
    later = tenant.ids()[0]
    tenant.delete(later)
    pulls.pull()
    pulls.pull()
    assert pulls.gone == {*gone, later}
    assert max(single_reads(tenant).values()) <= 2
    assert sum(single_reads(tenant).values()) <= 46 + 10


def test_a_pull_that_dies_among_very_many_deletions_asks_about_none_of_them_again():
    """The names of those dealt with are kept for the newest only; the place in the log is kept for all."""
    tenant, pulls = settled(admin=True)
    gone = {tenant.create() for _ in range(640)}
    for deal in gone:
        tenant.delete(deal)
    pulls.pull(pages=60)
    assert 500 < len(pulls.gone) < 640
    pulls.pull()
    assert pulls.gone == gone
    assert sum(single_reads(tenant).values()) <= 640 + 10


@pytest.mark.parametrize("status", [403, 500])
def test_a_deletion_whose_single_read_cannot_be_had_holds_back_no_other_and_no_watermark(status: int):
    tenant, pulls = settled(admin=True)
    gone = tenant.ids()[:5]
    for deal in gone:
        tenant.delete(deal)
    tenant.faults.sometimes(1.0, refused(status), where=lambda request: request.path.endswith(gone[2]))
    pulls.pull()
    assert pulls.gone == set(gone) - {gone[2]}
    assert UNCONFIRMED in pulls.notes
    assert pulls.cursor is not None
    assert "under" not in pulls.cursor


def test_deletions_that_fall_into_an_outage_are_asked_about_again():
    tenant, pulls = settled(admin=True)
    gone = tenant.ids()[:8]
    for deal in gone:
        tenant.delete(deal)
    tenant.faults.sometimes(1.0, refused(500), where=lambda request: "/deals/" in request.path)
    with pytest.raises(Unavailable):
        pulls.pull()
    assert pulls.gone == set()
    tenant.faults.clear()
    pulls.pull()
    assert pulls.gone == set(gone)


def test_a_deal_that_is_new_and_gone_again_while_it_is_read_ends_with_its_tombstone():
    tenant, pulls = settled(admin=True)
    new = tenant.create()

    def vanishes(request: Request, handle: Handler) -> Answer:
        tenant.delete(new)
        tenant.faults.clear()
        return handle(request)

    tenant.faults.sometimes(1.0, vanishes, where=in_the_log)
    pulls.pull()
    assert new in pulls.held
    assert pulls.gone == {new}
    tenant.clock.advance(timedelta(hours=2))
    pulls.pull()
    assert pulls.gone == {new}


def test_without_an_admin_key_the_pull_goes_on_and_says_so():
    tenant, pulls = settled()
    tenant.delete(tenant.ids()[0])
    changed = tenant.ids()[1]
    tenant.edit(changed, estimated_value=1)
    pulls.pull()
    assert (pulls.gone, pulls.ids) == (set(), {changed})
    assert NO_ADMIN in pulls.notes


def test_without_the_option_the_log_is_never_asked_for():
    tenant = Tenant(5, admin=True)
    pulls = Pulls(tenant.reader)
    for _ in range(2):
        pulls.pull()
    assert not any("audit" in call.path for call in tenant.log)


def test_an_answer_that_proves_nothing_is_no_tombstone():
    tenant, pulls = settled(admin=True)
    tenant.delete(tenant.ids()[0])
    tenant.faults.sometimes(1.0, refused(400), where=lambda request: "/deals/" in request.path)
    pulls.pull()
    assert (pulls.gone, pulls.ids) == (set(), set())
