"""Labels: a custom field keeps the key it was first seen under, whatever it is called later."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from connectors.source import Field, Record
from ledger.engine import connect
from pipeline.store.schema import STORE
from pipeline.store.session import Store
from tests.pipeline.landing import ONE, Landing, T

NAMED = """
source = "planhat"
[deals]
[deals.amount]
from = "total"
currency = "currency"
[deals.stage]
from = "stage"
unmapped = "pass"
[deals.close_date]
from = "closeDate"
[deals.owner]
from = "ownerId"
[deals.custom_fields]
from = "custom"
"""
FLAT = NAMED.replace('from = "custom"', 'prefix = "custom_field_"')


def record(at: str, **fields: object) -> Record:
    return Record(ONE, at, json.dumps({"_id": ONE, "total": 1, "currency": "USD", **fields}).encode(), "deals")


@pytest.fixture
def world(database_url: str) -> Iterator[Landing]:
    engine = connect(database_url)
    STORE.migrate(engine)
    yield Landing(Store(engine), NAMED)
    engine.dispose()


def custom(world: Landing) -> dict[str, object]:
    _, _, state = world.told()[-1]
    standard = ("amount_cents", "stage", "close_date", "owner_external_id", "currency")
    return {key: value for key, value in json.loads(state).items() if key not in standard}


def test_a_renamed_field_keeps_its_key_and_makes_no_event(world: Landing):
    world.define(NAMED, Field("f1", "Segment", "Segment"))
    world.land(record(T[0], custom={"Segment": "A"}), at=T[0])
    assert custom(world) == {"segment": "A"}
    world.define(NAMED, Field("f1", "Market Segment", "Market Segment"))
    counts = world.land(record(T[1], custom={"Market Segment": "A"}), at=T[1])
    assert (counts.unchanged, counts.events) == (1, 0)


def test_another_field_under_an_old_name_gets_a_key_of_its_own(world: Landing):
    world.define(NAMED, Field("f1", "Segment", "Segment"))
    world.define(NAMED, Field("f1", "Market", "Market"), Field("f2", "Segment", "Segment"))
    world.land(record(T[0], custom={"Market": "A", "Segment": "B"}))
    found = custom(world)
    assert found["segment"] == "A"
    assert sorted(found.values(), key=str) == ["A", "B"]


def test_a_field_of_the_record_itself_is_keyed_by_its_label(world: Landing):
    world.define(FLAT, Field("0b9f", "custom_field_0b9f", "Forecast Category"))
    world.land(record(T[0], custom_field_0b9f="commit"), at=T[0])
    assert custom(world) == {"forecast_category": "commit"}
    world.define(FLAT, Field("0b9f", "custom_field_0b9f", "Something Else"))
    assert world.land(record(T[1], custom_field_0b9f="commit"), at=T[1]).events == 0


def test_the_same_definitions_again_bind_nothing_new(world: Landing):
    world.define(NAMED, Field("f1", "Segment", "Segment"))
    before = world.scope.mapper
    world.define(NAMED, Field("f1", "Segment", "Segment"))
    assert before.version == world.scope.mapper.version
