"""Stages: words by slug and by pipeline, outcomes that must agree, and the moves that a record remembers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.mapper import Mapped, Mapper, Rules
from mappings.vocabulary import slug
from tests.mappings.tables import USD, json_values, mapped, problem, record, small

SLUG = ('from = "stage"', 'from = "stage"\ncompare = "slug"')
WITHIN = (
    "[deals.close_date]",
    '[deals.stage.within]\nfrom = "pipeline"\n\n[deals.stage.within.words."emea"]\n"Won" = "emea_won"\n'
    '"Demo" = "emea_demo"\n\n[deals.stage.within.words."7"]\n"Won" = "seven_won"\n\n[deals.close_date]',
)
OUTCOME = (
    "[deals.close_date]",
    '[deals.stage.outcome]\nfrom = "status"\nopen = ["active", "open"]\nagree = true\n\n[deals.stage.outcome.words]\n'
    '"won" = "closed_won"\n"lost" = "closed_lost"\n\n[deals.close_date]',
)
LOST = ('"Open" = "open"', '"Open" = "open"\n"Lost" = "closed_lost"')
HISTORY = (
    "[deals.close_date]",
    '[deals.stage.history]\nfrom = "moves"\nstage = ["to_stage", "to"]\n\n[deals.close_date]',
)
PASSES = ('from = "stage"', 'from = "stage"\nunmapped = "pass"')
BY_SLUG, BY_PIPELINE = Mapper(small(SLUG), USD), Mapper(small(WITHIN), USD)
AGREEING, REMEMBERING = Mapper(small(OUTCOME, LOST), USD), Mapper(small(WITHIN, HISTORY), USD)


def stage(mapper: Mapper, **fields: Any) -> str | None:
    return mapped(mapper, record(**fields)).state.stage


@pytest.mark.parametrize("word", ["Won", "won", " WON ", "won!", "Wön"])
def test_a_table_that_compares_by_slug_knows_a_word_however_it_is_spelt(word: str):
    assert stage(BY_SLUG, stage=word) == "closed_won"


def test_a_word_that_is_only_similar_is_another_word_by_its_slug_too():
    found = problem(BY_SLUG, record(stage="wonn"))
    assert found.reason == "UNKNOWN_STAGE"
    assert "nearest known: 'Won'" in found.message


@settings(deadline=None)
@given(st.text(max_size=300))
def test_two_words_are_one_by_slug_exactly_when_their_slugs_are(word: str):
    outcome = BY_SLUG.map("deals", record() | {"stage": word})
    known = isinstance(outcome, Mapped) and outcome.state.stage == "closed_won"
    assert known == (slug(word) == "won")


def test_outcomes_are_compared_as_stages_are():
    assert stage(Mapper(small(OUTCOME, SLUG), USD), status="WON", stage="Open") == "closed_won"
    assert stage(Mapper(small(OUTCOME, SLUG), USD), status="Active!", stage="Open") == "open"
    assert problem(AGREEING, record(status="WON", stage="Open")).reason == "UNKNOWN_STAGE"


@pytest.mark.parametrize(
    ("pipeline", "word", "meant"),
    [
        ("emea", "Won", "emea_won"),
        (" emea ", "Won", "emea_won"),
        ("emea", "Demo", "emea_demo"),
        (7, "Won", "seven_won"),
        ("7", "Won", "seven_won"),
        ("apac", "Won", "closed_won"),
        ("EMEA", "Won", "closed_won"),
        (None, "Won", "closed_won"),
        (" ", "Won", "closed_won"),
        (None, "Open", "open"),
    ],
)
def test_a_pipeline_with_words_of_its_own_is_read_by_them_and_any_other_by_the_general_ones(
    pipeline: Any, word: str, meant: str
):
    assert stage(BY_PIPELINE, pipeline=pipeline, stage=word) == meant


def test_a_pipeline_with_words_of_its_own_knows_no_others():
    found = problem(BY_PIPELINE, record(pipeline="emea", stage="Open"))
    assert found.reason == "UNKNOWN_STAGE"
    assert found.message.endswith("add it to [deals.stage.within.words.'emea']")
    assert problem(BY_PIPELINE, record(pipeline="apac", stage="Demo")).message.endswith("add it to [deals.stage.words]")


def test_a_pipeline_that_is_no_id_parks_and_is_named():
    found = problem(BY_PIPELINE, record(pipeline=["emea"]))
    assert (found.field, found.reason) == ("stage", "BAD_VALUE")
    assert found.message.startswith("pipeline: found a list of 1 items; an id")


def test_the_pipeline_is_a_key_that_the_table_claims():
    assert mapped(BY_PIPELINE, record(pipeline="emea", stage="Won")).drift == ()
    assert "pipeline" in BY_PIPELINE.fields("deals")


def test_words_of_the_connection_are_added_to_every_table_and_win():
    mapper = Mapper(small(WITHIN), Rules(ledger_currency="USD", stage_words={"Won": "signed", "Signed": "signed"}))
    assert [stage(mapper, pipeline=each, stage="Signed") for each in ("emea", None)] == ["signed", "signed"]
    assert [stage(mapper, pipeline=each, stage="Won") for each in ("emea", None)] == ["signed", "signed"]
    assert stage(mapper, stage="Open") == "open"
    by_slug = Mapper(small(SLUG), Rules(ledger_currency="USD", stage_words={"WON": "signed"}))
    assert stage(by_slug, stage="Won") == "signed"


@pytest.mark.parametrize(
    ("status", "word", "reading"),
    [
        ("won", "Won", ("closed_won", ())),
        ("lost", "Lost", ("closed_lost", ())),
        ("won", "Open", ("closed_won", ("outcome_ahead_of_stage",))),
        ("lost", "Open", ("closed_lost", ("outcome_ahead_of_stage",))),
        ("won", "nobody knows it", ("closed_won", ())),
        ("won", None, ("closed_won", ())),
        ("won", 3, ("closed_won", ())),
        ("active", "Open", ("open", ())),
        ("open", None, (None, ())),
        (None, "Won", ("closed_won", ())),
        (None, "Open", ("open", ())),
        ("won", "Lost", "CONTRADICTION"),
        ("lost", "Won", "CONTRADICTION"),
        ("active", "Won", "CONTRADICTION"),
        ("open", "Lost", "CONTRADICTION"),
        ("archived", "Won", "UNKNOWN_STAGE"),
        ("active", "nobody knows it", "UNKNOWN_STAGE"),
    ],
)
def test_an_outcome_that_must_agree_parks_a_contradiction_and_nothing_else(status: str | None, word: Any, reading: Any):
    outcome = AGREEING.map("deals", record(status=status, stage=word))
    if isinstance(outcome, Mapped):
        assert (outcome.state.stage, outcome.flags) == reading
    else:
        assert [each.reason for each in outcome.problems] == [reading]


def test_a_contradiction_names_both_keys_and_what_they_say():
    found = problem(AGREEING, record(status="won", stage="Lost"))
    assert (found.field, found.reason) == ("stage", "CONTRADICTION")
    assert found.message == (
        "status: found 'won', but stage says 'Lost', which is closed_lost; one of the two must be mended in the source"
    )


def test_without_agreement_the_outcome_decides_whatever_the_stage_says():
    mapper = Mapper(small((OUTCOME[0], OUTCOME[1].replace("agree = true\n", "")), LOST), USD)
    assert stage(mapper, status="won", stage="Lost") == "closed_won"
    assert stage(mapper, status="active", stage="Won") == "closed_won"


def test_a_word_that_passes_as_it_is_must_agree_too():
    mapper = Mapper(small(OUTCOME, PASSES), USD)
    assert problem(mapper, record(status="won", stage="closed_lost")).reason == "CONTRADICTION"
    assert problem(mapper, record(status="open", stage="closed_lost")).reason == "CONTRADICTION"
    assert stage(mapper, status="open", stage="Legal") == "Legal"


def test_the_agreement_is_that_of_the_records_own_pipeline():
    own = '"Won" = "emea_won"\n"Dead" = "closed_lost"'
    mapper = Mapper(small(OUTCOME, (WITHIN[0], WITHIN[1].replace('"Won" = "emea_won"', own))), USD)
    assert problem(mapper, record(status="won", stage="Dead", pipeline="emea")).reason == "CONTRADICTION"
    assert stage(mapper, status="won", stage="Dead") == "closed_won"


@settings(deadline=None, max_examples=200, derandomize=True)
@given(json_values, json_values, json_values)
def test_nothing_in_the_keys_around_a_stage_makes_the_mapper_raise(moves: Any, pipeline: Any, status: Any):
    what = {**record(), "moves": moves, "pipeline": pipeline, "status": status}
    for mapper in (REMEMBERING, AGREEING):
        mapper.map("deals", what)
        mapper.origins("deals", what)
