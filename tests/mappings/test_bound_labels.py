"""Bound labels: a custom field keeps the key it was first seen under, whatever it is called later."""

from __future__ import annotations

import json
import re
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.state import RESERVED
from mappings.grammar import custom_key
from mappings.labels import bind
from mappings.mapper import Mapped, Mapper
from mappings.vocabulary import LONGEST_SLUG, slug
from tests.mappings.tables import USD, json_values, mapped, problem, record, small

FROM = 'from = "extra"'
MAPPER = Mapper(small(), USD)
PREFIXED = Mapper(small((FROM, 'prefix = "cf_"')), USD)
QUOTED = Mapper(small((FROM, f"{FROM}\nquoted = true")), USD)


def custom(mapper: Mapper, **fields: Any) -> dict[str, Any]:
    found = mapped(mapper, record(**fields)).state.custom
    return {key: value for key, value in found.items() if key != "currency"}


def test_a_field_passes_under_the_key_its_label_is_bound_to_and_an_unbound_one_under_its_slug():
    mapper = MAPPER.with_labels({"Region Name": "region"})
    assert custom(mapper, extra={"Region Name": "EMEA", "Tier": 1}) == {"region": "EMEA", "tier": 1}
    assert custom(MAPPER, extra={"Region Name": "EMEA"}) == {"region_name": "EMEA"}


def test_binding_labels_changes_neither_the_mapper_it_came_from_nor_the_version():
    mapper = MAPPER.with_labels({"Tier": "rank"})
    assert mapper.version == MAPPER.version
    assert (mapper.mapping, mapper.rules) == (MAPPER.mapping, MAPPER.rules)
    assert custom(MAPPER, extra={"Tier": 1}) == {"tier": 1}
    assert custom(mapper.with_labels({}), extra={"Tier": 1}) == {"tier": 1}


def test_a_declared_label_is_read_as_declared_under_its_bound_key_unless_it_has_a_key_of_its_own():
    assert custom(MAPPER.with_labels({"Kick-off Day": "kickoff"}), extra={"Kick-off Day": 1}) == {
        "kickoff": "1970-01-02"
    }
    keyed = Mapper(small(('{ as = "day" }', '{ key = "start", as = "day" }')), USD)
    assert custom(keyed.with_labels({"Kick-off Day": "kickoff"}), extra={"Kick-off Day": 1}) == {"start": "1970-01-02"}


def test_a_table_may_speak_of_a_field_by_the_key_it_is_bound_to():
    table = small(('"Kick-off Day"', '"kickoff"'), ('"Secret Note"', '"secret"'))
    mapper = Mapper(table, USD).with_labels({"Start of Work": "kickoff", "Not for You": "secret"})
    assert custom(mapper, extra={"Start of Work": 1, "Not for You": 2}) == {"kickoff": "1970-01-02"}


def test_an_entry_that_names_a_bound_record_key_speaks_of_that_field_alone():
    table = small(('"Kick-off Day"', '"size"'))
    mapper = Mapper(table, USD).with_labels({"Size": "size", "size": "size_2"})
    assert custom(mapper, extra={"Size": "big", "size": 1}) == {"size": "big", "size_2": "1970-01-02"}


def test_an_entry_for_one_label_of_an_object_speaks_of_no_other_label_with_the_same_slug():
    table = small(('"Kick-off Day" = { as', '"Deal-Size" = { key = "size_2", as'))
    mapper = Mapper(table, USD).with_labels({"Deal Size": "deal_size"})
    assert custom(mapper, extra={"Deal Size": 7}) == {"deal_size": 7}


@pytest.mark.parametrize("bound", sorted(RESERVED))
def test_a_bound_key_that_the_ledger_reserves_is_prefixed_and_said_so(bound: str):
    found = mapped(MAPPER.with_labels({"X": bound}), record(extra={"X": 1}))
    assert found.state.custom[f"acme_{bound}"] == 1
    assert found.flags == ("custom_key_prefixed",)


