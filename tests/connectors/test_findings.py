"""Findings that every source's check comes to."""

from __future__ import annotations

import pytest

from connectors.faults import Fault, Misconfigured, Refused, Unavailable, Unintelligible
from connectors.findings import of_clocks, of_fault, of_spoiled
from connectors.slicing import Slicer

HERE = "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize(
    ("fault", "who"),
    [
        (Refused("no"), "refused"),
        (Unavailable("no"), "unavailable"),
        (Misconfigured("no"), "misconfigured"),
        (Unintelligible("no"), "unintelligible"),
    ],
)
def test_a_fault_says_who_must_act(fault: Fault, who: str) -> None:
    found = of_fault("rights", fault)
    assert (found.what, found.ok, found.message, found.fault) == ("rights", False, "no", who)


def test_a_first_page_with_a_spoiled_row_says_how_many_and_why() -> None:
    page = Slicer("deal", id_key="id", version_key="at").page(b'[{"id":"a"},{"name":"b"}]', not_after=HERE)
    found = of_spoiled(page)
    assert found is not None
    assert not found.ok
    assert found.message.startswith("1 of 2 rows cannot be read; NO_ID: ")


def test_a_first_page_without_a_spoiled_row_is_no_finding() -> None:
    page = Slicer("deal", id_key="id", version_key="at").page(b'[{"id":"a"}]', not_after=HERE)
    assert of_spoiled(page) is None


@pytest.mark.parametrize(
    ("there", "ok", "said"),
    [
        ("2026-03-01T12:02:00Z", True, "Planhat's clock and ours differ by 120 s"),
        ("2026-03-01T11:58:00Z", True, "Planhat's clock and ours differ by 120 s"),
        ("2026-03-01T12:02:01Z", False, "Planhat's clock is 121 s ahead of the database's"),
        ("2026-03-01T11:57:59Z", False, "Planhat's clock is 121 s behind the database's"),
        (None, True, "the answer carries no Date, so the clocks cannot be compared"),
    ],
)
def test_clocks_may_differ_by_two_minutes(there: str | None, ok: bool, said: str) -> None:
    found = of_clocks("Planhat", HERE, there)
    assert (found.ok, found.message.startswith(said)) == (ok, True)
