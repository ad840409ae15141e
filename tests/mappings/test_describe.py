"""Describe: a mapping as rows that leave nothing out."""

from __future__ import annotations

from importlib.resources import files

import pytest

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


SHIPPED = sorted(file.name for file in files("mappings").iterdir() if file.name.endswith(".toml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_every_key_that_a_table_claims_or_ignores_is_shown(name: str):
    mapping = parse(files("mappings").joinpath(name).read_text(encoding="utf-8"), name=name)
    for kind, rule in mapping.kinds.items():
        shown = " ".join(f"{row.source} {row.note}" for row in describe(mapping) if row.kind == kind)
        assert [key for key in (*rule.fields(), *rule.ignored) if key not in shown] == []


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


def test_what_later_parts_of_a_table_say_is_shown():
    more = """
[deals.stage.within]
from = "pipeline"

[deals.stage.within.words."emea"]
"Demo" = "emea_demo"

[deals.stage.history]
from = "moves"
stage = ["to_stage", "to"]

[deals.stage.outcome]
from = "status"
open = ["active"]
words = { won = "closed_won" }
agree = true

[deals.close_date]
closed = "actual"
"""
    table = small(
        ("\n[deals.close_date]\n", more),
        ('from = "stage"', 'from = "stage"\ncompare = "slug"'),
        ('as = "number"', 'look_up = "accounts", take = "seats"'),
        ('from = "extra"', 'prefix = "cf_"'),
    )
    rows = describe(table)
    for row in (
        Row("deals", "stage", "stage", "'Demo' is emea_demo", "where pipeline is 'emea', which has its own words"),
        Row("deals", "stage", "stage", "any other word parks the record", "a word is found by its slug"),
        Row("deals", "stage", "status", "'won' is closed_won", "parks where stage is another closed stage"),
        Row("deals", "stage", "status", "'active' leaves it to stage", "parks where stage is a closed stage"),
        Row("deals", "seats", "seats", "the value as it is", "seats of what accounts has under this key"),
        Row("deals", "(its label in snake_case)", "cf_*", "the value as it is", "'undefined' counts as absent"),
        Row("deals", "kick_off_day", "Kick-off Day", "a calendar day, or days since 1970-01-01"),
    ):
        assert row in rows
    dates = [(row.source, row.note) for row in rows if row.field == "close_date"]
    assert dates == [
        ("actual, else closed, else expected", "once the deal is closed"),
        ("closed, else expected", "until the deal is closed"),
    ]
    assert [row.source for row in rows if row.field == "(stage moves)"] == ["moves[].to_stage, else to"]
    quoted = describe(small(('from = "extra"', 'from = "extra"\nquoted = true')))
    (note,) = [row.note for row in quoted if row.source == "extra.*"]
    assert note.endswith("extra may be the JSON text of an object")
