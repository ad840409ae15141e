"""Hops: the moves that a record remembers, each with an identity, in the order they were made or in none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.mapper import Hop, Mapper, Rules
from tests.mappings.tables import USD, mapped, record, small

HISTORY = (
    "[deals.close_date]",
    '[deals.stage.history]\nfrom = "moves"\nstage = ["to_stage", "to"]\n\n[deals.close_date]',
)
ORDERED = (HISTORY[0], HISTORY[1].replace('"to"]', '"to"]\nbefore = ["from_stage", "from"]\nat = "at"'))
WITHIN = (
    "[deals.close_date]",
    '[deals.stage.within]\nfrom = "pipeline"\n\n[deals.stage.within.words."emea"]\n"Won" = "emea_won"\n'
    '"Demo" = "emea_demo"\n\n[deals.close_date]',
)
PASSES = ('from = "stage"', 'from = "stage"\nunmapped = "pass"')
REMEMBERING = Mapper(small(WITHIN, HISTORY), USD)
ORDERING = Mapper(small(ORDERED, PASSES), USD)


def hops(moves: Any, mapper: Mapper = REMEMBERING, stage: str = "Won", **fields: Any) -> list[str]:
    return [hop.stage for hop in mapped(mapper, record(moves=moves, stage=stage, **fields)).hops]


def test_stage_moves_are_read_oldest_first_by_the_words_of_the_records_own_pipeline():
    moves = [{"to_stage": "Open", "at": 1}, {"to": "Won", "at": 2}]
    assert hops(moves) == ["open", "closed_won"]
    assert hops([{"to": "Demo"}, {"to": "Won"}], pipeline="emea") == ["emea_demo", "emea_won"]
    assert mapped(REMEMBERING, record(moves=moves)).flags == ()


def test_moves_are_told_in_the_order_they_were_made_whichever_of_them_the_source_keeps_first():
    """The last one has led to the record's own stage."""
    moves = [{"to": "Open", "at": 1}, {"to": "Won", "at": 2}, {"to": "Open", "at": 3}, {"to": "Won", "at": 4}]
    told = ["open", "closed_won", "open", "closed_won"]
    assert hops(moves) == hops(moves[::-1]) == told
    assert hops(moves[:3], stage="Open") == hops(moves[2::-1], stage="Open") == told[:3]
    timeless = [{"to": "Open"}, {"to": "Won"}] * 2
    one, other = (mapped(REMEMBERING, record(moves=kept, stage="Won")).hops for kept in (timeless, timeless[::-1]))
    assert one == other


def test_a_list_of_moves_inside_a_text_is_read_too():
    moves = [{"to_stage": "Open", "value": 1.5}, {"to": "Won"}]
    assert hops(json.dumps(moves)) == ["open", "closed_won"]
    assert mapped(REMEMBERING, record(moves=json.dumps(moves))).hops == mapped(REMEMBERING, record(moves=moves)).hops


@pytest.mark.parametrize("moves", [None, "", " ", [], "[]", "null"])
def test_no_moves_are_no_hops_and_nothing_to_tell(moves: Any):
    found = mapped(REMEMBERING, record(moves=moves))
    assert (found.hops, found.flags, found.drift) == ((), (), ())
    assert mapped(REMEMBERING, record()).hops == ()


@pytest.mark.parametrize(
    "moves",
    [
        [{"to": "Won"}, {"to": "Nobody knows it"}],
        [{"to": "Won"}, {"from": "Open"}],
        [{"to": "Won"}, {"to": None}],
        [{"to": "Won"}, {"to": 3}],
        [{"to": "Won"}, "Open"],
        [{"to": "Won"}, {"to": "Open", "note": "a\x00b"}],
        [{"to": "Won"}, ["Open"], 1, None],
    ],
)
def test_a_move_that_cannot_be_read_is_left_out_and_the_record_flagged_once(moves: Any):
    found = mapped(REMEMBERING, record(moves=moves))
    assert ([hop.stage for hop in found.hops], found.flags) == (["closed_won"], ("stage_hop_unread",))


