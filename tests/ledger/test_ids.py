"""Ids: a deal's is always the same, an event's is always greater than the one before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.ids import deal_id, ulids

AT = "2026-04-22T10:15:30.123Z"


def test_a_deal_has_one_id_in_an_org():
    assert deal_id("org_a", "x:1") == deal_id("org_a", "x:1")
    assert len({deal_id("org_a", "x:1"), deal_id("org_b", "x:1"), deal_id("org_a", "x:2")}) == 3
    assert deal_id("org_a", "x:1").startswith("deal_api_org_a_")


@given(st.integers(1, 3000))
def test_ulids_of_a_batch_ascend_and_are_26_characters(count: int):
    made = ulids(AT, count)
    assert made == sorted(set(made))
    assert len(made) == count
    assert {len(one) for one in made} == {26}
    assert {one[:10] for one in made} == {"01KPTB03JB"}


def test_batches_of_one_millisecond_follow_each_other():
    last = ""
    for _ in range(200):
        made = ulids(AT, 3, last)
        assert last < made[0]
        last = made[-1]


@pytest.mark.parametrize("tail", ["ZZZZZZ", "ZZZZZZZZZZ", "0ZZZZZZZ", "ZZZZZW", "ZZZZZZZZZY"])
def test_counting_up_carries_over_into_the_drawn_part(tail: str):
    last = "01KPTB03JB" + "0" * (16 - len(tail)) + tail
    made = ulids(AT, 5, last)
    assert last < made[0]
    assert made == sorted(set(made))


def test_the_time_comes_first():
    assert ulids("2026-04-22T10:15:30.000Z", 1) < ulids("2026-04-22T10:15:30.001Z", 1)
