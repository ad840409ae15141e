"""The Planhat table: every documented field is claimed, or ignored with a reason; amounts and stages as settled."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Unmappable
from mappings.transforms import TRANSFORMS
from tests.mappings.tables import PLANHAT, USD

MAPPING = parse(PLANHAT, name="planhat.toml")
MAPPER = Mapper(MAPPING, USD)

DOCUMENTED = {
    "deals": """_id name companyId companyName externalId sourceId stage ownerId followers mrr arr total fees currency
        closeDate renewalDate startDate endDate fromDate toDate subscriptionsCount feesCount activeSubscriptionsCount
        comment custom path createdAt updatedAt __v""",
    "opportunities": """_id title companyId companyName externalId sourceId salesStage status ownerId mrr arr nrr
        _currency dealDate landingDate closeDate contractLength stageHistory custom probability createdAt updatedAt
        __v""",
}
"""contracts/planhat.md section 7."""


def test_the_version_of_the_table_stays_when_the_language_learns_more():
    """Every store has mapped its deals under this version: another one would map them all again."""
    assert MAPPING.version == "993000544cff2a96ca7aa0811a514470d365ffddf8aad68f78dd3206f353dc8c"
    assert MAPPER.version == "0df61a37e46f3de402db2842120b2ca28eba027f917e100b96b5832a0e6c04ed"


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_every_documented_field_is_claimed_or_ignored_with_a_reason(kind: str):
    rule = MAPPING.kinds[kind]
    unspoken = set(DOCUMENTED[kind].split()) - MAPPING.fields(kind) - rule.ignored.keys()
    assert not unspoken
    assert all(len(reason) > 20 for reason in rule.ignored.values())


@pytest.mark.parametrize("kind", DOCUMENTED)
def test_what_moves_without_a_change_never_reaches_the_state(kind: str):
    assert not {"updatedAt", "__v", "stageHistory"} & MAPPING.fields(kind)
    assert all(entry.transform in TRANSFORMS for entry in MAPPING.kinds[kind].custom.values())


def deal(**fields: Any) -> dict[str, Any]:
    return {"_id": "65f0", "total": 60000, "currency": "USD", "stage": "Negotiation", "companyId": "65f1", **fields}


def state(kind: str, record: dict[str, Any]) -> Any:
    outcome = MAPPER.map(kind, record)
    assert isinstance(outcome, Mapped), outcome
    assert outcome.drift == ()
    return outcome.state


def test_the_deal_of_the_contracts_example_is_read_whole():
    example = {
        "_id": "65f0c0ffee00000000000001", "name": "Northwind renewal", "companyId": "65f0c0ffee0000000000000a",
        "companyName": "Northwind", "stage": "Negotiation", "mrr": 1250, "arr": 15000,
        "closeDate": "2026-11-30T00:00:00.000Z", "subscriptionsCount": 0, "feesCount": 0, "activeSubscriptionsCount": 0,
        "followers": [], "custom": {}, "createdAt": "2026-10-02T08:15:30.123Z", "updatedAt": "2026-10-02T08:15:30.123Z",
    }  # fmt: skip
    found = state("deals", example)
    assert (found.amount_cents, found.stage, found.owner_external_id) == (None, "negotiation", None)
    assert found.close_date == date(2026, 11, 30)
    assert found.custom == {
        "name": "Northwind renewal", "company_id": "65f0c0ffee0000000000000a", "company_name": "Northwind", "mrr": 1250,
        "arr": 15000, "subscriptions_count": 0, "fees_count": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "word"), [("Closed Won", "closed_won"), ("Closed Lost", "closed_lost"), (None, None)]
)
def test_the_two_fixed_stages_are_won_and_lost(stage: str | None, word: str | None):
    assert state("deals", deal(stage=stage)).stage == word


@pytest.mark.parametrize("stage", ["closed won", "Closed-Won", "CLOSED WON", "Won", "Geschlossen"])
def test_no_other_spelling_is_taken_for_won(stage: str):
    outcome = MAPPER.map("deals", deal(stage=stage))
    assert isinstance(outcome, Unmappable)
    assert [each.reason for each in outcome.problems] == ["UNKNOWN_STAGE"]


def test_a_moved_updated_at_is_not_a_change():
    assert state("deals", deal(updatedAt="2026-01-01")) == state("deals", deal(updatedAt="2026-01-02", createdAt="x"))


def test_the_dates_of_the_subscriptions_are_read_under_both_of_their_names():
    payload = state("deals", deal(startDate="2026-01-01", endDate="2026-12-31", fromDate="2020-01-01"))
    prose = state("deals", deal(fromDate="2026-01-01", toDate="2026-12-31"))
    assert payload == prose
    assert state("deals", deal(startDate=None)).custom["start_date"] is None


def test_the_text_undefined_in_a_custom_field_is_no_value():
    assert "region" not in state("deals", deal(custom={"Region": "undefined"})).custom


def opportunity(**fields: Any) -> dict[str, Any]:
    return {"_id": "65f0", "arr": 15000, "_currency": "USD", "status": "active", "salesStage": "Negotiation", **fields}


@pytest.mark.parametrize(
    ("status", "sales_stage", "word"),
    [
        ("won", "Negotiation", "closed_won"),
        ("lost", "anything at all", "closed_lost"),
        ("won", None, "closed_won"),
        ("active", "Negotiation", "negotiation"),
        (None, "Negotiation", "negotiation"),
        ("active", None, None),
    ],
)
def test_an_opportunity_is_won_or_lost_by_its_status_else_in_its_sales_stage(
    status: str | None, sales_stage: str | None, word: str | None
):
    assert state("opportunities", opportunity(status=status, salesStage=sales_stage)).stage == word


def test_an_active_opportunity_is_not_won_by_the_name_of_its_sales_stage():
    assert isinstance(MAPPER.map("opportunities", opportunity(salesStage="Closed Won")), Unmappable)


def test_an_opportunity_is_paid_on_its_arr_in_the_currency_with_the_underscore():
    assert state("opportunities", opportunity()).amount_cents == 1_500_000
    outcome = MAPPER.map("opportunities", {"_id": "1", "arr": 1, "currency": "USD"})
    assert isinstance(outcome, Unmappable)
    assert outcome.problems[0].reason == "NO_CURRENCY"


def test_a_record_without_its_id_parks():
    for kind in DOCUMENTED:
        outcome = MAPPER.map(kind, {})
        assert isinstance(outcome, Unmappable)
        assert outcome.problems[0].field == "_id"
