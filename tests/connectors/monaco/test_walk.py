"""Numbered pages that overlap: whatever moves meanwhile, a row that is there all the time is read."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.monaco.lists import Listed
from connectors.monaco.walk import OLDEST_FIRST, SHORT, TIES, PageWalk, Place, Step, numbered
from connectors.paging import EMPTY_BETWEEN, MOVING, OUT_OF_ORDER, PagedBadly
from connectors.slicing import Sliced
from connectors.source import Record
from connectors.transport import Answer
from tests.connectors.wire import NOW

ANSWER = Answer(200, httpx.Headers(), b"", NOW, 1.0)


class Table:
    """A list of (seconds since the hour, id), sorted by the first; `meddle` is called before each page."""

    def __init__(self, rows: list[tuple[int, str]], *, largest: int = 500) -> None:
        self.rows = rows
        self.largest = largest
        self.pages: list[tuple[int, int]] = []
        self.meddle: Callable[[int], None] = lambda _: None
        self.total: Callable[[], int] = lambda: len(self.rows)
        self.sort: Callable[[tuple[int, str]], object] = lambda row: row

    def fetch(self, number: int, size: int) -> Listed:
        self.pages.append((number, size))
        self.meddle(len(self.pages))
        size = min(size, self.largest)
        start = (number - 1) * size
        rows = sorted(self.rows, key=self.sort)[start : start + size]  # type: ignore[arg-type]
        records = [record(at, name) for at, name in rows]
        return Listed(Sliced(records, [], [name for _, name in rows]), start, size, self.total(), ANSWER, None)

    def walk(self, size: int = 20, start: Place | None = None) -> list[Step]:
        return list(PageWalk(self.fetch, size=size, order=OLDEST_FIRST, start=start).steps())

    @property
    def ids(self) -> set[str]:
        return {name for _, name in self.rows}


def record(at: int, name: str) -> Record:
    created = f"2026-03-02T08:{at // 60:02d}:{at % 60:02d}Z"
    return Record(name, None, f'{{"id":"{name}","created_at":"{created}"}}'.encode(), "opportunities")


def table(count: int, **settings: int) -> Table:
    return Table([(at, f"row-{at:04d}") for at in range(count)], **settings)


def read(steps: list[Step]) -> set[str]:
    return {key for step in steps for key in step.listed.rows.keys}


# -- pages


@given(st.integers(2, 500), st.integers(0, 10**6), st.integers(0, 250))
def test_a_page_holds_the_place_it_has_to_and_reaches_beyond_what_was_read(size: int, position: int, ahead: int):
    end = position + min(ahead, size // 2) + (1 if position else 0)
    number, chosen = numbered(position, end, size)
    assert (number - 1) * chosen <= position < number * chosen
    assert number * chosen > end
    assert chosen <= 2 * size + 40


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 300])
def test_a_quiet_list_is_read_to_its_end_in_little_more_than_its_pages(count: int):
    rows = table(count)
    steps = rows.walk(size=50)
    assert read(steps) == rows.ids
    assert [step.done for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].doubts == ()
    assert len(rows.pages) <= 1 + count / 30


def test_full_pages_cost_a_tenth_more_than_pages_that_do_not_overlap():
    rows = table(3000)
    rows.walk(size=500)
    assert len(rows.pages) <= 7


def test_a_page_size_that_is_clamped_silently_is_followed():
    rows = table(130, largest=30)
    assert read(rows.walk(size=100)) == rows.ids


# -- rows that move

Edits = st.lists(st.tuples(st.integers(2, 12), st.booleans(), st.floats(0, 1)), max_size=60)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 150), st.integers(2, 40), Edits, st.integers(1, 30))
def test_whatever_moves_a_row_that_was_there_all_the_time_is_read(
    count: int, size: int, edits: list[tuple[int, bool, float]], tied: int
):
    rows = Table([(at // tied, f"row-{at:04d}") for at in range(count)])
    there = set(rows.ids)
    made = iter(range(10_000))

    def meddle(request: int) -> None:
        for _, inserts, where in [edit for edit in edits if edit[0] == request]:
            place = int(where * len(rows.rows))
            if inserts:
                rows.rows.append((int(where * count / tied), f"new-{next(made):04d}"))
            elif place < len(rows.rows):
                there.discard(rows.rows.pop(place)[1])

    rows.meddle = meddle
    try:
        steps = rows.walk(size=size)
    except PagedBadly:
        assert not rows.rows
        return
    assert there <= read(steps)


def test_more_rows_deleted_than_two_pages_share_are_noticed_and_made_up_for():
    rows = table(200)

    def meddle(request: int) -> None:
        if request == 4:
            del rows.rows[:50]

    rows.meddle = meddle
    steps = rows.walk()
    assert rows.ids <= read(steps)
    assert steps[-1].doubts == ()


def test_a_deletion_made_good_by_an_insertion_hides_nothing():
    """The total stays as it was: only the rows that pages share can tell."""
    rows = table(100)

    def meddle(request: int) -> None:
        if 2 <= request <= 6:
            del rows.rows[0]
            rows.rows.append((2000 + request, f"new-{request}"))

    rows.meddle = meddle
    assert rows.ids <= read(rows.walk())


@pytest.mark.parametrize("seed", range(5))
def test_rows_of_one_time_may_come_in_any_order_within_their_time(seed: int):
    rows = Table([(at // 8, f"row-{at:04d}") for at in range(160)])
    rows.sort = lambda row: (row[0], hash((row[1], len(rows.pages), seed)))
    steps = rows.walk()
    assert read(steps) == rows.ids
    assert steps[-1].doubts == ()


def test_more_rows_of_one_time_than_a_page_holds_are_doubted_only_when_they_change_places():
    rows = Table([(0, f"row-{at:04d}") for at in range(100)])
    steps = rows.walk()
    assert (read(steps), steps[-1].doubts) == (rows.ids, ())
    rows.sort = lambda row: row[1] if len(rows.pages) % 2 else row[1][::-1]
    assert {TIES, MOVING} & set(rows.walk()[-1].doubts)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_walk_resumes_where_it_was_cut_off(cut: int):
    rows = table(100)
    first = rows.walk()[:cut]
    there = set(rows.ids)
    there -= {rows.rows.pop(0)[1] for _ in range(9)}
    rest = rows.walk(start=first[-1].place)
    assert there <= read(first) | read(rest)
    assert rest[-1].doubts == ()


# -- lists that do not keep their word


def test_a_list_that_ends_before_its_total_is_asked_again_and_then_doubted():
    rows = table(70)
    rows.total = lambda: 90
    steps = rows.walk()
    assert steps[-1].doubts == (SHORT,)
    assert read(steps) == rows.ids
    once = table(70)
    once.total = lambda: 90 if len(once.pages) in (7, 8) else 70
    assert once.walk()[-1].doubts == ()


def test_a_total_without_any_row_is_doubted():
    rows = table(0)
    rows.total = lambda: 3
    assert rows.walk()[-1].doubts == (SHORT,)


def test_an_empty_page_between_is_doubted_and_overcome():
    rows = table(100)
    kept = list(rows.rows)

    def meddle(request: int) -> None:
        rows.rows = [] if request == 4 else list(kept)

    rows.meddle = meddle
    steps = rows.walk()
    assert read(steps) == {name for _, name in kept}
    assert steps[-1].doubts == (EMPTY_BETWEEN,)


def test_a_list_that_becomes_empty_for_good_ends_the_walk():
    rows = table(100)
    rows.meddle = lambda request: rows.rows.clear() if request == 4 else None
    with pytest.raises(PagedBadly, match="became empty"):
        rows.walk()


def test_an_order_that_is_not_kept_is_doubted():
    rows = table(100)
    rows.sort = lambda row: -row[0]
    assert OUT_OF_ORDER in rows.walk()[-1].doubts


def test_a_list_that_is_shuffled_each_time_comes_to_an_end():
    rows = table(200)
    rows.sort = lambda row: hash((row[1], len(rows.pages)))
    assert {OUT_OF_ORDER, MOVING} & set(rows.walk()[-1].doubts)


def test_a_record_without_a_readable_time_has_no_say_in_the_order():
    odd = [Record("a", None, b'{"id":"a","created_at":7}', "x"), Record("b", None, b'{"id":"b"}', "x"), record(3, "c")]
    assert [OLDEST_FIRST.rank(each) for each in odd] == [None, None, "2026-03-02T08:00:03.000Z"]