def test_a_bound_key_that_a_rule_of_the_table_has_parks():
    assert problem(MAPPER.with_labels({"X": "title"}), record(extra={"X": 1})).reason == "KEY_COLLISION"


def test_two_record_keys_bound_to_one_key_park_a_record_that_bears_both():
    mapper = MAPPER.with_labels({"Old": "key", "New": "key"})
    assert custom(mapper, extra={"Old": 1}) == custom(mapper, extra={"New": 1}) == {"key": 1}
    for order in permutations({"Old": 1, "New": 2}.items()):
        assert problem(mapper, record(extra=dict(order))).reason == "KEY_COLLISION"


def test_record_keys_with_the_prefix_are_custom_fields_under_the_key_their_definition_is_bound_to():
    mapper = PREFIXED.with_labels({"cf_11": "risk_score"})
    assert custom(mapper, cf_11=3, cf_12="x", cf=9) == {"risk_score": 3, "cf_12": "x"}
    assert mapped(mapper, record(cf_11=3, cf_12="x", cf=9)).drift == ("cf",)


def test_a_key_with_the_prefix_that_another_rule_reads_or_ignores_is_no_custom_field():
    table = small((FROM, 'prefix = "cf_"'), ("seats =", 'own = { from = "cf_1" }\nseats ='), ("updated =", "cf_2 ="))
    found = mapped(Mapper(table, USD), record(cf_1="a", cf_2="b", cf_3="c"))
    assert dict(found.state.custom) == {"currency": "USD", "own": "a", "cf_3": "c"}
    assert found.drift == ()


def test_with_a_prefix_declared_and_ignored_fields_are_known_by_label_bound_key_or_record_key():
    for name in ("Kick-off Day", "kick_off_day", "cf_1"):
        mapper = Mapper(small((FROM, 'prefix = "cf_"'), ('"Kick-off Day"', f'"{name}"')), USD)
        key = "cf_1" if name == "cf_1" else "kick_off_day"
        labels = {} if name == "cf_1" else {"cf_1": "kick_off_day"}
        assert custom(mapper.with_labels(labels), cf_1=1) == {key: "1970-01-02"}
    for name in ("Secret Note", "secret_note", "cf_2"):
        mapper = Mapper(small((FROM, 'prefix = "cf_"'), ('"Secret Note"', f'"{name}"')), USD)
        assert custom(mapper.with_labels({"cf_2": "secret_note"}), cf_2=1) == {}


def test_a_collision_among_keys_with_the_prefix_names_the_record_key():
    found = problem(PREFIXED.with_labels({"cf_1": "title"}), record(cf_1=1))
    assert found.message.startswith("'cf_1': its custom key 'title' is taken by [deals.custom] title")


@pytest.mark.parametrize(
    ("extra", "read"),
    [
        ('{"Tier": 1.50, "Tags": ["a"]}', {"tier": 1.5, "tags": ["a"]}),
        ({"Tier": 1}, {"tier": 1}),
        ('"{}"', None),
        ("{}", {}),
        ("", {}),
        (" ", {}),
        ("null", {}),
        ("[]", {}),
        ([], {}),
        (None, {}),
        ("[1]", None),
        ([1], None),
        ("3", None),
        (3, None),
        ("{", None),
        ('{"Tier": NaN}', None),
        ('{"Tier": 1, "Tier": 2}', None),
        ("[" * 5000, None),
        ("9" * 5000, None),
    ],
)
def test_an_object_inside_a_text_is_read_where_the_table_says_so(extra: Any, read: dict[str, Any] | None):
    if read is None:
        found = problem(QUOTED, record() | {"extra": extra})
        assert (found.field, found.reason) == ("extra", "BAD_VALUE")
        assert len(found.message) < 200
    else:
        assert custom(QUOTED, extra=extra) == read


def test_an_object_inside_a_text_is_not_read_elsewhere():
    for extra in ("{}", [], ""):
        assert problem(MAPPER, record(extra=extra)).reason == "BAD_VALUE"


