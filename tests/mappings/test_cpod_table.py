"""The cPod table: every documented field is claimed, or ignored with a reason; stages, dates and moves as settled."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from mappings.language import parse
from mappings.mapper import Mapped, Mapper, Rules, Unmappable
from pipeline.mapping_files import shipped

TEXT = shipped("cpod")
MAPPING = parse(TEXT, name="cpod.toml")
USD = Rules(ledger_currency="USD")

DOCUMENTED = """id tenant_id app_id created_at updated_at created_by updated_by source source_type is_deleted deleted_at
    deleted_by schema_version account_id owner_id name deal_number pipeline_id stage value currency probability
    forecast_category expected_close_date actual_close_date next_followup_date deal_type deal_source competitors
    loss_reason loss_category closure_notes primary_contact_id contact_ids rfp_record_id quote_ids proposal_ids
    attachment_refs linked_task_ids audit_log custom_fields tags version"""
"""contracts/cpod.md section 6."""

EMEA = """
[deals.stage.within]
from = "pipeline_id"
[deals.stage.within.words."pipe-emea"]
"proposal" = "emea_proposal"
"closed_won" = "closed_won"
"""


def deal(**fields: Any) -> dict[str, Any]:
    given = {"id": "deal_1", "value": Decimal("48000.5"), "currency": "USD", "stage": "proposal"}
    return {**given, "expected_close_date": "2026-03-31", "owner_id": "usr-1", **fields}


def read(record: dict[str, Any], rules: Rules = USD, table: str = TEXT, known: Any = None) -> Any:
    mapper = Mapper(parse(table, name="cpod.toml"), rules)
    outcome = mapper.map("deals", record) if known is None else mapper.map("deals", record, known)
    assert isinstance(outcome, Mapped), outcome
    return outcome


def reasons(record: dict[str, Any], table: str = TEXT) -> list[str]:
    outcome = Mapper(parse(table, name="cpod.toml"), USD).map("deals", record)
    assert isinstance(outcome, Unmappable), outcome
    return [problem.reason for problem in outcome.problems]


def test_every_documented_field_is_claimed_or_ignored_with_a_reason():
    rule = MAPPING.kinds["deals"]
    assert set(DOCUMENTED.split()) - MAPPING.fields("deals") - rule.ignored.keys() == set()
    assert all(len(reason) > 20 for reason in rule.ignored.values())


def test_what_moves_without_a_change_never_reaches_the_state():
    before = read(deal(version=1, updated_at="2026-01-01T00:00:00Z", tags=["a"], competitors=[]))
    after = read(deal(version=2, updated_at="2026-01-02T00:00:00Z", tags=["b"], competitors=["x"], audit_log=[]))
    assert before.state == after.state


@pytest.mark.parametrize("stage", ["closed_won", "Closed Won", "CLOSED-WON", " closed won "])
def test_stage_words_are_compared_by_their_slug(stage: str):
    assert read(deal(stage=stage)).state.stage == "closed_won"


@pytest.mark.parametrize("stage", ["won", "closed", "verbal", "Geschlossen"])
def test_no_other_word_is_guessed(stage: str):
    assert reasons(deal(stage=stage)) == ["UNKNOWN_STAGE"]


def test_a_pipeline_that_is_listed_uses_its_own_words_only():
    table = TEXT.replace("[deals.stage.history]", EMEA + "[deals.stage.history]")
    assert read(deal(pipeline_id="pipe-emea"), table=table).state.stage == "emea_proposal"
    assert read(deal(pipeline_id="pipe-us"), table=table).state.stage == "proposal"
    assert read(deal(), table=table).state.stage == "proposal"
    assert reasons(deal(pipeline_id="pipe-emea", stage="lead"), table) == ["UNKNOWN_STAGE"]


@pytest.mark.parametrize(
    ("stage", "actual", "day"),
    [
        ("closed_won", "2026-03-28T16:05:00Z", date(2026, 3, 28)),
        ("closed_lost", "2026-03-28T16:05:00Z", date(2026, 3, 28)),
        ("closed_won", None, date(2026, 3, 31)),
        ("proposal", "2026-03-28T16:05:00Z", date(2026, 3, 31)),
    ],
)
def test_the_actual_day_counts_once_the_stage_is_closed(stage: str, actual: str | None, day: date):
    assert read(deal(stage=stage, actual_close_date=actual)).state.close_date == day


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        ("2026-03-31T23:30:00Z", "UTC", date(2026, 3, 31)),
        ("2026-03-31T22:30:00Z", "Europe/Berlin", date(2026, 4, 1)),
        ("2026-04-01T03:00:00.5Z", "America/New_York", date(2026, 3, 31)),
        ("2026-03-31T23:30:00", "Europe/Berlin", date(2026, 4, 1)),
        ("2026-03-31", "Asia/Tokyo", date(2026, 3, 31)),
    ],
)
def test_a_moment_becomes_a_day_in_the_zone_and_a_day_is_never_moved(moment: str, zone: str, day: date):
    rules = Rules(ledger_currency="USD", zone=zone)
    assert read(deal(stage="closed_won", actual_close_date=moment), rules).state.close_date == day


LOG = [
    {"from_stage": "lead", "to_stage": "qualified", "changed_at": "2026-01-01T00:00:00Z"},
    {"from": "qualified", "to": "proposal"},
]


@pytest.mark.parametrize("quoted", [False, True])
def test_stage_moves_between_two_reads_are_read_from_the_audit_log(quoted: bool):
    log: Any = LOG if not quoted else str(LOG).replace("'", '"')
    assert [hop.stage for hop in read(deal(audit_log=log)).hops] == ["qualified", "proposal"]
    assert read(deal(audit_log=log), Rules(ledger_currency="USD", stage_history=False)).hops == ()
    assert read(deal(audit_log=None)).hops == ()


@pytest.mark.parametrize("missing", ["from_stage", "changed_at", None])
def test_stage_moves_in_a_circle_are_put_in_order_by_their_times_or_by_where_they_went_on_from(missing: str | None):
    way = ["lead", "proposal", "negotiation", "lead", "proposal"]
    log = [
        {"from_stage": before, "to_stage": after, "changed_at": f"2026-03-0{day}T10:00:00Z"}
        for day, (before, after) in enumerate(pairwise(way), 1)
    ]
    log = [{key: value for key, value in entry.items() if key != missing} for entry in log]
    for kept in (log, log[::-1]):
        assert [hop.stage for hop in read(deal(audit_log=kept)).hops] == way[1:]


def test_an_amount_in_quotes_parks_and_zero_null_and_credits_are_read():
    assert reasons(deal(value="48000.50")) == ["BAD_AMOUNT"]
    assert read(deal()).state.amount_cents == 4_800_050
    assert read(deal(value=0)).state.amount_cents == 0
    assert read(deal(value=None)).state.amount_cents is None
    assert read(deal(value=Decimal("-0.5"))).state.amount_cents == -50


def test_custom_fields_in_a_text_are_those_of_an_object():
    assert read(deal(custom_fields='{"risk_score":3}')).state == read(deal(custom_fields={"risk_score": 3})).state


def test_a_record_without_its_id_parks():
    assert "MISSING_KEY" in reasons({"stage": "lead"})


def test_the_lines_that_look_things_up_cost_nothing_until_their_mark_is_taken_away():
    assert Mapper(MAPPING, USD).references == frozenset()
    lines = re.findall(r"^# (\w+ = \{.*look_up.*)$", TEXT, re.M)
    assert len(lines) == 8
    table = TEXT
    for line in lines:
        table = table.replace(f"# {line}", line)
    mapper = Mapper(parse(table, name="cpod.toml"), USD)
    assert mapper.references == {"accounts", "users", "contacts", "quotes", "line_items"}
    known = {
        "accounts": {"acc-1": {"name": "Acme", "lifecycle_stage": "customer"}},
        "users": {"usr-1": {"name": "Ada", "email": "ada@acme.example"}},
        "contacts": {"con-1": {"display_name": "Bo"}},
        "quotes": {"deal_1": {"value": Decimal("10.5"), "status": "sent"}},
        "line_items": {"deal_1": {"count": 2, "total": Decimal("1000.01")}},
    }
    record = deal(account_id="acc-1", primary_contact_id="con-1")
    custom = read(record, table=table, known=known).state.custom
    assert {key: custom[key] for key in ("account_name", "owner_name", "primary_contact_name")} == {
        "account_name": "Acme", "owner_name": "Ada", "primary_contact_name": "Bo",
    }  # fmt: skip
    assert (custom["quote_value"], custom["quote_status"]) == (Decimal("10.5"), "sent")
    assert (custom["line_item_count"], custom["line_item_total"]) == (2, Decimal("1000.01"))