@pytest.mark.parametrize("moves", [3, {"to": "Won"}, "Won", '{"to": "Won"}', "[", '[{"to": "Won", "to": "Open"}]'])
def test_moves_that_are_no_list_are_flagged_and_park_nothing(moves: Any):
    found = mapped(REMEMBERING, record(moves=moves))
    assert (found.hops, found.flags) == ((), ("stage_hop_unread",))


def test_an_unknown_word_in_a_move_passes_where_stages_pass():
    assert hops([{"to": " Legal "}], Mapper(small(HISTORY, PASSES), USD)) == ["Legal"]


def test_moves_are_not_read_where_the_connection_says_so_and_are_no_drift():
    mapper = Mapper(small(HISTORY), Rules(ledger_currency="USD", stage_history=False))
    found = mapped(mapper, record(moves=[{"to": "Won"}, {"to": 3}]))
    assert (found.hops, found.flags, found.drift) == ((), (), ())


entries = st.fixed_dictionaries({"to": st.sampled_from(["Open", "Won"])}, optional={"at": st.integers(0, 2)})


@settings(deadline=None)
@given(st.lists(entries, max_size=8), st.lists(entries, max_size=4))
def test_a_move_keeps_its_identity_while_others_are_added_behind_it_and_shares_it_with_none(
    first: list[Mapping[str, Any]], added: list[Mapping[str, Any]]
):
    stages = [move["to"] for move in [*first, *added]] or ["Open"]
    before = mapped(REMEMBERING, record(moves=first, stage=stages[max(0, len(first) - 1)])).hops
    after = mapped(REMEMBERING, record(moves=[*first, *added], stage=stages[-1])).hops
    assert after[: len(before)] == before
    assert len({hop.entry for hop in after}) == len(after) == len(first) + len(added)


def test_a_move_written_in_another_order_of_keys_or_digits_is_the_same_move():
    one, other = '[{"to": "Won", "value": 1.50}]', '[{"value": 1.5, "to": "Won"}]'
    (first,), (second,) = (mapped(REMEMBERING, record(moves=moves)).hops for moves in (one, other))
    assert first == second == Hop(first.entry, "closed_won")
    assert len(first.entry) == 32


def walked(*stages: str, times: Sequence[Any] = (), chained: bool = True) -> list[dict[str, Any]]:
    """The entries of a walk from its first stage through all the others, the oldest first."""
    entries: list[dict[str, Any]] = [{"to": after} for after in stages[1:]]
    if chained:
        entries = [{**entry, "from": before} for entry, before in zip(entries, stages, strict=False)]
    return [{**entry, "at": at} for entry, at in zip(entries, times, strict=True)] if times else entries


def told(entries: Sequence[Any], stage: str | None) -> list[str] | None:
    """The stages that the moves led to as they are told; None where they are told in no order."""
    found = mapped(ORDERING, record(moves=list(entries), stage=stage))
    assert found.hops_ordered == ("stage_hop_unordered" not in found.flags)
    return [hop.stage for hop in found.hops] if found.hops_ordered else None


walks = st.lists(st.sampled_from("ABC"), min_size=2, max_size=9).map(
    lambda stages: [stages[0], *(other for one, other in pairwise(stages) if one != other)]
)
steps = st.lists(st.integers(0, 1), min_size=9, max_size=9)


@settings(deadline=None, max_examples=400)
@given(walks, st.booleans(), st.none() | steps)
def test_a_walk_whose_moves_go_on_from_one_another_is_told_as_it_was_whichever_end_is_listed_first(
    stages: list[str], newest_first: bool, gaps: list[int] | None
):
    times = [sum(gaps[:number]) for number, _ in enumerate(stages[1:])] if gaps else ()
    entries = walked(*stages, times=times)
    assert told(entries[::-1] if newest_first else entries, stages[-1]) == stages[1:]


