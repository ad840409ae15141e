"""Choices: a custom field chosen from a list passes by its key, or in the words that its source shows for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from mappings.mapper import Mapped, Mapper
from mappings.rules import Rules
from tests.mappings.tables import USD, record, small

TABLE = small(('from = "extra"', 'prefix = "cf_"'))
SHOWN = Mapper(TABLE, dataclasses.replace(USD, choices=True))
KNOWN = {"choices": {"cf_source": {"out": "Outbound", "in": "Inbound"}, "cf_note": {}}}


def custom(mapper: Mapper, **fields: Any) -> dict[str, Any]:
    found = mapper.map("deals", record(**fields), KNOWN)
    assert isinstance(found, Mapped)
    return {key: value for key, value in found.state.custom.items() if key.startswith("cf_")}


def test_a_choice_passes_in_the_words_its_source_shows_where_that_is_wanted():
    fields = {"cf_source": "out", "cf_note": "out"}
    assert custom(SHOWN, **fields) == {"cf_source": "Outbound", "cf_note": "out"}
    assert custom(Mapper(TABLE, USD), **fields) == fields


def test_several_choices_are_each_put_into_words():
    assert custom(SHOWN, cf_source=["in", 7, "out", "gone"]) == {"cf_source": ["Inbound", 7, "Outbound", "gone"]}


def test_what_has_no_words_stays_and_is_never_nulled():
    fields = {"cf_source": "a choice since removed", "cf_unheard": "x", "cf_number": 5, "cf_null": None}
    assert custom(SHOWN, **fields) == fields


def test_only_fields_that_may_be_chosen_are_asked_for():
    fields = record(cf_source="out", cf_many=["in"], cf_number=5, cf_null=None, cf_object={})
    assert set(SHOWN.lookups("deals", fields)) == {("choices", "cf_source"), ("choices", "cf_many")}
    assert SHOWN.references == {"choices"}
    assert Mapper(TABLE, USD).references == frozenset()
    assert list(Mapper(TABLE, USD).lookups("deals", fields)) == []


def test_it_is_another_version_of_the_mapping_and_the_rules_can_be_read_back():
    assert SHOWN.version != Mapper(TABLE, USD).version
    assert Rules.from_meaning(SHOWN.rules.meaning()) == SHOWN.rules
    assert "choices" not in USD.meaning()


def test_whoever_asks_is_told_what_stood_there_and_that_it_was_put_into_words():
    origin = SHOWN.origins("deals", record(cf_source="out"), KNOWN)["cf_source"]
    assert (origin.source, origin.raw) == ("cf_source", "out")
    assert "words that the source shows" in origin.rule
