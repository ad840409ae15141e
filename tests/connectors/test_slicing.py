"""A page's bytes become records, and a bad record never costs its page."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.faults import Unintelligible
from connectors.slicing import KEPT_OF_TOO_LARGE, MAX_RECORD, Sliced, Slicer
from connectors.source import Record, Spoiled

LATER = "2027-01-01T00:00:00.000Z"
STAMP = "2026-10-02T08:15:30.123Z"
GOOD = b'{"_id":"good","updatedAt":"2026-10-02T08:15:30.123Z"}'
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def sliced(body: bytes) -> Sliced:
    return Slicer("deals", id_key="_id", version_key="updatedAt").page(body, not_after=LATER)


def with_good(bad: bytes) -> Spoiled:
    """The only spoiled one of three rows, the other two of which must land."""
    page = sliced(b"[" + GOOD + b"," + bad + b"," + GOOD.replace(b"good", b"fine") + b"]")
    assert [record.source_id for record in page.records] == ["good", "fine"]
    assert [page.keys[0], page.keys[2]] == ["good", "fine"]
    assert len(page.keys) == 3
    return page.spoiled[0]


def test_records_keep_their_exact_bytes_with_id_version_and_kind():
    raw = b'{ "total": 1.10, "_id":"65f0c0ffee00000000000001",\n"updatedAt":"2026-10-02T08:15:30Z" }'
    page = sliced(b"\n [" + raw + b" ] ")
    assert page.records == [Record("65f0c0ffee00000000000001", "2026-10-02T08:15:30.000Z", raw, "deals")]
    assert page.keys == ["65f0c0ffee00000000000001"]


@pytest.mark.parametrize("body", [b"[]", b" [ ] ", b"\xef\xbb\xbf[]"])
def test_an_empty_list_is_no_rows(body: bytes):
    assert sliced(body) == Sliced([], [], [])


@pytest.mark.parametrize(
    ("bad", "reason", "source_id", "words"),
    [
        (b"null", "RECORD_SHAPE", None, "null; an object was expected"),
        (b"[1,[2]]", "RECORD_SHAPE", None, "a list"),
        (b'"text, with ] and }"', "RECORD_SHAPE", None, "text"),
        (b"-4", "RECORD_SHAPE", None, "a number"),
        (b"{}", "NO_ID", None, "no _id"),
        (b'{"_id":null}', "NO_ID", None, "no _id"),
        (b'{"_id":""}', "NO_ID", None, "no _id"),
        (b'{"_id":17}', "BAD_ID", None, "no id"),
        (b'{"_id":["x"]}', "BAD_ID", None, "no id"),
        (b'{"_id":" x"}', "BAD_ID", None, "no id"),
        (b'{"_id":"a\\u0000b"}', "BAD_ID", None, "no id"),
        (b'{"_id":"' + b"x" * 201 + b'"}', "BAD_ID", None, "1 to 200"),
        (b'{"_id":"x","a":NaN}', "RECORD_SHAPE", "x", "not JSON"),
        (b'{"_id":"x","a":[Infinity,-1]}', "RECORD_SHAPE", "x", "not JSON"),
        (b'{"a":{"_id":"inner"},"_id":"x","b":01}', "RECORD_SHAPE", "x", "not JSON"),
        (b'{"_id":"x","_id":"y","b":01}', "RECORD_SHAPE", None, "not JSON"),
        (b'{"_id":"x","a":"\xff\xfe"}', "RECORD_SHAPE", "x", "not UTF-8"),
        (b'{"_id":"x","a":"\\ud800"}', "RECORD_SHAPE", "x", "not JSON"),
        (b'{"_id":"x","a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", "RECORD_SHAPE", "x", "too deeply"),
        (b'{"_id":"x","a":' + b'{"k":' * 10_000 + b"1" + b"}" * 10_001, "RECORD_SHAPE", "x", "too deeply"),
    ],
)
def test_a_bad_record_is_spoiled_alone(bad: bytes, reason: str, source_id: str | None, words: str):
    spoiled = with_good(bad)
    assert (spoiled.reason, spoiled.source_id, spoiled.raw) == (reason, source_id, bad[:KEPT_OF_TOO_LARGE])
    assert words in spoiled.message


@pytest.mark.parametrize("tail", [b'"}', b'","a":NaN}'])
def test_a_record_beyond_a_mebibyte_is_spoiled_and_only_its_beginning_kept(tail: bytes):
    spoiled = with_good(b'{"_id":"x","a":"' + b"y" * MAX_RECORD + tail)
    assert (spoiled.reason, spoiled.source_id, len(spoiled.raw)) == ("TOO_LARGE", "x", KEPT_OF_TOO_LARGE)


@pytest.mark.parametrize("number", [b"1e999", b"1" * 40, b"-0", b"0.1e-400"])
def test_odd_numbers_are_no_matter_of_slicing(number: bytes):
    page = sliced(b'[{"_id":"x","a":' + number + b"}]")
    assert [record.source_id for record in page.records] == ["x"]


@pytest.mark.parametrize(
    "stamp", ["null", "17", '"soon"', '"2026-02-30T00:00:00Z"', '"2026-10-02"', '{"at":1}', '"2099-01-01T00:00:00Z"']
)
def test_a_version_that_cannot_be_trusted_is_none_and_the_record_lands(stamp: str):
    page = sliced(f'[{{"_id":"x","updatedAt":{stamp}}},{{"_id":"y","updatedAt":"{STAMP}"}},{{"_id":"z"}}]'.encode())
    assert [(record.source_id, record.version) for record in page.records] == [("x", None), ("y", STAMP), ("z", None)]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"null", "null"),
        (b"3", "a number"),
        (b'{"error":"secret text"}', "one object"),
        (b"<html><body>Sign in</body></html>", "markup"),
        (b'[{"_id":"a"}', "breaks off"),
        (b'[{"_id":"a"},{"_id":"b', "breaks off"),
        (b'[{"_id":"a"}] [', "follows its end"),
        (b'[{"_id":"a"}}', "follows its end"),
        (b"[" * 10_000, "breaks off"),
    ],
)
def test_a_page_that_cannot_be_cut_is_unintelligible_and_never_quoted(body: bytes, words: str):
    with pytest.raises(Unintelligible, match=words) as caught:
        sliced(body)
    assert "secret" not in str(caught.value)


@settings(deadline=None)
@given(st.lists(JSON, max_size=6), st.booleans())
def test_every_row_of_a_list_is_a_record_or_spoiled_in_its_order(rows: list[Any], ascii_only: bool):
    parts = [json.dumps(row, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass") for row in rows]
    page = sliced(b"[" + b",".join(parts) + b"]")
    assert len(page.keys) == len(rows) == len(page.records) + len(page.spoiled)
    assert sorted(row.raw for row in (*page.records, *page.spoiled)) == sorted(parts)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON).map(lambda row: {**row, "_id": "x1", "updatedAt": STAMP}))
def test_the_short_way_and_the_long_way_agree(row: dict[str, Any]):
    raw = json.dumps(row, ensure_ascii=False).encode()
    alone = sliced(b"[" + raw + b"]")
    beside_a_bad_one = sliced(b'[{"a":NaN},' + raw + b"]")
    assert alone.records == beside_a_bad_one.records == [Record("x1", STAMP, raw, "deals")]


@settings(deadline=None)
@given(st.binary(max_size=60).map(lambda junk: b"[" + junk))
def test_no_bytes_raise_anything_but_unintelligible(body: bytes):
    try:
        page = sliced(body)
    except Unintelligible:
        return
    assert len(page.keys) == len(page.records) + len(page.spoiled)


def test_one_record_by_itself_is_read_by_the_same_rules():
    slicer = Slicer("deals", id_key="_id", version_key="updatedAt")
    assert slicer.record(b"\n" + GOOD + b"\n", not_after=LATER) == Record("good", STAMP, GOOD, "deals")
    spoiled = slicer.record(b'{"_id":"x","a":NaN}', not_after=LATER)
    assert isinstance(spoiled, Spoiled)
    assert spoiled.source_id == "x"


@pytest.mark.parametrize(
    ("version", "text"),
    [("7", "000000000007"), ("0", "000000000000"), ("7.0", "000000000007"), ("120", "000000000120")]
    + [(odd, None) for odd in ("null", "-1", "7.5", '"7"', "true", "1e300", "1000000000000", "[1]")],
)
def test_a_version_that_counts_compares_as_text(version: str, text: str | None):
    slicer = Slicer("deals", id_key="id", version_key="version", counted=True)
    rows = f'[{{"id":"deal_a-1","version":{version}}},{{"id":"deal_b-2","version":9}},{{"id":"c"}}]'
    page = slicer.page(rows.encode(), not_after=LATER)
    assert [record.version for record in page.records] == [text, "000000000009", None]
    alone = slicer.record(f'{{"id":"x","version":{version}}}'.encode(), not_after=LATER)
    assert isinstance(alone, Record)
    assert alone.version == text