@settings(deadline=None, max_examples=400)
@given(walks, st.booleans(), steps, st.booleans())
def test_a_walk_of_which_less_is_said_is_told_as_it_was_or_in_no_order(
    stages: list[str], newest_first: bool, gaps: list[int], timed: bool
):
    times = [sum(gaps[:number]) for number, _ in enumerate(stages[1:])] if timed else ()
    entries = walked(*stages, times=times, chained=False)
    found = told(entries[::-1] if newest_first else entries, stages[-1])
    assert found in (stages[1:], None)
    doubtful = len(set(times)) < 2 and stages[1:2] == stages[-1:] and len(set(stages[1:])) > 2
    assert (found is None) == doubtful


def test_there_and_back_over_three_stages_is_told_from_the_newest_too():
    entries = walked("A", "B", "C", "A", "B")
    assert told(entries, "B") == told(entries[::-1], "B") == ["B", "C", "A", "B"]
    timed = walked("A", "B", "C", "A", "B", times=[1, 1, 2, 2], chained=False)
    assert told(timed, "B") == told(timed[::-1], "B") == ["B", "C", "A", "B"]
    assert told(walked("A", "B", "C", "A", "B", chained=False), "B") is None


@pytest.mark.parametrize(
    ("times", "compared"),
    [
        (["2026-03-01T10:00:00Z", "2026-03-01T11:00:00+02:00", None], True),
        (["2026-03-01T10:00:00", "2026-03-01T09:00:00.5Z", "later"], True),
        ([None, "2026-03-01", " 2026-02-28 "], True),
        ([3, 2.5, 1], True),
        ([10**40, True, -1], True),
        ([None, "2026-03-01", None], False),
        ([1, 1, 1], False),
        (["2026-03-01T10:00:00Z", "2026-03-01T12:00:00+02:00", ["2026"]], False),
    ],
)
def test_times_are_compared_as_moments_however_they_are_written(times: list[Any], compared: bool):
    entries = walked("A", "B", "C", "D", times=times[::-1], chained=False)
    assert told(entries[::-1], "A") == (["B", "C", "D"] if compared else None)


@pytest.mark.parametrize("times", [["2026-03-01", 7, "2026-03-02", 8], [1, 3, 2, 4]])
def test_times_of_two_kinds_or_that_rise_and_fall_say_nothing(times: list[Any]):
    assert told(walked("A", "B", "C", "A", "B", times=times, chained=False), "B") is None
    assert told(walked("A", "B", "C", "A", "B", times=times), "B") == ["B", "C", "A", "B"]


def test_where_times_and_the_way_itself_contradict_each_other_no_order_is_made_up():
    entries = walked("A", "B", "C", "D", times=[3, 2, 1])
    assert told(entries, "D") is None
    assert told(walked("A", "B", "C")[::-1], "B") is None, "the stage says that B was last, the moves that C was"


def test_where_the_times_are_clear_a_stage_that_no_move_led_to_does_not_matter():
    entries = walked("A", "B", "C", times=[1, 2], chained=False)
    for stage in ("B", "Elsewhere", None):
        assert told(entries, stage) == told(entries[::-1], stage) == ["B", "C"]


def test_a_record_without_a_stage_says_nothing_of_the_order():
    assert told([3, *walked("A", "B", "C", "A", chained=False)], None) is None


def test_a_move_that_cannot_be_read_still_says_where_the_others_went_on_from():
    table = Mapper(small(ORDERED, ('"Open" = "open"', '"Open" = "open"\n"Lost" = "closed_lost"')), USD)
    entries = walked("Open", "Won", "Open", "Nobody knows it", "Lost", "Won")
    for listed in (entries, entries[::-1]):
        found = mapped(table, record(moves=listed, stage="Won"))
        assert [hop.stage for hop in found.hops] == ["closed_won", "open", "closed_lost", "closed_won"]
        assert found.flags == ("stage_hop_unread",)


def test_moves_in_no_known_order_keep_their_identities_and_the_record_is_mapped():
    entries = walked("A", "B", "C", "A", "B", chained=False)
    one, other = (mapped(ORDERING, record(moves=listed, stage="B")) for listed in (entries, entries[::-1]))
    assert one.flags == other.flags == ("stage_passed", "stage_hop_unordered")
    assert {hop.entry for hop in one.hops} == {hop.entry for hop in other.hops}
    assert len({hop.entry for hop in one.hops}) == 4
