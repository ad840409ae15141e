"""The check tells a person setting up a connection what is well, and what to do about the rest."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.simulated_wire import html, refused, reset
from connectors.source import Finding
from tests.connectors.cpod.reading import DEALS, Tenant


def found(tenant: Tenant, **options: Any) -> dict[str, Finding]:
    return {finding.what: finding for finding in tenant.reader(**options).check()}


def test_a_healthy_tenant_is_well_in_every_respect():
    tenant = Tenant(30)
    tenant.delete(tenant.ids()[-1])
    findings = found(tenant)
    whole = ["address", "credentials", "rights", "clocks", "envelope", "first page", "amounts"]
    assert list(findings) == [*whole, "deleted rows", "changed since", "visibility"]
    assert all(finding.ok and finding.fault is None for finding in findings.values())
    assert findings["envelope"].message == "rows lie under data, pages follow a cursor (envelope data/snake)"
    assert findings["first page"].message == "10 deals read of 29 in all; compare the total with the app"
    assert findings["deleted rows"].message.startswith("shown (1 seen)")


@pytest.mark.parametrize(
    ("mishap", "what", "fault", "words"),
    [
        (refused(401), "credentials", "refused", "no token for this client_id"),
        (refused(503), "address", "unavailable", "answered 503"),
        (reset(), "address", "unavailable", "cannot be reached"),
        (html(), "address", "unintelligible", "text/html"),
        (refused(404), "address", "unintelligible", "check base_url"),
    ],
)
def test_what_is_wrong_is_named_with_who_must_act(mishap: Any, what: str, fault: str, words: str):
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, mishap)
    bad = [finding for finding in found(tenant).values() if not finding.ok]
    assert [(finding.what, finding.fault) for finding in bad] == [(what, fault)]
    assert words in bad[0].message


def test_missing_rights_and_a_list_that_takes_nothing_are_told_apart():
    assert found(Tenant(5, forbidden=True))["rights"].fault == "refused"
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, refused(422), where=lambda request: request.path == DEALS)
    assert "the plainest of requests" in found(tenant)["address"].message


@pytest.mark.parametrize(("options", "ok"), [({}, False), ({"own_records_ok": True}, True)])
@pytest.mark.parametrize("trap", ["app", "owner"])
def test_a_list_that_may_hide_deals_is_told(trap: str, options: dict[str, Any], ok: bool):
    tenant = Tenant(25, app_id="app-1" if trap == "app" else None)
    for deal in tenant.ids():
        tenant.edit(deal, app_id="app-1", owner_id="usr-1")
    finding = found(tenant, page_size=50, **options)["visibility"]
    assert finding.ok is ok
    assert ok or "compare the number of deals with the app" in finding.message


def test_deleted_rows_that_were_never_seen_prove_nothing():
    message = found(Tenant(5))["deleted rows"].message
    assert "not proven" in message
    assert found(Tenant(5), include_deleted_param="")["deleted rows"].message.startswith("not asked for")
    strict = Tenant(5, refuse_unknown_params=True)
    assert found(strict)["deleted rows"].ok
    assert found(strict, include_deleted_param="withTrash")["deleted rows"].fault == "misconfigured"


def test_a_parameter_that_shows_deleted_rows_only_is_told():
    tenant = Tenant(5, only_deleted=True)
    tenant.delete(tenant.ids()[0])
    assert "deleted deals only" in found(tenant)["deleted rows"].message


@pytest.mark.parametrize(
    ("switches", "ok", "words"),
    [
        ({"changed_since": "updated_after"}, True, "is kept"),
        ({}, False, "is ignored"),
        ({"refuse_unknown_params": True}, False, "is answered 422"),
    ],
)
def test_the_changed_since_parameter_is_tried(switches: dict[str, Any], ok: bool, words: str):
    finding = found(Tenant(15, **switches), changed_since_param="updated_after")["changed since"]
    assert finding.ok is ok
    assert words in finding.message


def test_an_empty_tenant_is_well():
    findings = found(Tenant(0), changed_since_param="updated_after")
    assert all(finding.ok for finding in findings.values())
    assert "never deletes anything" in findings["first page"].message


def test_amounts_are_shown_as_they_will_be_read():
    assert "is read in major units" in found(Tenant(5))["amounts"].message
    assert found(Tenant(5, money_as_text=True))["amounts"].fault == "unintelligible"


def test_a_webhook_that_has_paused_itself_is_noticed():
    tenant = Tenant(5)
    tenant.notify(lambda _: 500, disable_after=3, retries=())
    assert "webhooks" not in found(tenant)
    for deal in tenant.ids()[:3]:
        tenant.touch(deal)
    finding = found(tenant)["webhooks"]
    assert (finding.ok, finding.fault) == (False, "misconfigured")
    assert "silent after 3 failures in a row" in finding.message


def test_webhooks_that_may_not_be_looked_at_are_no_trouble():
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, refused(403), where=lambda request: "webhooks" in request.path)
    finding = found(tenant)["webhooks"]
    assert finding.ok
    assert "cannot be looked at" in finding.message


def test_unreadable_rows_are_counted_with_an_example():
    tenant = Tenant(9)
    tenant.raw(tenant.ids()[0], b"null")
    finding = found(tenant)["first page"]
    assert (finding.ok, finding.fault) == (False, "unintelligible")
    assert finding.message.startswith("1 of 9 rows cannot be read; RECORD_SHAPE")
