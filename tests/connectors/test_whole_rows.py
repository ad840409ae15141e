"""Rows that a list shows in part: what is known stands for them while nothing changed; else ten reads at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from connectors.faults import Fault, RateLimited, Unintelligible
from connectors.single_reads import SingleReads
from connectors.slicing import Sliced
from connectors.source import Absent, Found, Page, Record, Spoiled
from connectors.whole_rows import THIN, WholeRows

AT = "2026-03-02T08:00:00.000Z"
CLAIMED = frozenset({"id", "amount", "owner", "note"})
MISSING = frozenset({"owner"})


def record(name: str, version: str | None = "1", **fields: Any) -> Record:
    return Record(name, version, json.dumps({"id": name, **fields}).encode(), "deals")


def rows(*records: Record) -> Sliced:
    return Sliced(list(records), [], [one.source_id for one in records])


class Source:
    """Single reads of deals, each with an owner; `faults` are raised in the place of some."""

    def __init__(self, *, faults: Mapping[str, Fault] | None = None, gone: Sequence[str] = ()) -> None:
        self.asked: list[str] = []
        self.faults = faults or {}
        self.gone = gone

    def one(self, source_id: str) -> Found | Absent:
        self.asked.append(source_id)
        if source_id in self.faults:
            raise self.faults[source_id]
        if source_id in self.gone:
            return Absent(True, "404", AT)
        return Found(record(source_id, amount=1, owner="ann"), AT)

    def whole(self, *known: Record, **settings: Any) -> WholeRows:
        """What completes rows; these records are known."""
        held = {one.source_id: one for one in known}
        look_up = lambda ids: {one: held[one] for one in ids if one in held}  # noqa: E731 - it is one line
        return WholeRows(SingleReads(self.one), look_up, CLAIMED, **settings)


def completed(whole: WholeRows, page: Sliced) -> tuple[list[Page], Sliced]:
    """The parts that were handed on before the end, and what was left for the page itself."""
    parts, reading = [], whole.complete(page, MISSING, AT)
    while True:
        try:
            parts.append(next(reading))
        except StopIteration as end:
            return parts, end.value


def test_a_row_that_shows_everything_costs_nothing():
    source, row = Source(), record("a", owner=None)
    assert completed(source.whole(), rows(row)) == ([], rows(row))
    assert source.asked == []


def test_where_null_says_nothing_a_row_that_shows_null_is_read_by_itself():
    source = Source()
    completed(source.whole(null_is_said=False), rows(record("a", owner=None)))
    assert source.asked == ["a"]


@pytest.mark.parametrize(
    ("known", "row"),
    [
        (record("a", amount=1, owner="ann"), record("a", amount=1)),
        (record("a", amount=1, owner="ann"), record("a", amount=1.0)),
        (record("a", amount=1, owner="ann"), record("a", amount=1, note=None)),
        (record("a", amount=1, owner="ann"), record("a", amount=1, unclaimed="other")),
    ],
    ids=["the same", "written otherwise", "null for nothing", "what nobody reads"],
)
def test_what_is_known_whole_stands_for_a_row_that_shows_nothing_new(known: Record, row: Record):
    source = Source()
    assert completed(source.whole(known), rows(row)) == ([], rows(known))
    assert source.asked == []


@pytest.mark.parametrize(
    ("known", "row"),
    [
        (record("a", "0", amount=1, owner="ann"), record("a", amount=1)),
        (record("a", None, amount=1, owner="ann"), record("a", None, amount=1)),
        (record("a", amount=2, owner="ann"), record("a", amount=1)),
        (record("a", amount=2, owner="ann"), record("a", amount=None)),
        (record("a", amount=1), record("a", amount=1)),
        (record("a", amount=1, owner="ann"), Record("a", "1", b'{"id":"a","amount":NaN}', "deals")),
    ],
    ids=["another version", "no version", "another value", "a value cleared", "known from a list", "unreadable"],
)
def test_a_row_that_may_have_changed_is_read_by_itself(known: Record, row: Record):
    source = Source()
    parts, left = completed(source.whole(known), rows(row))
    assert (parts, left.records) == ([], [record("a", amount=1, owner="ann")])
    assert source.asked == ["a"]


def test_words_that_mean_the_same_are_no_change():
    known, row = record("a", note="Won deal", owner="ann"), record("a", note="won_deal")
    source = Source()
    completed(source.whole(known, meant=lambda value: str(value).lower().replace(" ", "_")), rows(row))
    assert source.asked == []


def test_ten_single_reads_are_handed_on_at_once_and_the_rest_with_the_page():
    names = [f"{number:02}" for number in range(25)]
    parts, left = completed(Source().whole(), rows(*map(record, names)))
    assert [[one.source_id for one in part.records] for part in parts] == [names[:10], names[10:20]]
    assert [one.source_id for one in left.records] == names[20:]
    assert left.keys == names
    assert {(part.requested_at, part.notes, part.cursor) for part in parts} == {(AT, (THIN,), None)}


def test_what_was_read_before_a_fault_is_handed_on_before_it_is_raised():
    source = Source(faults={"03": RateLimited(retry_after_s=60.0)})
    reading = source.whole().complete(rows(*[record(f"{number:02}") for number in range(5)]), MISSING, AT)
    assert [one.source_id for one in next(reading).records] == ["00", "01", "02"]
    with pytest.raises(RateLimited):
        next(reading)


def test_a_row_that_cannot_be_read_is_spoiled_and_one_that_is_gone_is_left_out():
    source = Source(faults={"b": Unintelligible("nonsense")}, gone=["c"])
    broken = Spoiled(None, b"?", "RECORD_SHAPE", "no object")
    _, left = completed(source.whole(), rows(*map(record, "abcd"))._replace(spoiled=[broken]))
    assert [one.source_id for one in left.records] == ["a", "d"]
    assert [one.source_id for one in left.spoiled] == [None, "b"]


def test_a_row_that_another_page_shows_again_is_completed_once():
    source = Source()
    whole = source.whole()
    completed(whole, rows(record("a", amount=1)))
    _, left = completed(whole, rows(record("a", amount=1), record("b")))
    assert [one.source_id for one in left.records] == ["b"]
    completed(whole, rows(record("a", amount=2)))
    assert source.asked == ["a", "b", "a"]
