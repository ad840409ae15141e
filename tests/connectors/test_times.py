"""Durations and instants, as people and sources write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.times import are_instants, duration, http_date, instant, iso, later, shifted

MOMENTS = st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.timezones())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("24h", 86400),
        ("1h30m", 5400),
        ("250ms", 0.25),
        ("7d", 604800),
        ("0s", 0),
        (" 5M ", 300),
    ],
)
def test_a_duration_is_numbers_with_units(text: str, seconds: float):
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "m", "-5m", "5 m", "five minutes", "1.5h", "5m!", "١٠m", "9999999d", "1" * 50 + "s"]
)
def test_anything_else_is_refused_with_what_would_be_right(text: str):
    with pytest.raises(ValueError, match=r"such as 30s|ten years"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2026-10-02T08:15:30.123Z", "2026-10-02T08:15:30.123Z"),
        ("2026-10-02T08:15:30Z", "2026-10-02T08:15:30.000Z"),
        ("2026-10-02T08:15:30.123987Z", "2026-10-02T08:15:30.123Z"),
        ("2026-10-02T10:15:30.123+02:00", "2026-10-02T08:15:30.123Z"),
        ("2026-10-02 10:15:30,5+0200", "2026-10-02T08:15:30.500Z"),
        ("2024-02-29T23:59:59.999Z", "2024-02-29T23:59:59.999Z"),
        ("2026-01-31T00:00:00.000z", "2026-01-31T00:00:00.000Z"),
    ],
)
def test_an_instant_has_one_form(text: str, same: str):
    assert instant(text) == same


@pytest.mark.parametrize(
    "value",
    [
        None, 0, 1780000000000, True, "", "yesterday", "2026-10-02", "2026-10-02T08:15:30.123",
        "2026-02-30T00:00:00.000Z", "2025-02-29T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "2026-10-02T24:00:00.000Z",
        "2026-10-02T08:60:00.000Z", "0000-01-01T00:00:00.000Z", "٢٠٢٦-10-02T08:15:30.123Z",
        "2026-10-02T08:15:30.123Z\n", "0001-01-01T00:00:00+14:00",
    ],
)  # fmt: skip
def test_what_is_no_moment_is_none(value: object):
    assert instant(value) is None


@settings(deadline=None)
@given(MOMENTS, MOMENTS)
def test_instants_compare_as_text_as_the_moments_do(one: datetime, other: datetime):
    first, second = instant(one.isoformat()), instant(other.isoformat())
    if first is None or second is None:
        return  # a zone of odd seconds, as of the nineteenth century, is not written by any source
    cut = [moment.astimezone(UTC).replace(microsecond=moment.microsecond // 1000 * 1000) for moment in (one, other)]
    assert (first < second) == (cut[0] < cut[1])
    assert instant(first) == first == iso(cut[0])


def test_many_instants_are_judged_at_once_and_none_hides_in_another():
    good = "2026-10-02T08:15:30.123Z"
    assert are_instants([])
    assert are_instants([good, good])
    for bad in (
        "",
        "soon",
        "2026-10-02T08:15:30Z",
        f"{good} {good}",
        f"{good} ",
        f" {good}",
        "2026-02-30T00:00:00.000Z",
    ):
        assert not are_instants([good, bad, good])
        assert not are_instants([bad])


def test_a_shift_stays_within_the_calendar():
    assert shifted("2026-03-02T00:05:00.000Z", timedelta(minutes=-10)) == "2026-03-01T23:55:00.000Z"
    assert shifted("9999-12-31T23:59:59.000Z", timedelta(days=1)).startswith("9999-12-31T23:59:59")
    assert shifted("0001-01-01T00:00:00.000Z", timedelta(days=-1)) == "0001-01-01T00:00:00.000Z"


def test_a_watermark_never_moves_back():
    assert later("b", "a") == later("a", "b") == later(None, "b") == later("b", None) == "b"
    assert later(None, None) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("Mon, 02 Mar 2026 09:00:00 GMT", "2026-03-02T09:00:00.000Z"),
        ("Mon, 02 Mar 2026 09:00:00 +0200", "2026-03-02T07:00:00.000Z"),
    ],
)
def test_the_time_in_a_header_is_a_moment_in_utc(text: str, moment: str):
    found = http_date(text)
    assert found is not None
    assert (found.tzinfo, iso(found)) == (UTC, moment)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "Mon, 02 Mar 2026 09:00:00",
        "Mon, 31 Feb 2026 09:00:00 GMT",
        "Mon, 02 Mar 99999999999999999999 09:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 -1400",
    ],
)
def test_a_header_that_is_no_moment_is_as_good_as_none(text: str):
    assert http_date(text) is None
