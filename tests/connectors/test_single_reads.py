"""Single reads: what may be asked for, what an answer proves; and rows read by themselves, which may be spoiled."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from connectors.faults import Denied, Fault, RateLimited, Refused, Unavailable, Unintelligible
from connectors.single_reads import NOT_READ, SingleReads, askable, shown
from connectors.slicing import Slicer
from connectors.source import Absent, Found, Record, Spoiled
from connectors.transport import Answer

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


SLICER = Slicer("deals", id_key="id", version_key="at")


def answered(body: bytes, status: int = 200) -> Answer:
    return Answer(status, httpx.Headers(), body, AT, 1.0)


@pytest.mark.parametrize("nothing", ["", " ", ".", "..", "/", "./", " ../ "])
def test_an_id_that_leaves_nothing_of_a_path_is_never_asked_for(nothing: str):
    with pytest.raises(Unintelligible, match="whole list"):
        askable(nothing)


@pytest.mark.parametrize(
    ("source_id", "segment"), [("a1", "a1"), ("a/b?c", "a%2Fb%3Fc"), ("ä", "%C3%A4"), ("..a", "..a")]
)
def test_an_id_stays_within_its_part_of_the_path(source_id: str, segment: str):
    assert askable(source_id) == segment


@pytest.mark.parametrize(("status", "proof"), [(404, True), (410, True), (400, False), (403, False), (422, False)])
def test_only_a_404_and_a_410_prove_that_there_is_no_such_record(status: int, proof: bool):
    assert shown(answered(b"", status), SLICER, asked="one") == Absent(proof, str(status), AT)


def test_the_record_is_found_wherever_the_source_wraps_it():
    inner = b'{"id":"one","at":"2026-03-02T07:00:00.000Z"}'
    found = shown(answered(b"[" + inner + b"]"), SLICER, asked="one", raw=lambda body: body[1:-1])
    assert found == Found(Record("one", "2026-03-02T07:00:00.000Z", inner, "deals"), AT)


def test_a_stamp_of_a_far_future_is_not_trusted():
    found = shown(answered(b'{"id":"one","at":"2099-01-01T00:00:00.000Z"}'), SLICER, asked="one")
    assert isinstance(found, Found)
    assert found.record.version is None


@pytest.mark.parametrize("body", [b'{"id":"other"}', b'{"at":"1"}', b"[]", b"null", b"<html>", b""])
def test_another_record_or_none_that_can_be_read_proves_nothing(body: bytes):
    with pytest.raises(Unintelligible):
        shown(answered(body), SLICER, asked="one")


def test_a_record_that_was_asked_for_by_another_key_bears_an_id_of_its_own():
    found = shown(answered(b'{"id":"other"}'), SLICER, asked=None)
    assert isinstance(found, Found)
    assert found.record.source_id == "other"


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
