"""The LeadLex table: every documented field is claimed, or ignored with a reason; status and stage as settled."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest

from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Rules, Unmappable

MAPPING = parse(files("mappings").joinpath("leadlex.toml").read_text(encoding="utf-8"), name="leadlex.toml")
MAPPER = Mapper(MAPPING, Rules(ledger_currency="EUR"))

DOCUMENTED = """id name stage status pipeline estimated_value currency main_contact_id owner_user_id related_company_id
    priority matter_type fee_model tags high_level_description next_follow_up_date probability closed_date created_date
    updated_date"""
"""contracts/leadlex.md section 6."""


def test_every_documented_field_is_claimed_or_ignored_with_a_reason():
    rule = MAPPING.kinds["deals"]
    assert set(DOCUMENTED.split()) - MAPPING.fields("deals") - rule.ignored.keys() == set()
    assert all(len(reason) > 20 for reason in rule.ignored.values())


def deal(**fields: Any) -> dict[str, Any]:
    return {"id": "d1", "estimated_value": 100, "currency": "EUR", "stage": "Proposal", "status": "active", **fields}


def state(record: dict[str, Any]) -> Any:
    outcome = MAPPER.map("deals", record)
    assert isinstance(outcome, Mapped), outcome
    assert outcome.drift == ()
    return outcome.state


def reasons(record: dict[str, Any]) -> list[str]:
    outcome = MAPPER.map("deals", record)
    assert isinstance(outcome, Unmappable), outcome
    return [problem.reason for problem in outcome.problems]


@pytest.mark.parametrize(
    ("status", "stage", "word"),
    [
        ("active", "Proposal", "proposal"),
        ("open", "proposal", "proposal"),
        ("Active", " engagement_letter ", "engagement_letter"),
        (None, "Qualification", "qualification"),
        ("won", "Closed Won", "closed_won"),
        ("won", "closed_won", "closed_won"),
        ("lost", "Closed Lost", "closed_lost"),
        ("won", "Proposal", "closed_won"),
        ("won", None, "closed_won"),
        ("lost", "Mandat abgelehnt", "closed_lost"),
        ("active", None, None),
    ],
)
def test_a_deal_is_won_or_lost_by_its_status_else_in_its_stage(status: str | None, stage: str | None, word: str | None):
    assert state(deal(status=status, stage=stage)).stage == word


@pytest.mark.parametrize(
    ("status", "stage"),
    [("won", "Closed Lost"), ("lost", "closed_won"), ("active", "Closed Won"), ("open", "closed_lost")],
)
def test_a_status_and_a_stage_that_contradict_each_other_park(status: str, stage: str):
    assert reasons(deal(status=status, stage=stage)) == ["CONTRADICTION"]


def test_won_in_an_open_stage_is_flagged():
    outcome = MAPPER.map("deals", deal(status="won"))
    assert isinstance(outcome, Mapped)
    assert "outcome_ahead_of_stage" in outcome.flags


@pytest.mark.parametrize("change", [{"stage": "Mandat erteilt"}, {"status": "paused"}])
def test_a_word_that_nobody_knows_parks(change: dict[str, str]):
    assert reasons(deal(**change)) == ["UNKNOWN_STAGE"]


def test_lists_and_single_reads_of_one_deal_mean_the_same():
    row = deal(stage="Engagement letter", status="active", pipeline="Sales", updated_date=None)
    one = deal(stage="engagement_letter", status="open", pipeline="default", updated_date="2026-05-04T09:12:30Z")
    assert state(row) == state(one)


@pytest.mark.parametrize(
    ("value", "cents"), [(Decimal("42500.5"), 4250050), (0, 0), (None, None), (-5, -500), (Decimal("1E+9"), 10**11)]
)
def test_values_are_major_units_and_zero_is_not_null(value: Any, cents: int | None):
    assert state(deal(estimated_value=value)).amount_cents == cents


@pytest.mark.parametrize("currency", ["eur", " Eur ", "EUR"])
def test_currencies_are_read_in_any_case(currency: str):
    assert state(deal(currency=currency)).amount_cents == 10_000


def test_an_amount_without_a_currency_parks():
    assert reasons({key: value for key, value in deal().items() if key != "currency"}) == ["NO_CURRENCY"]


@pytest.mark.parametrize("closed", ["2026-04-30", "2026-04-30T23:30:00Z", "2026-04-30T00:30:00+02:00"])
def test_a_closing_date_is_the_day_that_is_written(closed: str):
    assert state(deal(status="won", stage="Closed Won", closed_date=closed)).close_date == date(2026, 4, 30)


def test_what_moves_without_a_change_never_reaches_the_state():
    assert not {"updated_date", "created_date", "pipeline"} & MAPPING.fields("deals")


def test_a_record_without_its_id_parks():
    assert "id" in {problem.field for problem in MAPPER.map("deals", {}).problems}
