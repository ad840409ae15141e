"""Currency: every amount ends in minor units of the ledger's currency, or the record is parked."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.mapper import Mapper, Rates, Rules
from tests.mappings.tables import mapped, problem, record, small


def money(amount: Any, code: Any = "USD", *, table: tuple[tuple[str, str], ...] = (), **rules: Any) -> Mapper:
    return Mapper(small(*table), Rules(**{"ledger_currency": "USD", **rules}))


def read(amount: Any, code: Any = "USD", **rules: Any) -> tuple[int | None, tuple[str, ...], dict[str, Any]]:
    found = mapped(money(amount, code, **rules), {**record(), "value": {"amount": amount, "code": code}})
    return found.state.amount_cents, found.flags, dict(found.state.custom)


def parked(amount: Any, code: Any = "USD", *, closed: str | None = None, **rules: Any) -> tuple[str, str, str]:
    found = problem(money(amount, code, **rules), {**record(closed=closed), "value": {"amount": amount, "code": code}})
    return found.field, found.reason, found.message


@pytest.mark.parametrize(
    ("amount", "cents", "flags"),
    [
        (10, 1000, ()),
        (Decimal("10.5"), 1050, ()),
        (Decimal("0.1") + Decimal("0.2"), 30, ()),
        (Decimal("10.005"), 1000, ("amount_rounded",)),
        (Decimal("10.015"), 1002, ("amount_rounded",)),
        (Decimal("-10.015"), -1002, ("amount_rounded",)),
        (Decimal("1E+3"), 100_000, ()),
        (0, 0, ()),
        (Decimal("-0.0"), 0, ()),
        (-7, -700, ()),
        (10**12, 10**14, ()),
        (None, None, ()),
    ],
)
def test_an_amount_becomes_minor_units_rounded_half_even_once_and_flagged(
    amount: Any, cents: int, flags: tuple[str, ...]
):
    assert read(amount) == (cents, flags, {"currency": "USD"})


@pytest.mark.parametrize(("code", "minor"), [("JPY", 1200), ("KWD", 1_200_000), ("EUR", 120_000)])
def test_minor_units_follow_the_exponent_of_the_currency(code: str, minor: int):
    assert read(1200, code, ledger_currency=code)[0] == minor


def test_null_is_not_zero():
    assert read(None)[0] is None
    assert read(0)[0] == 0


@pytest.mark.parametrize("amount", ["10", "1,200.50", "", True, [], {"a": 1}, Decimal("1e999"), 10**40])
def test_an_amount_that_is_no_sensible_number_parks(amount: Any):
    field, reason, message = parked(amount)
    assert (field, reason) == ("amount_cents", "BAD_AMOUNT")
    assert message.startswith("value.amount: found ")


def test_a_number_in_quotes_is_read_only_where_the_table_says_so():
    table = (('from = "value.amount"', 'from = "value.amount"\nnumbers = "text"'),)
    assert read("1234.50", table=table)[0] == 123450
    assert read("", table=table)[0] is None
    assert parked("1,234.50", table=table)[1] == "BAD_AMOUNT"


@pytest.mark.parametrize("code", [" usd", "USD", "Usd\n"])
def test_a_currency_is_trimmed_and_upper_cased(code: str):
    assert read(1, code)[2] == {"currency": "USD"}


@pytest.mark.parametrize("code", ["US$", "Dollar", "ZZZ", "XAU", "€", 840, True, ["USD"]])
def test_a_currency_that_is_not_in_iso_4217_parks(code: Any):
    assert parked(1, code)[:2] == ("currency", "BAD_CURRENCY")
    assert parked(None, code)[:2] == ("currency", "BAD_CURRENCY")
    assert parked(1, code, currency_policy="pass", default_currency="USD")[:2] == ("currency", "BAD_CURRENCY")


@pytest.mark.parametrize("code", [None, "", "  "])
def test_a_missing_currency_takes_the_default_and_says_so_or_parks(code: str | None):
    field, reason, message = parked(1, code)
    assert (field, reason) == ("currency", "NO_CURRENCY")
    assert "default_currency" in message
    assert read(1, code, default_currency="usd") == (100, ("currency_defaulted",), {"currency": "USD"})
    assert parked(1, code, currency_policy="pass")[1] == "NO_CURRENCY"


def test_a_null_amount_needs_no_currency():
    assert read(None, None) == (None, (), {})
    assert read(None, "EUR") == (None, (), {"currency": "EUR"})


def test_a_table_without_a_currency_key_always_takes_the_default():
    table = (('currency = "value.code"', ""),)
    assert read(1, "EUR", table=table, default_currency="USD") == (100, ("currency_defaulted",), {"currency": "USD"})
    assert parked(1, "EUR", table=table)[1] == "NO_CURRENCY"


def test_another_currency_than_the_ledgers_parks_by_default():
    field, reason, message = parked(10, "EUR")
    assert (field, reason) == ("amount_cents", "FOREIGN_CURRENCY")
    assert message.startswith("value.amount: found 10 EUR; the ledger is in USD")
    assert parked(10, None, default_currency="EUR")[1] == "FOREIGN_CURRENCY"


def test_pass_takes_the_number_as_the_ledgers_currency_and_keeps_what_the_record_said():
    assert read(10, "EUR", currency_policy="pass") == (1000, ("foreign_currency_passed",), {"currency": "EUR"})
    assert read(10, "JPY", currency_policy="pass")[0] == 1000
    assert read(10, "USD", currency_policy="pass") == (1000, (), {"currency": "USD"})


RATES = Rates.of(
    [
        ("EUR", date(2026, 1, 1), Decimal("1.1")),
        ("EUR", date(2026, 7, 1), Decimal("1.25")),
        ("JPY", date(2026, 1, 1), Decimal("0.0065")),
    ]
)


def converted(amount: Any, code: str, closed: str, **rules: Any) -> tuple[int | None, tuple[str, ...], dict[str, Any]]:
    mapper = money(amount, code, currency_policy="convert", rates=RATES, **rules)
    found = mapped(mapper, {**record(closed=closed), "value": {"amount": amount, "code": code}})
    return found.state.amount_cents, found.flags, dict(found.state.custom)


def test_convert_takes_the_latest_rate_on_or_before_the_close_date_and_keeps_the_original():
    before = {"currency": "EUR", "amount_original_minor": 1000, "fx_rate": Decimal("1.1")}
    assert converted(10, "EUR", "2026-06-30") == (1100, ("amount_converted",), before)
    assert converted(10, "EUR", "2026-07-01")[0] == 1250
    assert converted(1234, "JPY", "2026-07-01") == (
        802,
        ("amount_converted", "amount_rounded"),
        {"currency": "JPY", "amount_original_minor": 1234, "fx_rate": Decimal("0.0065")},
    )
    assert converted(1000, "EUR", "2026-07-01", amount_unit="minor")[0] == 1250
    assert converted(10, "USD", "2026-07-01") == (1000, (), {"currency": "USD"})


@settings(deadline=None)
@given(st.decimals(-(10**9), 10**9, places=6), st.decimals("0.000001", 1000, places=6))
def test_a_conversion_rounds_once_from_the_exact_product(amount: Decimal, rate: Decimal):
    rates = Rates.of([("EUR", date(2026, 1, 1), rate)])
    mapper = money(amount, "EUR", currency_policy="convert", rates=rates)
    found = mapped(mapper, {**record(closed="2026-02-01"), "value": {"amount": amount, "code": "EUR"}})
    exact = Fraction(amount) * Fraction(rate) * 100
    assert found.state.amount_cents == round(exact)
    assert ("amount_rounded" in found.flags) == (exact.denominator != 1)


@pytest.mark.parametrize(
    ("code", "closed", "words"),
    [
        ("EUR", None, "the rate is that of the close date, and the deal has none"),
        ("EUR", "2025-12-31", "no rate of EUR on or before 2025-12-31"),
        ("GBP", "2026-02-01", "no rate of GBP"),
    ],
)
def test_a_deal_without_a_rate_parks(code: str, closed: str | None, words: str):
    field, reason, message = parked(10, code, closed=closed, currency_policy="convert", rates=RATES)
    assert (field, reason) == ("amount_cents", "NO_RATE")
    assert words in message
    assert parked(10, code, closed=closed, currency_policy="convert")[1] == "NO_RATE"


def test_amounts_in_minor_units_are_taken_as_they_are():
    assert read(1050, amount_unit="minor")[0] == 1050
    assert read(Decimal("10.5"), amount_unit="minor") == (10, ("amount_rounded",), {"currency": "USD"})


def test_a_table_may_refuse_a_fraction_of_a_minor_unit():
    table = (('from = "value.amount"', 'from = "value.amount"\nwhole_minor = true'),)
    assert parked(Decimal("10.5"), table=table, amount_unit="minor")[1] == "BAD_AMOUNT"
    assert read(Decimal("10.0"), table=table, amount_unit="minor")[0] == 10
    assert read(Decimal("10.005"), table=table)[:2] == (1000, ("amount_rounded",))


@settings(deadline=None)
@given(st.decimals(-(10**12), 10**12, places=4), st.sampled_from(["USD", "JPY", "KWD"]))
def test_minor_units_are_the_decimal_rounded_half_even(amount: Decimal, code: str):
    places = {"USD": 2, "JPY": 0, "KWD": 3}[code]
    exact = (amount * 10**places).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    assert read(amount, code, ledger_currency=code)[0] == int(exact)
