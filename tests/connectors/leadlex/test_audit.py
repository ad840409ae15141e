"""The audit log names deletions; only a single read proves them."""

from __future__ import annotations

from datetime import timedelta

from connectors.leadlex.audit import NO_ADMIN
from connectors.simulated_wire import refused
from tests.connectors.leadlex.reading import Tenant
from tests.connectors.pulls import Pulls


def settled(**switches: object) -> tuple[Tenant, Pulls]:
    tenant = Tenant(20, **switches)
    pulls = Pulls(lambda: tenant.reader(use_audit_log=True))
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
