"""Observed: a tenant's records are counted, whatever they bear, in constant memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.observed import DEEPEST, MOST_KEYS, MOST_WORDS, Observed, Seen
from tests.mappings.tables import json_values


def test_keys_types_and_words_are_counted_at_every_depth_that_a_table_reads():
    observed = Observed()
    for record in ({"a": "x", "b": {"c": "y"}}, {"a": " x ", "b": {"c": 1}}, {"a": None}):
        observed.add("deals", record)
    deals = observed.kinds["deals"]
    assert (deals.count, deals.at("a").count, deals.at("b.c").count, deals.at("nowhere.at.all").count) == (3, 3, 2, 0)
    assert deals.at("a").words == {"x": 2}
    assert deals.at("a").kinds_of_value() == "text, null"
    assert deals.at("b.c").types == {"text": 1, "number": 1}


def test_what_has_no_end_is_not_kept():
    observed = Observed()
    for number in range(MOST_WORDS + 50):
        observed.add("deals", {"id": f"word {number}", "prose": "x" * 500, f"key {number}": 1})
        observed.add(f"kind {number}", {})
    deals = observed.kinds["deals"]
    assert len(deals.at("id").words) == MOST_WORDS
    assert deals.at("id").count == MOST_WORDS + 50
    assert deals.at("prose").words == {}
    assert len(deals.within) == MOST_KEYS
    assert len(observed.kinds) == MOST_KEYS


def depth(seen: Seen) -> int:
    return 1 + max(map(depth, seen.within.values()), default=-1)


@settings(deadline=None)
@given(st.dictionaries(st.text(), json_values))
def test_any_record_can_be_observed(record: dict[str, object]):
    observed = Observed()
    observed.add("deals", record)
    assert depth(observed.kinds["deals"]) <= DEEPEST
