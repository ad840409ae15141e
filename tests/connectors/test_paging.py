"""A list read by offset while it moves: nothing that was there all the time is missed, and no walk is endless."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.paging import (
    BY_ID,
    EMPTY_BETWEEN,
    MOVING,
    NEWEST_FIRST,
    OUT_OF_ORDER,
    Fetched,
    OffsetWalk,
    PagedBadly,
    Place,
    Step,
    each_once,
)
from connectors.slicing import Sliced
from connectors.source import Record, Spoiled


class Listing:
    """A list kept by somebody else: what it serves can be changed between two requests, and it may misbehave."""

    def __init__(self, count: int = 0, *, clamp: int = 10_000) -> None:
        self.rows = {f"{number:06}": f"v{number:06}" for number in range(count)}
        self.clamp = clamp
        self.asked: list[tuple[int, int]] = []
        self.between: Callable[[int], None] = lambda _: None
        self.arranged: Callable[[list[Record]], list[Record]] = lambda rows: sorted(rows, key=lambda r: r.source_id)
        self.served: Callable[[int, list[Record]], list[Record]] = lambda _, rows: rows

    def page(self, offset: int, limit: int) -> Fetched:
        self.between(len(self.asked))
        self.asked.append((offset, limit))
        assert len(self.asked) < 2_000, "the walk does not end"
        rows = self.arranged([Record(source_id, version, b"{}", "deals") for source_id, version in self.rows.items()])
        shown = self.served(offset, rows[offset : offset + min(limit, self.clamp)])
        return Fetched(Sliced(shown, [], [record.source_id for record in shown]), f"t{len(self.asked)}")

    def walk(self, limit: int = 10, overlap: int = 3, start: Place | None = None) -> OffsetWalk:
        return OffsetWalk(self.page, limit=limit, overlap=overlap, order=BY_ID, start=start)

    def walk_newest(self, limit: int = 10, overlap: int = 3) -> OffsetWalk:
        self.arranged = lambda rows: sorted(rows, key=lambda row: row.version or "", reverse=True)
        return OffsetWalk(self.page, limit=limit, overlap=overlap, order=NEWEST_FIRST)


def ids(steps: Iterator[Step]) -> set[str]:
    return {record.source_id for step in steps for record in step.fetched.rows.records}


def test_an_empty_list_takes_one_request():
    listing = Listing()
    assert list(listing.walk().steps()) == []
    assert listing.asked == [(0, 10)]


def test_pages_overlap_and_the_end_is_an_empty_page():
    listing = Listing(25)
    walk = listing.walk()
    assert ids(walk.steps()) == set(listing.rows)
    assert [offset for offset, _ in listing.asked] == [0, 7, 14, 21, 22, 25]
    assert walk.doubts == ()


@pytest.mark.parametrize("clamp", [1, 2, 3, 4, 7])
def test_a_clamped_limit_is_stepped_by_what_came(clamp: int):
    listing = Listing(23, clamp=clamp)
    walk = listing.walk()
    assert ids(walk.steps()) == set(listing.rows)
    assert walk.doubts == ()


def test_rows_deleted_between_pages_hide_no_other_row():
    listing = Listing(200)

    def delete(request: int) -> None:
        if request == 4:
            for number in range(25):
                listing.rows.pop(f"{number:06}")

    listing.between = delete
    walk = listing.walk()
    assert ids(walk.steps()) == {f"{number:06}" for number in range(200)}
    assert walk.doubts == ()


def test_a_row_appended_behind_a_row_that_moved_is_found_at_the_end_check():
    listing = Listing(12)

    def between(request: int) -> None:
        if request == 3:  # the request for the empty page
            listing.rows.pop("000000")
            listing.rows |= {"000012": "v", "000013": "v"}

    listing.between = between
    walk = listing.walk()
    assert {"000012", "000013"} <= ids(walk.steps())


@settings(deadline=None, max_examples=300)
@given(
    count=st.integers(0, 60),
    limit=st.integers(2, 12),
    overlap=st.integers(1, 4),
    clamp=st.integers(2, 12),
    moves=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["delete", "insert", "restore"]), st.integers(0, 80))),
)
def test_whatever_moves_a_row_that_was_there_all_the_time_is_read(
    count: int, limit: int, overlap: int, clamp: int, moves: list[tuple[int, str, int]]
):
    listing = Listing(count, clamp=clamp)
    always = set(listing.rows)
    restored = next((when for when, what, _ in moves if what == "restore"), None)  # several look like a repeated page

    def between(request: int) -> None:
        for when, what, number in moves:
            if when == request and what == "delete":
                always.discard(f"{number:06}")
                listing.rows.pop(f"{number:06}", None)
            elif when == request and (what == "insert" or when == restored):
                listing.rows.setdefault(f"{number + (100 * (request + 1) if what == 'insert' else 0):06}", "v")

    listing.between = between
    walk = listing.walk(limit, overlap)
    try:
        read = ids(walk.steps())
    except PagedBadly as fault:
        assert not listing.rows or (restored is not None and "come again" in str(fault))  # noqa: PT017
        return
    assert always <= read


@settings(deadline=None, max_examples=100)
@given(count=st.integers(0, 60), cut=st.integers(0, 9), deleted=st.sets(st.integers(0, 60)))
def test_a_walk_cut_off_anywhere_is_resumed_without_a_gap(count: int, cut: int, deleted: set[int]):
    listing = Listing(count)
    place, read = Place(), set[str]()
    for number, step in enumerate(listing.walk().steps()):
        read |= {record.source_id for record in step.fetched.rows.records}
        place = step.place
        if number == cut:
            break
    for number in deleted:
        listing.rows.pop(f"{number:06}", None)
    try:
        read |= ids(listing.walk(start=place).steps())
    except PagedBadly:
        assert not listing.rows
    assert set(listing.rows) <= read


def test_a_page_repeated_for_ever_ends_the_walk_within_two_repeats():
    listing = Listing(40)
    whole = listing.page(0, 10).rows.records
    listing.served = lambda _, __: whole
    with pytest.raises(PagedBadly, match="the same 10 rows come again"):
        list(listing.walk().steps())
    assert len(listing.asked) <= 4


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_a_short_page_repeated_for_ever_is_told_too(count: int):
    listing = Listing(count)
    whole = listing.page(0, 10).rows.records
    listing.served = lambda _, __: whole
    with pytest.raises(PagedBadly, match="come again"):
        list(listing.walk().steps())


def test_a_page_of_nothing_but_spoiled_rows_repeated_for_ever_ends_too():
    spoiled = [Spoiled(None, b"null", "RECORD_SHAPE", "null")] * 4
    same = Fetched(Sliced([], spoiled, ["digest"] * 4), "t")
    with pytest.raises(PagedBadly, match="come again"):
        list(OffsetWalk(lambda *_: same, limit=4, overlap=1, order=BY_ID).steps())


def test_an_empty_page_too_early_is_not_the_end():
    listing = Listing(100)
    listing.served = lambda offset, rows: [] if offset > 30 else rows
    with pytest.raises(PagedBadly, match=r"empty page came at offset 3\d, where the source has rows"):
        list(listing.walk().steps())


def test_an_empty_page_that_was_a_hiccup_leaves_a_doubt_only():
    listing = Listing(40)
    listing.served = lambda _, rows: [] if len(listing.asked) == 3 else rows
    walk = listing.walk()
    assert ids(walk.steps()) == set(listing.rows)
    assert walk.doubts == (EMPTY_BETWEEN,)


def test_a_list_that_becomes_empty_while_it_is_read_concludes_nothing():
    listing = Listing(40)
    listing.served = lambda _, rows: rows if len(listing.asked) < 3 else []
    with pytest.raises(PagedBadly, match="became empty"):
        list(listing.walk().steps())


def test_a_list_out_of_order_is_read_without_relying_on_it_and_doubted():
    listing = Listing(57)
    order = sorted(listing.rows, key=lambda _: Random(7).random())
    Random(3).shuffle(order)
    listing.arranged = lambda rows: sorted(rows, key=lambda row: order.index(row.source_id))
    walk = listing.walk()
    steps = list(walk.steps())
    assert ids(iter(steps)) == set(listing.rows)
    assert walk.doubts == (OUT_OF_ORDER,)
    assert not steps[-1].place.ordered
    resumed = listing.walk(start=steps[2].place)
    assert ids(iter(steps[:3])) | ids(resumed.steps()) == set(listing.rows)
    assert resumed.doubts == (OUT_OF_ORDER,)


def test_a_list_shuffled_anew_for_each_request_still_ends():
    listing, dice = Listing(300), Random(5)
    listing.arranged = lambda rows: dice.sample(rows, len(rows))
    walk = listing.walk()
    try:
        list(walk.steps())
    except PagedBadly:
        return
    assert OUT_OF_ORDER in walk.doubts


def test_newest_first_follows_the_order_of_versions():
    listing = Listing(30)
    walk = listing.walk_newest()
    versions = [record.version for step in walk.steps() for record in step.fetched.rows.records]
    assert versions[0] == "v000029"
    assert set(versions) == set(listing.rows.values())
    assert walk.doubts == ()


def test_records_without_a_version_do_not_break_the_order():
    listing = Listing(30)
    walk = listing.walk_newest()
    by_version = listing.arranged
    listing.arranged = lambda rows: [
        Record(row.source_id, None if number % 7 == 0 else row.version, row.raw, row.kind)
        for number, row in enumerate(by_version(rows))
    ]
    assert ids(walk.steps()) == set(listing.rows)
    assert walk.doubts == ()


def test_versions_out_of_order_across_pages_are_noticed():
    listing = Listing(30)
    walk = listing.walk_newest(limit=2, overlap=1)
    listing.arranged = lambda rows: sorted(rows, key=lambda row: row.source_id)
    next(steps := walk.steps())
    list(steps)
    assert OUT_OF_ORDER in walk.doubts


def test_records_edited_while_walking_newest_first_hide_no_other_change():
    listing = Listing(60)

    def edit(request: int) -> None:
        for number in range(5):
            listing.rows[f"{(request * 7 + number) % 60:06}"] = f"w{request:03}{number}"

    listing.between = edit
    walk = listing.walk_newest()
    read = ids(walk.steps())
    assert {source_id for source_id, version in listing.rows.items() if version.startswith("v")} <= read
    assert walk.doubts == ()


def test_all_equal_versions_are_walked_by_shared_rows():
    listing = Listing(40)
    listing.rows = dict.fromkeys(listing.rows, "same")
    walk = listing.walk_newest()
    assert ids(walk.steps()) == set(listing.rows)
    assert walk.doubts == ()


def test_rows_that_moved_out_of_sight_leave_a_doubt():
    listing = Listing(40)
    walk = listing.walk_newest()
    listing.rows = dict.fromkeys(listing.rows, "same")

    def replace(request: int) -> None:
        if request == 1:
            listing.rows = {f"n{number:05}": "same" for number in range(40)}

    listing.between = replace
    list(walk.steps())
    assert MOVING in walk.doubts


def test_a_walk_that_looked_far_back_is_not_taken_for_one_that_repeats_itself():
    listing = Listing(60)

    def delete(request: int) -> None:
        if request == 20:
            for number in range(9):
                listing.rows.pop(f"{number:06}")

    listing.between = delete
    assert "000059" in ids(listing.walk(limit=2, overlap=1).steps())


def test_looking_back_in_vain_is_not_tried_again_for_every_page():
    listing = Listing()
    walk = listing.walk_newest()

    def replace(request: int) -> None:
        listing.rows = {f"{request:03}-{number:03}": "same" for number in range(100)}

    listing.between = replace
    list(walk.steps())
    assert len(listing.asked) <= 20


def test_what_a_page_shares_with_the_one_before_comes_once():
    pages = [[Record(name, None, b"{}", "users") for name in names] for names in ("abc", "bcd", "", "de")]
    assert [[one.source_id for one in page] for page in each_once(pages)] == [["a", "b", "c"], ["d"], [], ["d", "e"]]
