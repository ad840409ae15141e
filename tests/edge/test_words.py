"""Counts, money and times as a person reads them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from edge.words import counted, counts, moment, money, publish_line, shown, summary_line, sums
from pipeline.summary import Summary


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [
        (1234567, "USD", "12,345.67 USD"),
        (-5, "USD", "-0.05 USD"),
        (0, "EUR", "0.00 EUR"),
        (1234, "JPY", "1,234 JPY"),
        (1234, "KWD", "1.234 KWD"),
        (10**15, "USD", "10,000,000,000,000.00 USD"),
        (None, "USD", "-"),
        (1234, None, "1,234 minor units"),
        (1234, "moon", "1,234 minor units"),
    ],
)
def test_money_is_shown_in_its_currency(cents: int | None, currency: str | None, text: str):
    assert money(cents, currency) == text


def test_sums_are_in_the_ledger_s_currency_and_say_of_which_deals():
    assert sums({"USD": 123456}, "USD") == "1,234.56 USD"
    assert sums({"JPY": 123456, "USD": -5}, "USD") == "1,234.56 USD of deals in JPY, -0.05 USD"
    assert sums({"": 5, "USD": 0}, "USD", signed=True) == "+0.05 USD, 0.00 USD"
    assert sums({}, "USD") == ""


def test_a_summary_line_adds_up_and_leaves_out_what_did_not_occur():
    summary = Summary(run=3, connection="a", read=1200, applied=3, unchanged=1195, parked=2, events=1, seconds=1.26)
    assert counts(summary) == "1,200 read = 3 applied + 1,195 unchanged + 2 parked"
    assert summary_line("pull a", summary) == (
        "pull a (run 3): 1,200 read = 3 applied + 1,195 unchanged + 2 parked; 1 event in 1.3 s; "
        "`dealsync parked list` says why"
    )
    assert summary_line("pull a", Summary(run=4, connection="a")) == "pull a (run 4): 0 read; 0 events in 0.0 s"


def test_one_of_a_thing_is_not_several():
    assert [counted(number, "chunk") for number in (0, 1, 1200)] == ["0 chunks", "1 chunk", "1,200 chunks"]


def test_a_publish_line_counts_receipts():
    summary = Summary(run=3, connection=None, read=10, applied=7, unchanged=2, parked=1, published=9, seconds=2)
    assert publish_line(summary) == (
        "publish (run 3): 9 in the ledger, 2 of them already there in 2.0 s; 1 refused, `dealsync parked list` says why"
    )


def test_times_and_values_fit_a_line():
    assert moment("2026-04-22T10:15:30.123Z") == "2026-04-22 10:15:30 UTC"
    assert moment(None) == "never"
    assert shown({"a": [1]}) == '{"a": [1]}'
    assert shown(Decimal("4046.10")) == "4046.10"
    assert len(shown("x" * 1000)) == 200
