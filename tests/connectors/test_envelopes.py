"""An envelope gives its parts as they came, and a row that is not JSON costs itself only."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.envelopes import opened
from connectors.faults import Unintelligible

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_the_parts_are_the_bytes_that_came():
    parts = opened(b'\xef\xbb\xbf {"data": [ {"id":"1", "amount": 1.50} ], "meta":{"n":1}}').parts
    assert parts == {"data": b'[ {"id":"1", "amount": 1.50} ]', "meta": b'{"n":1}'}


def test_a_row_that_is_not_json_costs_no_other_part():
    body = (
        b'{"note":"a, b]}","data":[{"id":"1"},{"id":"2","x":NaN},{"d":{"data":[1]}}],"pagination":{"total":3}, "n":1 }'
    )
    assert opened(body).parts == {
        "note": b'"a, b]}"',
        "data": b'[{"id":"1"},{"id":"2","x":NaN},{"d":{"data":[1]}}]',
        "pagination": b'{"total":3}',
        "n": b"1",
    }


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_what_is_not_utf8_is_cut_where_json_would_be(parts: dict[str, object]):
    whole = {key: value for key, value in parts.items() if key != "odd"}
    body = json.dumps(whole).encode()[:-1] + (b"," if whole else b"") + b'"odd":"\xff"}'
    assert {key: json.loads(value) for key, value in opened(body).parts.items() if key != "odd"} == whole
    assert opened(body).parts["odd"] == b'"\xff"'


def test_the_first_key_that_is_there_has_the_rows():
    assert opened(b'{"items":[1]}').rows("data", "items") == b"[1]"
    with pytest.raises(Unintelligible, match="no data or items"):
        opened(b"{}").rows("data", "items")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b"null",
        b'{"data":[{"id":NaN}',
        b'{"data":[NaN]} {}',
        b'{"a":NaN,"b',
        b"{" * 100_000,
        b'{"\\x":NaN}',
    ],
)
def test_what_is_no_whole_object_is_unintelligible(body: bytes):
    with pytest.raises(Unintelligible):
        opened(body)
