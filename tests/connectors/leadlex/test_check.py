"""The check tells a person setting up a connection what is well, and what to do about the rest."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from connectors.leadlex.api import LeadlexReader
from connectors.simulated_wire import html, refused, reset
from connectors.source import Finding
from tests.connectors.leadlex.reading import CLAIMED, Tenant


def found(reader: LeadlexReader) -> dict[str, Finding]:
    return {finding.what: finding for finding in reader.check()}


REST = ["whole rows", "clocks", "webhooks"]


def test_a_healthy_workspace_is_well_in_every_respect():
    tenant = Tenant(30, requests_per_day=100)
    findings = found(tenant.reader(limited=True))
    assert list(findings) == ["address", "credentials", "rights", "quota", "first page", *REST]
    assert all(finding.ok and finding.fault is None for finding in findings.values())
    assert findings["quota"].message == "99 of 100 requests are left today; pulls by schedule are at least 2.0 h apart"
    assert findings["first page"].message == "10 of 30 deals read"
    assert tenant.asked == 2


@pytest.mark.parametrize(
    ("mishap", "what", "fault", "words"),
    [
        (refused(401), "credentials", "refused", "make a new one"),
        (refused(403), "rights", "refused", "permission group Read"),
        (refused(404), "address", "unintelligible", "must end before /v1"),
        (refused(503), "address", "unavailable", "answered 503"),
        (reset(), "address", "unavailable", "cannot be reached"),
        (html(), "address", "unintelligible", "text/html"),
    ],
)
def test_what_is_wrong_is_named_with_who_must_act(mishap: Any, what: str, fault: str, words: str):
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, mishap)
    bad = [finding for finding in found(tenant.reader()).values() if not finding.ok]
    assert [(finding.what, finding.fault) for finding in bad] == [(what, fault)]
    assert words in bad[0].message


def test_a_plan_that_is_not_the_one_booked_is_told():
    finding = found(Tenant(5, requests_per_day=1000).reader(limited=True))["quota"]
    assert (finding.ok, finding.fault) == (False, "misconfigured")
    assert "1,000 requests a day" in finding.message


def test_without_headers_the_quota_is_the_plans_word():
    assert "does not say" in found(Tenant(5).reader())["quota"].message


def test_no_deals_yet_is_well():
    assert found(Tenant(0).reader())["first page"].ok


def test_a_list_that_does_not_count_itself_is_told():
    assert not found(Tenant(5, total="absent").reader())["first page"].ok


def test_unreadable_rows_are_counted_with_an_example():
    tenant = Tenant(9)
    tenant.raw(tenant.ids()[0], b"null")
    assert "1 of 9 rows cannot be read; RECORD_SHAPE" in found(tenant.reader())["first page"].message


def test_a_webhook_that_was_switched_off_is_noticed():
    tenant = Tenant(5)
    tenant.notify(lambda _: 500, disable_after=1)
    assert found(tenant.reader())["webhooks"].ok
    tenant.touch(tenant.ids()[0])
    finding = found(tenant.reader())["webhooks"]
    assert (finding.ok, finding.fault) == (False, "misconfigured")
    assert "1 of 1 webhooks are switched off" in finding.message


def test_a_key_that_may_not_see_webhooks_is_no_fault():
    finding = found(Tenant(5, forbidden=frozenset({"webhooks"})).reader())["webhooks"]
    assert finding.ok
    assert "may not see" in finding.message


@pytest.mark.parametrize("admin", [True, False])
def test_the_audit_log_is_tried_where_it_is_wanted(admin: bool):
    finding = found(Tenant(5, admin=admin).reader(use_audit_log=True))["audit log"]
    assert finding.ok == admin


@pytest.mark.parametrize(("by", "way"), [(timedelta(hours=1), "behind"), (timedelta(hours=-1), "ahead of")])
def test_clocks_that_differ_are_told(by: timedelta, way: str):
    tenant = Tenant(5)
    reader = tenant.reader()
    now = tenant.clock.now + by
    reader._lists.transport._now = lambda: now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    finding = found(reader)["clocks"]
    assert not finding.ok
    assert way in finding.message


def test_a_workspace_that_does_not_tell_its_time_is_well():
    assert found(Tenant(5, date_header=False).reader())["clocks"].ok


WANTED = CLAIMED | {"closed_date", "related_company_id"}


def test_keys_that_lists_leave_out_are_named_with_what_they_cost():
    tenant = Tenant(30, thin_rows=True)
    finding = found(tenant.reader(claimed=WANTED))["whole rows"]
    assert "closed_date" in finding.message
    assert "about 30 for the first pull, of 10,000,000 a day." in finding.message
    few = found(tenant.reader(claimed=WANTED, requests_per_day=8))["whole rows"]
    assert "of 8 a day, so it takes about 4 days" in few.message
    assert tenant.asked <= 12
    off = found(tenant.reader(claimed=WANTED, get_one_fallback=False))["whole rows"]
    assert "deals go without" in off.message
    assert "whole rows" in found(Tenant(30).reader(claimed=WANTED))
