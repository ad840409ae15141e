"""The Monaco table: every documented field is claimed or ignored with a reason; amounts, stages, days as settled."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Rules, Unmappable

MAPPING = parse((Path(__file__).parents[2] / "mappings/monaco.toml").read_text(), name="monaco.toml")
RULES = Rules(ledger_currency="USD", amount_unit="minor")
MAPPER = Mapper(MAPPING, RULES)

DOCUMENTED = """id account_id name owner stage estimated_value estimated_close_date actual_close_date summary risks
    notes tags last_activity_at created_at updated_at"""
"""contracts/monaco.md section 6."""


def opportunity(**fields: Any) -> dict[str, Any]:
    value = {"currency_code": "USD", "amount": 5_000_000}
    return {
        "id": "opp_1",
        "account_id": "acc_1",
        "name": "Acme",
        "estimated_value": value,
        "stage": "negotiation",
        **fields,
    }


def state(record: dict[str, Any], mapper: Mapper = MAPPER) -> Any:
    outcome = mapper.map("opportunities", record)
    assert isinstance(outcome, Mapped), outcome
    assert outcome.drift == ()
    return outcome.state


def reasons(record: dict[str, Any], mapper: Mapper = MAPPER) -> list[str]:
    outcome = mapper.map("opportunities", record)
    assert isinstance(outcome, Unmappable), outcome
    return [problem.reason for problem in outcome.problems]


def test_every_documented_field_is_claimed_or_ignored_with_a_reason():
    rule = MAPPING.kinds["opportunities"]
    assert set(DOCUMENTED.split()) - MAPPING.fields("opportunities") - rule.ignored.keys() == set()
    assert all(len(reason) > 20 for reason in rule.ignored.values())


@pytest.mark.parametrize("key", ["summary", "risks", "last_activity_at", "updated_at", "tags", "notes", "created_at"])
def test_what_a_machine_writes_or_a_rename_moves_never_reaches_the_state(key: str):
    assert state(opportunity(**{key: ["before"]})) == state(opportunity(**{key: ["after"]})) == state(opportunity())


def test_the_unit_of_the_amount_is_the_connections_word():
    assert state(opportunity()).amount_cents == 5_000_000
    major = Mapper(MAPPING, replace(RULES, amount_unit="major"))
    assert state(opportunity(), major).amount_cents == 500_000_000


@pytest.mark.parametrize("value", [None, {}, {"currency_code": "USD"}, {"currency_code": "USD", "amount": None}])
def test_a_missing_amount_is_no_amount_and_not_zero(value: Any):
    assert state(opportunity(estimated_value=value)).amount_cents is None


def test_a_fraction_of_a_minor_unit_parks():
    value = {"currency_code": "USD", "amount": Decimal("100.5")}
    assert reasons(opportunity(estimated_value=value)) == ["BAD_AMOUNT"]
    whole = {"currency_code": "USD", "amount": Decimal("100.0")}
    assert state(opportunity(estimated_value=whole)).amount_cents == 100


@pytest.mark.parametrize("value", [{"currency_code": "USD", "amount": "1"}, {"currency_code": 7, "amount": 1}])
def test_an_amount_of_another_shape_parks(value: Any):
    assert len(reasons(opportunity(estimated_value=value))) == 1


@pytest.mark.parametrize(
    ("actual", "estimated", "day"),
    [
        ("2026-05-12", "2026-06-30", date(2026, 5, 12)),
        (None, "2026-06-30", date(2026, 6, 30)),
        (None, None, None),
    ],
)
def test_the_actual_close_date_counts_before_the_estimated_one(actual: Any, estimated: Any, day: Any):
    assert state(opportunity(actual_close_date=actual, estimated_close_date=estimated)).close_date == day


def test_a_reopened_opportunity_is_as_open_as_its_stage():
    assert state(opportunity(actual_close_date="2026-05-12")).stage == "negotiation"


@pytest.mark.parametrize("stage", ["Closed Won", "closed won", "CLOSED_WON", "won", "proposal"])
def test_a_stage_is_known_by_its_key_only(stage: str):
    assert reasons(opportunity(stage=stage)) == ["UNKNOWN_STAGE"]


def test_the_stages_that_the_options_name_are_won_and_lost():
    mapper = Mapper(MAPPING, replace(RULES, stage_words={"signed": "closed_won", "dead": "closed_lost"}))
    assert state(opportunity(stage="signed"), mapper).stage == "closed_won"
    assert state(opportunity(stage="dead"), mapper).stage == "closed_lost"


@pytest.mark.parametrize("owner", [None, {}, {"id": None, "first_name": "Jane"}])
def test_nobody_may_own_an_opportunity(owner: Any):
    assert state(opportunity(owner=owner)).owner_external_id is None


def test_an_owners_new_name_is_no_change():
    jane, doe = ({"id": "usr_1", "first_name": name} for name in ("Jane", "Janet"))
    assert state(opportunity(owner=jane)) == state(opportunity(owner=doe))


def test_custom_fields_pass_under_the_key_their_definition_is_bound_to():
    key = "custom_field_8d0f6a2e-3c1b-4a55-9d5e-1f2a3b4c5d6e"
    assert (
        state(opportunity(**{key: "outbound"})).custom["custom_field_8d0f6a2e_3c1b_4a55_9d5e_1f2a3b4c5d6e"]
        == "outbound"
    )
    bound = MAPPER.with_labels({key: "lead_source"})
    assert state(opportunity(**{key: "outbound"}), bound).custom["lead_source"] == "outbound"
