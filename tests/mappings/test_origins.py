"""Origins: every value of a deal can be traced to a key, a raw value and a rule in words."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from deals.state import STANDARD
from mappings.mapper import Mapper, Rates, Rules
from tests.mappings.tables import USD, mapped, record, small

WHOLE = record(
    stage="Won",
    value={"amount": 1234.5, "code": "usd"},
    closed="",
    expected="2026-11-30",
    owner={"id": "u1"},
    title="Renewal",
    extra={"Lead Source": "Event", "Kick-off Day": 1, "Secret Note": "x", "Region": "undefined"},
)


def origins(rules: Rules = USD, what: dict[str, Any] = WHOLE) -> dict[str, tuple[str, Any]]:
    found = Mapper(small(), rules).origins("deals", what)
    assert all(origin.rule for origin in found.values())
    return {field: (origin.source, origin.raw) for field, origin in found.items()}


def test_each_field_names_its_key_and_the_raw_value():
    assert origins() == {
        "amount_cents": ("value.amount, value.code", {"value.amount": Decimal("1234.5"), "value.code": "usd"}),
        "stage": ("stage", "Won"),
        "close_date": ("expected", "2026-11-30"),
        "owner_external_id": ("owner.id", "u1"),
        "currency": ("value.code", "usd"),
        "title": ("title", "Renewal"),
        "lead_source": ("extra.Lead Source", "Event"),
        "kick_off_day": ("extra.Kick-off Day", 1),
    }


def test_there_is_an_origin_for_exactly_the_fields_of_the_state():
    converting = Rules(
        ledger_currency="USD",
        currency_policy="convert",
        rates=Rates.of([("EUR", date(2026, 1, 1), Decimal(2))]),
        default_currency="USD",
    )
    euros = {**WHOLE, "value": {"amount": 1, "code": "EUR"}}
    passing = Rules(ledger_currency="USD", currency_policy="pass")
    nameless = {**WHOLE, "value": {"amount": 1, "code": None}}
    moneyless = {**WHOLE, "value": {"amount": None, "code": "EUR"}}
    pairs = [(USD, WHOLE), (USD, {"id": 1}), (passing, euros)]
    for rules, what in [*pairs, *((converting, each) for each in (euros, nameless, moneyless, WHOLE))]:
        state = mapped(Mapper(small(), rules), what).state
        assert set(origins(rules, what)) == {*STANDARD, *state.custom}


def test_a_default_currency_is_told_from_one_that_the_record_bears():
    rules = Rules(ledger_currency="USD", default_currency="USD")
    found = Mapper(small(), rules).origins("deals", {"id": 1, "value": {"amount": 1}})
    assert found["currency"].rule == "the connection's default_currency"


def test_the_outcome_is_named_where_it_decided():
    outcome = '[deals.stage.outcome]\nfrom = "status"\nwords = { won = "closed_won" }\n\n[deals.stage.words]'
    mapper = Mapper(small(("[deals.stage.words]", outcome)), USD)
    assert mapper.origins("deals", record(status="won"))["stage"].source == "status"
    assert mapper.origins("deals", record())["stage"].source == "stage"


def test_the_rules_of_the_connection_are_said_in_words():
    policies = {
        "park": "another currency than USD parks",
        "convert": "another currency than USD is converted at the rate of the close date",
        "pass": "taken as USD whatever the currency says",
    }
    for policy, words in policies.items():
        rules = Rules(ledger_currency="USD", currency_policy=policy, owners={"u1": "ada"})  # type: ignore[arg-type]
        found = Mapper(small(), rules).origins("deals", WHOLE)
        assert words in found["amount_cents"].rule
        assert found["owner_external_id"].rule == "the connection's owner table; an owner not in it is parked"


WITHIN = '[deals.stage.within]\nfrom = "pipeline"\nwords = { emea = { Won = "emea_won" } }\n\n[deals.close_date]'


def test_the_second_key_of_a_stage_is_named_with_it_and_whose_words_were_used():
    mapper = Mapper(small(("[deals.close_date]", WITHIN)), USD)
    own = mapper.origins("deals", record(stage="Won", pipeline=" emea"))["stage"]
    assert (own.source, own.raw) == ("stage, pipeline", {"stage": "Won", "pipeline": " emea"})
    assert own.rule.endswith("; the words of its own pipeline")
    general = mapper.origins("deals", record(stage="Won", pipeline="apac"))["stage"]
    assert general.rule.endswith("; the general words, its pipeline having none")


def test_how_words_compare_and_whose_come_first_is_said():
    rules = Rules(ledger_currency="USD", stage_words={"Signed": "closed_won"})
    mapper = Mapper(small(('from = "stage"', 'from = "stage"\ncompare = "slug"')), rules)
    rule = mapper.origins("deals", record(stage="Won"))["stage"].rule
    assert rule.startswith("the table's vocabulary, by its slug; an unknown word parks")
    assert rule.endswith("the connection's own words come first")


def test_the_outcome_is_named_where_it_decided_by_its_slug():
    outcome = '[deals.stage.outcome]\nfrom = "status"\nwords = { won = "closed_won" }\n\n[deals.stage.words]'
    slug = ('from = "stage"', 'from = "stage"\ncompare = "slug"')
    assert Mapper(small(("[deals.stage.words]", outcome), slug), USD).origins("deals", record(status="WON!"))[
        "stage"
    ].source == ("status")


def test_the_close_date_names_the_key_that_counts_for_a_deal_in_that_stage_and_the_zone():
    change = ('["closed", "expected"]', '"expected"\nclosed = "actual"\nas = "zoned_day"')
    mapper = Mapper(small(change), Rules(ledger_currency="USD", zone="Asia/Tokyo"))
    dates = {"actual": "2026-03-31T20:00:00Z", "expected": "2026-05-01"}
    closed = mapper.origins("deals", record(stage="Won", **dates))["close_date"]
    assert (closed.source, closed.raw) == ("actual", "2026-03-31T20:00:00Z")
    assert "zone; a plain date is never shifted (Asia/Tokyo); the deal is closed" in closed.rule
    assert mapper.origins("deals", record(stage="Open", **dates))["close_date"].source == "expected"


def test_what_was_looked_up_is_told_with_the_key_it_was_found_under():
    change = ("seats =", 'account = { from = "account_id", look_up = "accounts", take = "name" }\nseats =')
    mapper = Mapper(small(change), Rules(ledger_currency="USD", owners_by="email"))
    known = {"accounts": {"a1": {"name": "Northwind"}}, "users": {"u1": {"email": "Ada@x.com"}}}
    found = mapper.origins("deals", record(account_id="a1", owner={"id": "u1"}), known)
    assert found["account"].source == "account_id, accounts.name"
    assert found["account"].raw == {"account_id": "a1", "accounts.name": "Northwind"}
    assert found["account"].rule.startswith("name of what accounts has under the key in account_id")
    assert found["owner_external_id"].raw == {"owner.id": "u1", "users.email": "Ada@x.com"}
    assert mapper.origins("deals", record(account_id="a2"))["account"].raw["accounts.name"] is None


def test_a_custom_field_says_why_it_passes_under_its_key():
    mapper = Mapper(small(('{ as = "day" }', '{ key = "start", as = "day" }')), USD).with_labels(
        {"Lead Source": "lead"}
    )
    found = mapper.origins("deals", record(extra={"Lead Source": "x", "Kick-off Day": 1, "Tier": 2}))
    assert "under the key its definition was bound to when first seen" in found["lead"].rule
    assert "under the key that the table declares" in found["start"].rule
    assert "under the slug of its label" in found["tier"].rule
    prefixed = Mapper(small(('from = "extra"', 'prefix = "cf_"')), USD).with_labels({"cf_1": "risk"})
    assert prefixed.origins("deals", record(cf_1=3))["risk"].source == "cf_1"