@settings(deadline=None, max_examples=150, derandomize=True)
@given(json_values.filter(lambda value: not isinstance(value, str)), st.text(max_size=30))
def test_nothing_in_a_quoted_or_prefixed_field_makes_the_mapper_raise(value: Any, text: str):
    for what in ({"extra": value, "cf_1": value}, {"extra": text, "cf_" + text: text}):
        for mapper in (QUOTED, PREFIXED.with_labels({"cf_1": "stage"})):
            outcome = mapper.map("deals", {**record(), **what})
            mapper.origins("deals", {**record(), **what})
            if isinstance(outcome, Mapped):
                assert not RESERVED & outcome.state.custom.keys()


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=5), max_size=4))
def test_a_quoted_object_reads_as_the_object_itself(extra: dict[str, Any]):
    outcomes = [QUOTED.map("deals", record() | {"extra": each}) for each in (extra, json.dumps(extra))]
    assert outcomes[0] == outcomes[1]


labels = st.sampled_from(["Stage", "acme stage", "Risk", "risk", " Risk ", "", "***", "a" * 90, "Стадия"]) | st.text()
definitions = st.lists(
    st.tuples(st.sampled_from([f"id{number}" for number in range(9)]), st.text(max_size=9), labels), max_size=14
)


@settings(deadline=None, max_examples=200)
@given(definitions, definitions)
def test_a_binding_never_changes_and_no_two_fields_share_a_key(
    first: list[tuple[str, str, str]], later: list[tuple[str, str, str]]
):
    bound = bind("acme", first, {})
    again = bind("acme", [*later, *first], bound)
    assert {name: again[name] for name in bound} == bound
    assert set(again) == {name for name, _, _ in [*first, *later]}
    passing = [custom_key("acme", key, RESERVED) for key in again.values()]
    assert len(set(passing)) == len(passing)
    assert all(re.fullmatch("[a-z0-9][a-z0-9_]*", key) and len(key) <= LONGEST_SLUG for key in again.values())
    assert bind("acme", first, {}) == bound


@settings(deadline=None)
@given(definitions)
def test_binding_in_one_go_or_field_by_field_is_the_same(defined: list[tuple[str, str, str]]):
    bound: dict[str, str] = {}
    for each in defined:
        bound = bind("acme", [each], bound)
    assert bound == bind("acme", defined, {})


def test_a_field_takes_the_slug_of_its_label_and_digits_of_its_own_where_that_is_taken():
    defined = [
        ("f1", "cf_1", "Risk Score"),
        ("f2", "cf_2", "risk score"),
        ("f3", "cf_3", " "),
        ("f4", "cf_4", "x" * 64),
    ]
    bound = bind("acme", defined, {"f0": "x" * 64})
    assert bound == {
        "f0": "x" * 64,
        "f1": "risk_score",
        "f2": "risk_score_e4ab4e3b",
        "f3": "cf_3",
        "f4": "x" * 55 + "_608cdb52",
    }


def test_a_field_whose_own_digits_are_taken_too_gets_others():
    bound = {"f0": "risk", "f1": "risk_e4ab4e3b"}
    key = bind("acme", [("f2", "cf_2", "Risk")], bound)["f2"]
    assert re.fullmatch("risk_[0-9a-f]{8}", key)
    assert key not in bound.values()


def test_a_key_that_would_pass_as_the_prefixed_form_of_another_is_taken():
    bound = bind("acme", [("f1", "k1", "Stage"), ("f2", "k2", "Acme Stage")], {})
    assert bound["f1"] == "stage"
    assert re.fullmatch("acme_stage_[0-9a-f]{8}", bound["f2"])


def test_a_relabelled_field_keeps_its_key_when_it_is_bound_again():
    bound = bind("acme", [("f1", "Region", "Region")], {})
    again = bind("acme", [("f1", "Sales Region", "Sales Region"), ("f2", "Region", "Region")], bound)
    assert again["f1"] == slug("Region")
    assert again["f2"] != again["f1"]
