"""Answers are unwrapped by their shape, and what has none is told."""

from __future__ import annotations

import pytest

from connectors.faults import Unintelligible
from connectors.leadlex.envelope import Meta, listed, single


@pytest.mark.parametrize(
    "body",
    [
        b'{"data":{"deals":[{"id":"a"}]},"meta":{"total":1,"per_page":50}}',
        b'{"data":[{"id":"a"}],"meta":{"total":1,"per_page":50}}',
        b'{"data":{"deals":[{"id":"a"}],"meta":{"total":1,"per_page":50}}}',
        b'{"data":{"results":[{"id":"a"}]},"meta":{"total":1,"per_page":50}}',
    ],
)
def test_a_list_is_found_wherever_it_lies(body: bytes):
    assert listed(body, "deals") == (b'[{"id":"a"}]', Meta(1, 50))


@pytest.mark.parametrize(
    "meta", [b"{}", b"null", b'"x"', b'{"total":"1"}', b'{"total":-1,"per_page":0}', b'{"total":1.5}']
)
def test_a_count_that_is_none_is_not_guessed(meta: bytes):
    assert listed(b'{"data":{"deals":[]},"meta":' + meta + b"}", "deals")[1] == Meta(None, None)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":null}', b'{"data":{}}', b'{"data":{"deals":{}}}', b"{"])
def test_an_answer_without_a_list_is_told(body: bytes):
    with pytest.raises(Unintelligible):
        listed(body, "deals")


@pytest.mark.parametrize("body", [b'{"data":{"deal":{"id":"a"}}}', b'{"data":{"id":"a"}}'])
def test_one_deal_is_found_with_and_without_its_inner_key(body: bytes):
    assert single(body) == b'{"id":"a"}'


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data":[]}', b'{"data":null}', b'{"deal":{"id":"a"}}'])
def test_an_answer_without_a_deal_is_told(body: bytes):
    with pytest.raises(Unintelligible):
        single(body)


def test_a_row_that_is_no_json_costs_itself_only():
    rows, meta = listed(b'{"data":{"deals":[{"id":"a","v":NaN},{"id":"b"}]},"meta":{"total":2}}', "deals")
    assert rows == b'[{"id":"a","v":NaN},{"id":"b"}]'
    assert meta.total == 2
