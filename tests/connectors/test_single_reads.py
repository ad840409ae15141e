"""Rows read by themselves: one that cannot be read is spoiled, several in a row are the source's own trouble."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors.faults import Denied, Fault, RateLimited, Refused, Unavailable, Unintelligible
from connectors.single_reads import NOT_READ, SingleReads
from connectors.source import Absent, Found, Record, Spoiled

AT = "2026-03-02T08:00:00.000Z"
ROW = Record("one", "1", b'{"id":"one"}', "deals")
WELL = Found(ROW, AT)


def reads(*answers: Found | Absent | Fault) -> SingleReads:
    """Single reads that are answered with these, one after the other."""
    left: Iterator[Found | Absent | Fault] = iter(answers)

    def one(source_id: str) -> Found | Absent:
        assert source_id == "one"
        answer = next(left)
        if isinstance(answer, Fault):
            raise answer
        return answer

    return SingleReads(one)


@pytest.mark.parametrize("fault", [Unavailable("away"), Unintelligible("nonsense"), Denied("not yours")])
def test_a_row_that_cannot_be_read_is_spoiled_and_says_why(fault: Fault):
    answer = reads(fault).read(ROW)
    assert isinstance(answer, Spoiled)
    assert (answer.source_id, answer.raw, answer.reason) == ("one", ROW.raw, NOT_READ)
    assert str(fault) in answer.message


def test_what_is_found_or_absent_is_handed_on():
    absent = Absent(True, "404", AT)
    singles = reads(WELL, absent)
    assert [singles.read(ROW), singles.read(ROW)] == [WELL, absent]


def test_a_row_that_is_neither_shown_nor_proven_gone_is_spoiled_and_never_passed_over():
    answer = reads(Absent(False, "403", AT)).read(ROW)
    assert isinstance(answer, Spoiled)
    assert "403" in answer.message


@pytest.mark.parametrize(("fault", "borne"), [(Unavailable(), 1), (Unintelligible(), 3), (Denied(), 3)])
def test_several_in_a_row_are_the_sources_own_trouble(fault: Fault, borne: int):
    singles = reads(*[fault] * 4)
    for _ in range(borne):
        assert isinstance(singles.read(ROW), Spoiled)
    with pytest.raises(type(fault)):
        singles.read(ROW)


def test_one_that_is_read_in_between_clears_the_source():
    singles = reads(*[Unavailable(), WELL] * 5)
    kinds = [type(singles.read(ROW)) for _ in range(10)]
    assert kinds == [Spoiled, Found] * 5


@pytest.mark.parametrize("fault", [RateLimited(retry_after_s=5.0), Refused("who are you?")])
def test_a_used_up_budget_and_a_key_that_is_not_known_stop_at_once(fault: Fault):
    with pytest.raises(type(fault)):
        reads(fault).read(ROW)
