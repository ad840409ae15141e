"""The check tells a person setting up a connection what is well, and what to do about the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.planhat.api import PlanhatReader
from connectors.simulated_wire import html, refused, reset
from connectors.source import Finding
from tests.connectors.planhat.reading import Tenant, both, open_reader


def found(reader: PlanhatReader) -> dict[str, Finding]:
    return {finding.what: finding for finding in reader.check()}


def test_a_healthy_tenant_is_well_in_every_respect():
    findings = found(Tenant(30).reader())
    assert list(findings) == ["address", "credentials", "rights", "clocks", "model", "first page", "order"]
    assert all(finding.ok and finding.fault is None for finding in findings.values())
    assert findings["model"].message == "the tenant keeps its pipeline in deals"
    assert findings["first page"].message == "30 rows of deals read; 9 fields asked for"


def test_opportunities_are_recognised():
    findings = found(Tenant(30, model="opportunities", no_deal_model="403").reader())
    assert findings["model"].message.endswith("opportunities")
    assert all(finding.ok for finding in findings.values())


@pytest.mark.parametrize(
    ("mishap", "what", "fault", "words"),
    [
        (refused(401), "credentials", "refused", "wrong cluster"),
        (refused(503), "address", "unavailable", "answered 503"),
        (reset(), "address", "unavailable", "cannot be reached"),
        (html(), "address", "unintelligible", "text/html"),
        (refused(404), "rights", "unintelligible", "check base_url and revenue_model"),
        (refused(403), "rights", "refused", "read permission"),
    ],
)
def test_what_is_wrong_is_named_with_who_must_act(mishap: Any, what: str, fault: str, words: str):
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, mishap)
    findings = found(tenant.reader())
    bad = [finding for finding in findings.values() if not finding.ok]
    assert [(finding.what, finding.fault) for finding in bad] == [(what, fault)]
    assert words in bad[0].message


def test_two_models_with_rows_ask_for_a_decision():
    findings = found(open_reader(both(Tenant(5, seed=1), Tenant(5, model="opportunities", seed=2))))
    assert (findings["model"].ok, findings["model"].fault) == (False, "misconfigured")
    assert "revenue_model" in findings["model"].message


def test_no_rows_yet_is_well():
    findings = found(Tenant(0).reader())
    assert findings["model"].ok
    assert "first page" not in findings


def test_unreadable_rows_are_counted_with_an_example():
    tenant = Tenant(9)
    tenant.raw(tenant.ids()[0], b"null")
    tenant.raw(tenant.ids()[1], b'{"_id":"x","updatedAt":"soon"}')
    finding = found(tenant.reader())["first page"]
    assert (finding.ok, finding.fault) == (False, "unintelligible")
    assert finding.message.startswith("1 of 9 rows cannot be read; RECORD_SHAPE: the record is null")
    tenant.mend(tenant.ids()[0])
    assert ", 1 of them without a usable updatedAt" in found(tenant.reader())["first page"].message


def test_a_first_page_that_fails_is_told():
    tenant = Tenant(9)
    tenant.faults.sometimes(1.0, html(), where=lambda request: request.query.get("sort") == "_id")
    assert found(tenant.reader())["first page"].fault == "unintelligible"


def test_an_order_that_is_not_kept_is_told_and_no_fault():
    finding = found(Tenant(9, ignored_params=frozenset({"sort"})).reader())["order"]
    assert finding.ok
    assert "reads everything" in finding.message


@pytest.mark.parametrize(
    ("date", "ok", "words"),
    [
        ("Mon, 02 Mar 2026 08:01:00 GMT", True, "differ by 60 s"),
        ("Mon, 02 Mar 2026 09:00:00 GMT", False, "3600 s ahead of"),
        ("Mon, 02 Mar 2026 07:00:00 GMT", False, "3600 s behind"),
    ],
)
def test_clocks_that_differ_are_told(date: str, ok: bool, words: str):
    tenant = Tenant(9)
    tenant.faults.sometimes(
        1.0, lambda request, handle: replace(answer := handle(request), headers={**answer.headers, "date": date})
    )
    finding = found(tenant.reader())["clocks"]
    assert finding.ok == ok
    assert words in finding.message
