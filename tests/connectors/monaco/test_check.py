"""The check tells a person setting up a connection what is well, and what to do about the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from connectors.monaco.api import MonacoReader
from connectors.simulated_wire import html, refused, reset
from connectors.source import Finding
from tests.connectors.monaco.reading import Organization, open_reader

ALL = [
    "address", "credentials", "rights", "clocks", "first page", "amount", "changes", "stages", "single reads",
]  # fmt: skip


def found(reader: MonacoReader) -> dict[str, Finding]:
    return {finding.what: finding for finding in reader.check()}


def test_a_healthy_organization_is_well_in_every_respect():
    findings = found(Organization(30).reader())
    assert list(findings) == ALL
    assert all(finding.ok and finding.fault is None for finding in findings.values())
    assert findings["rights"].message.startswith("may read 30 opportunities")
    assert findings["first page"].message == "20 rows read"


@pytest.mark.parametrize(("unit", "shown"), [("minor", "USD 50,000.00"), ("major", "USD 5,000,000.00")])
def test_one_amount_is_shown_as_it_would_be_paid_on_for_a_person_to_compare(unit: Any, shown: str):
    made = Organization(0)
    made.create(name="Acme Expansion", estimated_value={"currency_code": "USD", "amount": 5_000_000})
    message = found(made.reader(amount_unit=unit))["amount"].message
    assert f"'Acme Expansion' has 5000000, read as {shown}" in message
    assert "amount_unit" in message


def test_the_units_of_another_currency_are_its_own():
    made = Organization(0)
    made.create(name="Kaikei", estimated_value={"currency_code": "JPY", "amount": 5000})
    assert "read as JPY 5,000;" in found(made.reader())["amount"].message


def test_without_an_amount_there_is_nothing_to_confirm_yet():
    made = Organization(0)
    made.create(estimated_value=None)
    assert "cannot be confirmed yet" in found(made.reader())["amount"].message


def test_no_rows_yet_is_well():
    findings = found(Organization(0).reader())
    assert all(finding.ok for finding in findings.values())
    assert "single reads" not in findings


@pytest.mark.parametrize(
    ("mishap", "what", "fault", "words"),
    [
        (refused(401), "credentials", "refused", "Settings > API Keys"),
        (refused(403), "rights", "refused", "key of an admin"),
        (refused(404), "address", "unintelligible", "path_prefix"),
        (refused(422), "address", "unintelligible", "page_size"),
        (refused(503), "address", "unavailable", "answered 503"),
        (reset(), "address", "unavailable", "cannot be reached"),
        (html(), "address", "unintelligible", "text/html"),
    ],
)
def test_what_is_wrong_is_named_with_who_must_act(mishap: Any, what: str, fault: str, words: str):
    made = Organization(5)
    made.faults.sometimes(1.0, mishap)
    bad = [finding for finding in found(made.reader()).values() if not finding.ok]
    assert [(finding.what, finding.fault) for finding in bad] == [(what, fault)]
    assert words in bad[0].message


def test_a_wrong_key_is_refused_without_being_shown():
    findings = found(open_reader(Organization(5).transport(), token="mks_canary"))
    assert findings["credentials"].fault == "refused"
    assert not any("canary" in finding.message for finding in findings.values())


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ({}, "filters on updated_at (after)"),
        ({"updated_at_operators": ()}, "walks sort=-updated_at"),
        ({"updated_at": "absent"}, "each pull reads everything"),
        ({"schema": "none"}, "the schema cannot be read"),
    ],
)
def test_how_changes_are_read_is_told(switches: dict[str, Any], words: str):
    finding = found(Organization(9, **switches).reader())["changes"]
    assert finding.ok
    assert words in finding.message


def test_rows_without_updated_at_are_told_though_the_schema_offers_a_filter():
    made = Organization(9)
    made.silent(made.ids()[0], updated_at=None)
    findings = found(made.reader())
    assert "rows without updated_at were seen" in findings["changes"].message
    assert findings["first page"].message.endswith("1 of them without a usable updated_at")


@pytest.mark.parametrize("switches", [{"updated_at_operators": ()}, {"schema": "none"}])
def test_a_way_that_is_not_offered_is_misconfigured(switches: dict[str, Any]):
    finding = found(Organization(9, **switches).reader(incremental="filter"))["changes"]
    assert (finding.ok, finding.fault) == (False, "misconfigured")


def test_stages_that_the_options_name_and_the_organization_lacks_are_told():
    finding = found(Organization(9).reader(won_stages=["signed"]))["stages"]
    assert (finding.ok, finding.fault) == (False, "misconfigured")
    assert "'signed' is no stage here" in finding.message
    assert "negotiation, closed_won, closed_lost" in finding.message


def test_stages_that_the_mapping_has_to_name_are_told():
    finding = found(Organization(9).reader())["stages"]
    assert finding.message.endswith("every other one: negotiation")


def test_thin_single_reads_are_told():
    finding = found(Organization(9, thin_get=frozenset({"stage", "name"})).reader())["single reads"]
    assert finding.ok
    assert "leaves out name, stage" in finding.message


def test_an_open_opportunity_first_in_the_list_does_not_hide_that_single_reads_leave_out_when_one_was_closed():
    for seed in range(8):
        made = Organization(30, seed=seed, thin_get=frozenset({"actual_close_date"}))
        assert "leaves out actual_close_date" in found(made.reader())["single reads"].message


def test_unreadable_rows_are_counted_with_an_example():
    made = Organization(9)
    made.raw(made.ids()[0], b"null")
    finding = found(made.reader())["first page"]
    assert (finding.ok, finding.fault) == (False, "unintelligible")
    assert finding.message.startswith("1 of 9 rows cannot be read; RECORD_SHAPE")


def test_a_schema_that_is_not_answered_is_told():
    made = Organization(9)
    made.faults.sometimes(1.0, refused(503), where=lambda request: "schemas" in request.path)
    assert found(made.reader())["schema"].fault == "unavailable"


@pytest.mark.parametrize(
    ("date", "ok", "words"),
    [
        ("Mon, 02 Mar 2026 08:01:00 GMT", True, "differ by 60 s"),
        ("Mon, 02 Mar 2026 09:00:00 GMT", False, "3600 s ahead of"),
        ("Mon, 02 Mar 2026 07:00:00 GMT", False, "3600 s behind"),
    ],
)
def test_clocks_that_differ_are_told(date: str, ok: bool, words: str):
    made = Organization(9)
    made.faults.sometimes(
        1.0, lambda request, handle: replace(answer := handle(request), headers={**answer.headers, "date": date})
    )
    finding = found(made.reader())["clocks"]
    assert finding.ok == ok
    assert words in finding.message
