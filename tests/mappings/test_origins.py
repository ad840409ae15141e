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
