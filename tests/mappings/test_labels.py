"""Labels: the fields a tenant invents pass under keys of their own, or park the record; never one over another."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest

from mappings.labels import REMEMBERED
from mappings.mapper import Mapper
from tests.mappings.tables import USD, mapped, problem, record, small

MAPPER = Mapper(small(), USD)


def custom(**fields: Any) -> dict[str, Any]:
    found = mapped(MAPPER, record(extra=fields))
    return {key: value for key, value in found.state.custom.items() if key != "currency"}


def test_every_field_passes_under_the_slug_of_its_label_with_its_value_in_canonical_form():
    fields = {"Forecast Category": "Commit", "Weight %": 29.2857, "Tiers?": [1.0, {"a": 2}], "VIP": True, "Gone": None}
    assert custom(**fields) == {
        "forecast_category": "Commit",
        "weight": Decimal("29.2857"),
        "tiers": [1, {"a": 2}],
        "vip": True,
        "gone": None,
    }


def test_the_text_for_nothing_counts_as_absent():
    assert custom(Region="undefined", Sector="Undefined") == {"sector": "Undefined"}


def test_a_declared_label_is_read_as_declared_and_an_ignored_one_is_left_out():
    assert custom(**{"Kick-off Day": 0, "Secret Note": "x"}) == {"kick_off_day": "1970-01-01"}
    found = problem(MAPPER, record(extra={"Kick-off Day": "soon"}))
    assert (found.field, found.reason) == ("kick_off_day", "BAD_VALUE")
    assert found.message.startswith("extra.'Kick-off Day': found 'soon'")


@pytest.mark.parametrize("label", ["Stage", "amount cents", "CUSTOM", "Close Date", "Owner External ID", "deleted"])
def test_a_name_that_the_ledger_reserves_is_prefixed_and_said_so(label: str):
    found = mapped(MAPPER, record(extra={label: 1, "Other": 2}))
    key = "acme_" + label.lower().replace(" ", "_")
    assert found.state.custom[key] == 1
    assert found.flags == ("custom_key_prefixed",)


def test_two_labels_with_one_key_park_the_record_whatever_their_order():
    labels = {"Deal Size": 1, "deal-size": 2, "Fine": 3}
    for order in permutations(labels.items()):
        found = problem(Mapper(small(), USD), record(extra=dict(order)))
        assert (found.field, found.reason) == ("deal_size", "KEY_COLLISION")
        assert "Deal Size" in found.message
        assert "deal-size" in found.message


@pytest.mark.parametrize(
    ("label", "by"),
    [
        ("Title", "[deals.custom] title"),
        ("Kick off day", "[deals.custom_fields.declared] 'Kick-off Day'"),
        ("Currency", "[deals.amount]"),
        ("FX rate", "[deals.amount]"),
    ],
)
def test_a_label_whose_key_a_rule_has_parks_even_when_that_rule_found_nothing(label: str, by: str):
    found = problem(MAPPER, record(extra={label: "x"}))
    assert found.reason == "KEY_COLLISION"
    assert f"is taken by {by}; give it a key of its own in [deals.custom_fields.declared]" in found.message


def test_a_declared_key_resolves_a_collision():
    table = small(
        ('"Kick-off Day" = { as = "day" }', '"Title" = { key = "job_title" }\n"Deal-Size" = { key = "size_2" }')
    )
    extra = {"Title": "CEO", "Deal Size": 1, "Deal-Size": 2}
    found = mapped(Mapper(table, USD), record(title="Renewal", extra=extra)).state.custom
    assert found == {"currency": "USD", "title": "Renewal", "job_title": "CEO", "deal_size": 1, "size_2": 2}


def test_an_object_that_is_none_parks():
    found = problem(MAPPER, record(extra=["a"]))
    assert found.message == "extra: found a list of 1 items; an object would be right"


def test_custom_fields_are_never_drift():
    assert mapped(MAPPER, record(extra={"Anything": 1})).drift == ()


def test_a_source_that_invents_labels_does_not_fill_the_memory():
    mapper = Mapper(small(), USD)
    labels = mapper._plans["deals"].labels
    assert labels is not None
    for number in range(REMEMBERED + 100):
        mapped(mapper, record(extra={f"Label {number}": 1}))
    assert len(labels._labels) == REMEMBERED
    assert mapped(mapper, record(extra={"Never Seen": 1})).state.custom["never_seen"] == 1
