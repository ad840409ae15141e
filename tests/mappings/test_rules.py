"""Rules: what a connection's settings mean survives being written down, and nonsense is refused."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from mappings.rules import Rates, Rules

RATES = Rates.of([("eur", date(2026, 7, 1), Decimal("1.250")), ("EUR", date(2026, 1, 1), Decimal("1E-7"))])


@pytest.mark.parametrize(
    "rules",
    [
        Rules(ledger_currency="USD"),
        Rules(ledger_currency="EUR", default_currency="eur", owners={"a": "b"}, owner_policy="null"),
        Rules(ledger_currency="USD", currency_policy="convert", rates=RATES, amount_unit="minor"),
        Rules(ledger_currency="USD", owners_by="email", zone="Europe/Berlin"),
        Rules(ledger_currency="USD", stage_words={"Signed": "closed_won"}, stage_history=False),
    ],
)
def test_rules_are_read_back_from_their_meaning(rules: Rules):
    assert Rules.from_meaning(json.loads(json.dumps(rules.meaning()))) == rules


def test_rates_that_are_equal_numbers_mean_the_same():
    one = Rates.of([("EUR", date(2026, 1, 1), Decimal("1.50"))])
    other = Rates.of([("EUR", date(2026, 1, 1), Decimal("1.5"))])
    assert Rules(ledger_currency="USD", rates=one).meaning() == Rules(ledger_currency="USD", rates=other).meaning()


def test_a_rate_holds_from_its_day_until_the_next():
    assert RATES.on("EUR", date(2025, 12, 31)) is None
    assert RATES.on("EUR", date(2026, 6, 30)) == Decimal("1E-7")
    assert RATES.on("EUR", date(2026, 7, 1)) == RATES.on("EUR", date(2999, 1, 1)) == Decimal("1.25")
    assert RATES.on("GBP", date(2026, 7, 1)) is None


@pytest.mark.parametrize("rate", ["0", "-1", "NaN", "Infinity"])
def test_a_rate_that_is_not_above_zero_is_refused(rate: str):
    with pytest.raises(ValueError, match="above zero"):
        Rates.of([("EUR", date(2026, 1, 1), Decimal(rate))])


def test_two_rates_for_one_day_are_refused():
    with pytest.raises(ValueError, match="two rates"):
        Rates.of([("EUR", date(2026, 1, 1), Decimal(1)), ("EUR", date(2026, 1, 1), Decimal(2))])


def test_a_currency_that_is_not_in_iso_4217_is_refused():
    for wrong in ({"ledger_currency": "US$"}, {"ledger_currency": "USD", "default_currency": "dollars"}):
        with pytest.raises(ValueError, match="ISO 4217"):
            Rules(**wrong)


def test_settings_that_are_not_used_are_not_written_down_and_rules_without_them_are_read():
    written = Rules(ledger_currency="USD").meaning()
    assert set(written) == {
        "ledger_currency", "currency_policy", "default_currency", "amount_unit", "rates", "owners", "owner_policy",
    }  # fmt: skip
    assert Rules.from_meaning(written) == Rules(ledger_currency="USD")


@pytest.mark.parametrize("zone", ["", "Berlin", "../etc/passwd", "/etc/localtime", "America", "UTC\x00", "CEST"])
def test_a_zone_that_is_not_in_the_time_zone_database_is_refused(zone: str):
    with pytest.raises(ValueError, match="is no time zone; a name such as Europe/Berlin"):
        Rules(ledger_currency="USD", zone=zone)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({" ": "closed_won"}, "neither empty"),
        ({"Won": ""}, "neither empty"),
        ({"Won": " won"}, "neither empty"),
        ({"Won": "closed_won", "won": "closed_lost"}, "keep one"),
    ],
)
def test_stage_words_that_say_nothing_or_contradict_each_other_are_refused(words: dict[str, str], why: str):
    with pytest.raises(ValueError, match=why):
        Rules(ledger_currency="USD", stage_words=words)


def test_owners_cannot_be_named_by_a_table_and_by_their_email():
    with pytest.raises(ValueError, match="not by both"):
        Rules(ledger_currency="USD", owners={}, owners_by="email")
