"""Describe: a mapping as rows that leave nothing out."""

from __future__ import annotations

from mappings.describe import Row, describe
from mappings.language import parse
from tests.mappings.tables import PLANHAT, small


def test_every_rule_of_a_table_has_its_row():
    rows = describe(small())
    assert Row("deals", "amount_cents", "value.amount", "decimal money", "currency from value.code") in rows
    assert Row("deals", "stage", "stage", "'Won' is closed_won") in rows
    assert Row("deals", "stage", "stage", "any other word parks the record") in rows
    assert Row("deals", "title", "title", "text, blanks around it dropped") in rows
    assert Row("deals", "(ignored)", "updated", "left out", "moves without a change") in rows
    assert [row.source for row in rows if row.field == "close_date"] == ["closed, else expected"]
    assert [row.source for row in rows if row.field == "kick_off_day"] == ["extra.Kick-off Day"]
    assert [row.note for row in rows if row.source == "extra.*"] == ["'undefined' counts as absent"]


def test_every_key_that_a_table_claims_or_ignores_is_shown():
    mapping = parse(PLANHAT, name="planhat")
    for kind, rule in mapping.kinds.items():
        shown = " ".join(f"{row.source} {row.note}" for row in describe(mapping) if row.kind == kind)
        for key in (*rule.fields(), *rule.ignored):
            assert key in shown


def test_an_outcome_is_shown_before_the_stage():
    rows = [
        row.rule for row in describe(parse(PLANHAT, name="p")) if (row.kind, row.field) == ("opportunities", "stage")
    ]
    assert rows == [
        "'won' is closed_won",
        "'lost' is closed_lost",
        "'active' leaves it to salesStage",
        "'Negotiation' is negotiation",
        "any other word parks the record",
    ]
