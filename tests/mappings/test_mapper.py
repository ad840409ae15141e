"""Mapper: a record becomes a canonical deal, or every one of its problems is reported."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deals.identity import state_bytes
from deals.state import RESERVED, STANDARD, DealState
from mappings.mapper import Mapped, Mapper, Rules, Unmappable
from tests.mappings.tables import PLANHAT, USD, json_values, mapped, parse, problem, problems, record, small

MAPPER = Mapper(small(), USD)
OUTCOME = (
    '[deals.stage.outcome]\nfrom = "status"\nopen = ["active"]\nwords = { won = "closed_won" }\n\n[deals.stage.words]'
)
DECIDING = Mapper(small(("[deals.stage.words]", OUTCOME)), USD)


def test_a_whole_record_becomes_a_canonical_deal():
    whole = record(
        stage="Won",
        value={"amount": 1234.5, "code": "usd "},
        expected="2026-11-30T00:00:00.000Z",
        owner={"id": "u1", "name": "Ada"},
        title=" Renewal ",
        seats=12.0,
        updated="now",
        extra={"Lead Source": "Event", "Kick-off Day": 20787, "Secret Note": "x", "Region": "undefined"},
    )
    custom = {"currency": "USD", "title": "Renewal", "seats": 12, "lead_source": "Event", "kick_off_day": "2026-11-30"}
    assert MAPPER.map("deals", whole) == Mapped(
        DealState(
            amount_cents=123450,
            stage="closed_won",
            close_date=date(2026, 11, 30),
            owner_external_id="u1",
            custom=custom,
        )
    )


def test_what_is_absent_or_null_is_null_and_a_custom_key_that_is_absent_is_left_out():
    bare = mapped(MAPPER, {"id": "1"}).state
    assert bare == DealState()
    nulls = {"id": None, "stage": None, "value": None, "closed": None, "owner": None, "title": None, "extra": None}
    assert mapped(MAPPER, nulls).state == DealState(custom={"title": None})


def test_an_empty_text_is_how_a_form_clears_a_field():
    cleared = record(stage=" ", closed="", expected="", owner={"id": ""}, title="")
    assert mapped(MAPPER, cleared).state == DealState(amount_cents=1000, custom={"currency": "USD", "title": None})


def test_a_required_key_must_be_there_but_may_be_null():
    found = problem(MAPPER, {"stage": "Open"})
    assert (found.field, found.reason) == ("id", "MISSING_KEY")
    nested = Mapper(small(('required = ["id"]', 'required = ["id", "value.code"]')), USD)
    assert problem(nested, record(value={"amount": None})).field == "value.code"


@pytest.mark.parametrize(
    ("fields", "day"),
    [
        ({"closed": "2026-01-02", "expected": "2026-12-31"}, date(2026, 1, 2)),
        ({"closed": None, "expected": "2026-12-31"}, date(2026, 12, 31)),
        ({"closed": " ", "expected": "2026-12-31"}, date(2026, 12, 31)),
        ({"expected": "2026-12-31"}, date(2026, 12, 31)),
        ({"closed": None}, None),
    ],
)
def test_the_first_key_that_bears_a_value_is_taken(fields: dict[str, Any], day: date | None):
    assert mapped(MAPPER, record(**fields)).state.close_date == day


def test_a_present_value_that_cannot_be_read_parks_even_where_a_later_key_could_be():
    found = problem(MAPPER, record(closed="soon", expected="2026-12-31"))
    assert (found.field, found.reason) == ("close_date", "BAD_DATE")
    assert found.message == "closed: found 'soon'; a date, YYYY-MM-DD would be right"


def test_all_problems_of_a_record_are_reported_together():
    bad = record(
        stage="won",
        value={"amount": "12", "code": "dollars"},
        closed=1,
        owner={"id": 1.5},
        title=3,
        seats="4",
        extra=[],
    )
    found = [(each.field, each.reason) for each in problems(MAPPER, bad)]
    assert found == [
        ("stage", "UNKNOWN_STAGE"),
        ("close_date", "BAD_DATE"),
        ("owner_external_id", "BAD_VALUE"),
        ("amount_cents", "BAD_AMOUNT"),
        ("currency", "BAD_CURRENCY"),
        ("title", "BAD_VALUE"),
        ("seats", "BAD_VALUE"),
        ("extra", "BAD_VALUE"),
    ]


def test_an_unknown_stage_parks_with_the_nearest_known_word():
    found = problem(MAPPER, record(stage="won"))
    assert found.reason == "UNKNOWN_STAGE"
    assert found.message == (
        "stage: found 'won', a word the table does not know (nearest known: 'Won'); add it to [deals.stage.words]"
    )


def test_an_unknown_stage_passes_in_its_own_words_only_where_the_table_says_so():
    passing = Mapper(small(('from = "stage"', 'from = "stage"\nunmapped = "pass"')), USD)
    found = mapped(passing, record(stage=" Legal review "))
    assert (found.state.stage, found.flags) == ("Legal review", ("stage_passed",))
    assert mapped(passing, record(stage="Won")).state.stage == "closed_won"


def test_a_stage_that_is_no_text_parks():
    for stage in (3, True, ["Won"], {"name": "Won"}):
        assert problem(MAPPER, record(stage=stage)).reason == "BAD_VALUE"


def test_an_outcome_decides_before_the_stage_is_looked_at():
    assert mapped(DECIDING, record(status="won", stage="nonsense")).state.stage == "closed_won"
    for status in ("active", None, ""):
        assert mapped(DECIDING, record(status=status, stage="Open")).state.stage == "open"
    assert mapped(DECIDING, record(stage="Open")).state.stage == "open"


def test_an_unknown_outcome_parks_instead_of_falling_through_to_the_stage():
    found = problem(DECIDING, record(status="Won", stage="Open"))
    assert (found.field, found.reason) == ("stage", "UNKNOWN_STAGE")
    assert found.message.startswith("status: found 'Won', a word the table does not know (nearest known: 'won')")
    assert problem(DECIDING, record(status=1)).message.startswith("status: found 1; a text")


def test_a_path_through_something_else_than_an_object_parks():
    found = problem(MAPPER, record(owner="u1"))
    assert found.message == "owner.id: found 'u1' at owner; an object would be right"


def test_an_owner_passes_as_is_without_an_owner_table_and_is_looked_up_in_one():
    assert mapped(MAPPER, record(owner={"id": 17})).state.owner_external_id == "17"
    table = Mapper(small(), Rules(ledger_currency="USD", owners={"u1": "ada@example.com"}))
    assert mapped(table, record(owner={"id": " u1"})).state.owner_external_id == "ada@example.com"
    assert mapped(table, record()).state.owner_external_id is None
    assert problem(table, record(owner={"id": "u2"})).reason == "OWNER_UNRESOLVED"


def test_an_owner_that_is_not_in_the_table_becomes_null_where_the_connection_says_so():
    table = Mapper(small(), Rules(ledger_currency="USD", owners={}, owner_policy="null"))
    found = mapped(table, record(owner={"id": "u2"}))
    assert (found.state.owner_external_id, found.flags) == (None, ("owner_unresolved",))


def test_keys_neither_claimed_nor_ignored_are_drift_and_do_not_stop_the_record():
    found = mapped(MAPPER, record(updated="x", surprise=1, other={"a": 1}))
    assert sorted(found.drift) == ["other", "surprise"]


def test_a_kind_without_a_section_parks():
    found = problem(MAPPER, record(), kind="opportunities")
    assert found.reason == "UNKNOWN_KIND"
    assert MAPPER.fields("opportunities") == frozenset()
    assert MAPPER.origins("opportunities", record()) == {}


def test_something_else_than_an_object_parks():
    for what in (None, [], "x", 3):
        assert problem(MAPPER, what).reason == "NOT_AN_OBJECT"  # type: ignore[arg-type]


def test_messages_show_at_most_64_characters_of_what_was_found():
    found = problem(MAPPER, record(stage="x\n\x1b[31m" + "y" * 500))
    assert found.message.isprintable()
    assert len(found.message) < 200


def test_the_version_covers_the_table_and_the_rules():
    versions = {
        MAPPER.version,
        DECIDING.version,
        Mapper(small(), Rules(ledger_currency="EUR")).version,
        Mapper(small(), Rules(ledger_currency="USD", default_currency="USD")).version,
        Mapper(small(), Rules(ledger_currency="USD", owners={})).version,
        Mapper(small(), Rules(ledger_currency="USD", amount_unit="minor")).version,
        Mapper(small(), Rules(ledger_currency="USD", currency_policy="pass")).version,
        Mapper(small(), Rules(ledger_currency="USD", owners_by="email")).version,
        Mapper(small(), Rules(ledger_currency="USD", zone="Asia/Tokyo")).version,
        Mapper(small(), Rules(ledger_currency="USD", stage_words={"A": "a"})).version,
        Mapper(small(), Rules(ledger_currency="USD", stage_history=False)).version,
    }
    assert len(versions) == 11
    assert Mapper(small(), Rules(ledger_currency=" usd")).version == MAPPER.version


CLOSED_DAYS = Mapper(
    small(('["closed", "expected"]', '"expected"\nclosed = ["actual", "closed"]\nas = "zoned_day"')),
    Rules(ledger_currency="USD", zone="Europe/Berlin"),
)


@pytest.mark.parametrize(
    ("fields", "day"),
    [
        ({"stage": "Won", "actual": "2026-03-31T22:30:00Z", "expected": "2026-12-31"}, date(2026, 4, 1)),
        ({"stage": "Won", "actual": None, "closed": "2026-03-31", "expected": "2026-12-31"}, date(2026, 3, 31)),
        ({"stage": "Won", "actual": " ", "expected": "2026-12-31"}, date(2026, 12, 31)),
        ({"stage": "Open", "actual": "2026-03-31", "expected": "2026-12-31"}, date(2026, 12, 31)),
        ({"stage": "Open", "actual": "nonsense", "expected": "2026-12-31"}, date(2026, 12, 31)),
        ({"stage": "Open", "actual": "2026-03-31", "expected": None}, None),
        ({"stage": None, "actual": "2026-03-31"}, None),
    ],
)
def test_a_date_of_closing_counts_once_the_deal_is_closed_and_not_before(fields: dict[str, Any], day: date | None):
    assert mapped(CLOSED_DAYS, record(**fields)).state.close_date == day
    assert mapped(CLOSED_DAYS, record(**fields)).drift == ()


def test_a_date_of_closing_that_cannot_be_read_parks_a_closed_deal_and_is_named():
    found = problem(CLOSED_DAYS, record(stage="Won", actual="soon", expected="2026-12-31"))
    assert (found.reason, found.message[:14]) == ("BAD_DATE", "actual: found ")


keys = st.sampled_from(
    ["id", "stage", "value", "closed", "expected", "owner", "title", "seats", "extra", "updated", "_id", "total",
     "currency", "closeDate", "ownerId", "status", "salesStage", "custom", "arr", "_currency", "mrr", "startDate"]
) | st.text(max_size=5)  # fmt: skip
inner_keys = st.sampled_from(["amount", "code", "id", "Stage", "Currency", "Kick-off Day"]) | st.text(max_size=5)
words = st.sampled_from(["Won", "Open", "USD", "eur", "2026-01-02", "undefined", "won", "active"])
values = json_values | words | st.dictionaries(inner_keys, json_values | words, max_size=5)
MAPPERS = (
    MAPPER,
    DECIDING,
    *(
        Mapper(parse(PLANHAT, name="planhat"), Rules(ledger_currency="USD", default_currency="USD", **more))  # type: ignore[arg-type]
        for more in (
            {},
            {"currency_policy": "pass"},
            {"currency_policy": "convert", "owner_policy": "null", "owners": {}},
        )
    ),
)


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    st.sampled_from(MAPPERS), st.sampled_from(["deals", "opportunities"]), st.dictionaries(keys, values, max_size=12)
)
@example(MAPPERS[2], "deals", {"_id": 1, "total": Decimal("1e999"), "currency": "USD"})
@example(MAPPERS[2], "deals", {"_id": 1, "total": 10**4000, "currency": "USD"})
def test_map_never_raises_and_what_it_maps_can_be_sent(mapper: Mapper, kind: str, what: dict[str, Any]):
    before = deepcopy(what)
    outcome = mapper.map(kind, what)
    assert what == before
    mapper.origins(kind, what)
    if isinstance(outcome, Unmappable):
        assert outcome.problems
        for each in outcome.problems:
            assert each.reason.isupper()
            assert (each.field + each.message).isprintable()
            assert len(each.message) < 500
    else:
        assert state_bytes(outcome.state)
        assert set(mapper.origins(kind, what)) == {*STANDARD, *outcome.state.custom}
        assert not RESERVED & set(outcome.state.custom)
        assert outcome == mapper.map(kind, what)


def test_where_the_table_says_so_a_null_is_no_more_than_an_absent_key():
    table = files("mappings").joinpath("monaco.toml").read_text(encoding="utf-8")
    rules = Rules(ledger_currency="USD", default_currency="USD")
    record = {"id": "o1", "stage": "negotiation"}
    with_null = {**record, "name": None, "custom_field_1": None, "estimated_value": None, "owner": None}
    absent = Mapper(parse(table, name="table"), rules)
    assert absent.map("opportunities", with_null) == absent.map("opportunities", record)
    told = Mapper(parse(table.replace('nulls = "absent"', 'nulls = "told"'), name="table"), rules)
    assert told.map("opportunities", with_null) != told.map("opportunities", record)
    assert told.version != absent.version
