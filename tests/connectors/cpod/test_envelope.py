"""Pages of all documented looks are opened; one that looks unlike those before is not."""

from __future__ import annotations

from typing import Any

import pytest

from connectors.cpod.envelope import Envelope, Shape, read
from connectors.cpod.options import CpodOptions
from connectors.faults import Unintelligible


def page(body: str, known: Shape | None = None, **options: Any) -> Envelope:
    return read(body.encode(), known, CpodOptions(**options))


@pytest.mark.parametrize(
    ("body", "shape", "cursor", "more", "total"),
    [
        (
            '{"data":[],"next_cursor":"c","has_more":true,"total":3}',
            ("cursor", "next_cursor", "has_more"),
            "c",
            True,
            3,
        ),
        ('{"items":[],"nextCursor":"c","total":3}', ("cursor", "nextCursor", None), "c", None, 3),
        ('{"data":[],"hasMore":true}', ("page", None, "hasMore"), None, True, None),
        ('{"data":[],"hasMore":false}', (None, None, "hasMore"), None, False, None),
        ('{"data":[]}', ("page", None, None), None, None, None),
        ('{"data":[],"next_cursor":null}', ("cursor", "next_cursor", None), None, None, None),
        ('{"data":[],"next_cursor":"","has_more":true}', ("page", "next_cursor", "has_more"), None, True, None),
        ('{"data":[],"next_cursor":17}', ("cursor", "next_cursor", None), "17", None, None),
        ('{"data":[],"has_more":"yes","total":-1}', (None, None, "has_more"), None, None, None),
        ('{"data":[],"total":"3","total_count":5}', ("page", None, None), None, None, None),
    ],
)
def test_what_a_page_says_is_read(body: str, shape: Any, cursor: str | None, more: bool | None, total: int | None):
    opened = page(body)
    assert (opened.shape.style, opened.shape.next, opened.shape.more) == shape
    assert (opened.next, opened.more, opened.total) == (cursor, more, total)


def test_rows_are_the_bytes_that_came():
    assert page('{"data":[ {"id":"1"} ],"items":[]}').rows == b'[ {"id":"1"} ]'


def test_what_is_known_grows_and_is_kept_by_a_page_that_leaves_keys_out():
    known = page('{"data":[],"next_cursor":"c"}').shape
    known = page('{"data":[],"next_cursor":"d","has_more":true}', known).shape
    last = page('{"data":[]}', known)
    assert last.shape == Shape("data", "cursor", "next_cursor", "has_more")
    assert not last.told


@pytest.mark.parametrize(
    ("known", "body", "words"),
    [
        (Shape("data"), '{"items":[]}', "under 'items', and lay under 'data' before"),
        (Shape("data", next="next_cursor"), '{"data":[],"nextCursor":null}', "next cursor lies under 'nextCursor'"),
        (Shape("data", more="has_more"), '{"data":[],"hasMore":false}', "mark of more rows lies under 'hasMore'"),
        (Shape("data", "cursor"), '{"data":[],"has_more":true}', "had cursors before"),
        (Shape("data", "page"), '{"data":[],"next_cursor":"c"}', "were numbered before"),
    ],
)
def test_a_page_that_looks_otherwise_than_those_before_is_not_read(known: Shape, body: str, words: str):
    with pytest.raises(Unintelligible, match=words):
        page(body, known)


def test_a_setting_outweighs_what_was_found_out():
    known = Shape("data", "cursor", "next_cursor")
    accepted = page('{"items":[],"nextCursor":null}', known, envelope="items/camel")
    assert accepted.shape == Shape("items", "cursor", "nextCursor")
    with pytest.raises(Unintelligible, match="under 'data'"):
        page('{"data":[],"next_cursor":null}', known, envelope="items/camel")
    assert page('{"data":[],"next_cursor":"c"}', pagination_style="page").shape.style == "page"


@pytest.mark.parametrize("body", ['{"data":[],"next_cursor":NaN}', '{"data":[],"next_cursor":[1]}', "[]", "", "{}"])
def test_what_is_no_envelope_is_unintelligible(body: str):
    with pytest.raises(Unintelligible):
        page(body)
