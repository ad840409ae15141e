"""Diff: what a change is called."""

from __future__ import annotations

from msgspec.structs import replace

from deals.diff import Change, diff, fold, tombstone
from deals.events import EventType
from deals.state import DealState

BEFORE = DealState(amount_cents=10_000, stage="negotiation", custom={"region": "emea"})


def test_the_first_sight_of_a_deal_is_an_upsert():
    assert diff(None, BEFORE) == Change(EventType.UPSERT, BEFORE)


def test_a_deal_that_did_not_change_makes_no_event():
    assert diff(BEFORE, replace(BEFORE)) is None


def test_only_the_stage_is_a_stage_change():
    assert diff(BEFORE, replace(BEFORE, stage="closed_won")).event_type == "stage_change"


def test_only_the_amount_is_an_amount_change():
    assert diff(BEFORE, replace(BEFORE, amount_cents=None)).event_type == "amount_change"


def test_two_fields_at_once_are_one_upsert():
    assert diff(BEFORE, replace(BEFORE, stage="closed_won", amount_cents=1)).event_type == "upsert"


def test_true_and_one_are_different_custom_values():
    one, true = replace(BEFORE, custom={"vip": 1}), replace(BEFORE, custom={"vip": True})
    assert diff(one, true).event_type == "upsert"


def test_a_tombstone_pays_nothing_and_a_return_from_it_is_an_upsert():
    gone = tombstone(BEFORE)
    assert (gone.event_type, gone.state.amount_cents, gone.state.custom["deleted"]) == ("delete", 0, True)
    assert diff(gone.state, BEFORE) == Change(EventType.UPSERT, BEFORE)


def test_the_state_of_a_history_is_its_last_snapshot():
    history = [diff(None, BEFORE), diff(BEFORE, replace(BEFORE, stage="won"))]
    assert fold(history).stage == "won"
    assert fold([]) is None
