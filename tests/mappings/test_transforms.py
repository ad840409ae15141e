"""Transforms: what each reader takes, and what it refuses instead of guessing."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deals.identity import canonical
from mappings.outcome import Unreadable
from mappings.transforms import TRANSFORMS, anything, boolean, calendar_date, day_number, identity, text, zoned_day
from tests.mappings.tables import json_values

DAY = date(2026, 11, 30)


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("text", " Northwind ", "Northwind"),
        ("text", "  ", None),
        ("text", "Köhler", "Köhler"),
        ("id", "65f0", "65f0"),
        ("id", 9007199254740993, "9007199254740993"),
        ("id", "", None),
        ("number", 12, 12),
        ("number", Decimal("12.50"), Decimal("12.5")),
        ("number", Decimal("12.00"), 12),
        ("number", Decimal("-0.0"), 0),
        ("text_number", "1234.50", Decimal("1234.5")),
        ("text_number", " -7 ", -7),
        ("text_number", "", None),
        ("text_number", 7, 7),
        ("boolean", True, True),
        ("date", "2026-11-30", "2026-11-30"),
        ("day", 20787, "2026-11-30"),
        ("day", "2026-11-30", "2026-11-30"),
        ("json", [1, {"a": Decimal("1.0")}], [1, {"a": 1}]),
        ("json", "", ""),
    ],
)
def test_a_value_is_read_as_its_transform_says(name: str, value: Any, read: Any):
    found = TRANSFORMS[name](value)
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 12),
        ("text", True),
        ("text", ["a"]),
        ("id", True),
        ("id", Decimal("1.5")),
        ("number", True),
        ("number", "12"),
        ("number", Decimal("1e999")),
        ("number", 10**70),
        ("text_number", "1,200.50"),
        ("text_number", "1.200,50"),
        ("text_number", "$1200"),
        ("text_number", "1e3"),
        ("text_number", "1_200"),
        ("text_number", "१२००"),
        ("text_number", "9" * 81),
        ("text_number", False),
        ("boolean", 1),
        ("boolean", "true"),
        ("date", 20787),
        ("date", "30.11.2026"),
        ("date", "2026-02-30"),
        ("date", "2026-11-30T24:00:00Z"),
        ("date", "2026-11-30T10:00:00.000Z and more"),
        ("date", "1899-12-31"),
        ("date", "3000-01-01"),
        ("date", "0000-01-01"),
        ("date", "٢٠٢٦-١١-٣٠"),
        ("date", "2026-11-30" + " " * 50),
        ("day", True),
        ("day", 10**30),
        ("day", -25568),
        ("json", Decimal("1e999")),
    ],
)
def test_a_value_of_another_kind_is_refused_not_guessed(name: str, value: Any):
    with pytest.raises(Unreadable, match="found "):
        TRANSFORMS[name](value)


@pytest.mark.parametrize("time", ["", "T00:00:00.000Z", "T23:59:59+14:00", "T23:59:59-1100", " 10:00", "T10:00:00"])
def test_a_calendar_day_is_taken_as_written_and_never_shifted_through_a_zone(time: str):
    assert calendar_date("2026-11-30" + time) == DAY
    assert day_number("2026-11-30" + time) == DAY


@settings(deadline=None)
@given(st.dates(date(1900, 1, 1), date(2999, 12, 31)))
def test_every_sensible_day_is_read_from_its_number_and_from_its_text(day: date):
    assert day_number((day - date(1970, 1, 1)) // timedelta(days=1)) == calendar_date(day.isoformat()) == day


def test_a_true_does_not_become_the_first_day_after_1970_was_read():
    assert day_number(1) == date(1970, 1, 2)
    with pytest.raises(Unreadable):
        day_number(True)


@pytest.mark.parametrize("read", [text, identity, anything])
def test_a_text_that_a_database_cannot_keep_is_refused(read: Any):
    with pytest.raises(Unreadable, match="NUL") as caught:
        read("a\x00b")
    assert caught.value.reason == "NUL_CHARACTER"
    with pytest.raises(Unreadable, match="Unicode"):
        read("\ud800")


def test_a_nul_deep_inside_a_value_is_refused_too():
    for value in ([["a\x00"]], {"a": {"b\x00": 1}}):
        with pytest.raises(Unreadable, match="NUL"):
            anything(value)


def test_a_value_nested_too_deeply_is_refused():
    deep: Any = 1
    for _ in range(900):
        deep = [deep]
    with pytest.raises(Unreadable, match="nested deeper"):
        anything(deep)


def test_neither_zero_nor_one_is_a_boolean():
    for value in (0, 1, "yes", None):
        with pytest.raises(Unreadable):
            boolean(value)


@settings(deadline=None)
@given(st.sampled_from(sorted(TRANSFORMS)), json_values)
def test_a_transform_gives_json_or_says_what_is_wrong(name: str, value: Any):
    with suppress(Unreadable):
        canonical(TRANSFORMS[name](value))


@pytest.mark.parametrize(
    ("zone", "value", "day"),
    [
        ("UTC", "2026-03-28T16:05:00Z", date(2026, 3, 28)),
        ("Europe/Berlin", "2026-03-31T22:30:00Z", date(2026, 4, 1)),
        ("Europe/Berlin", "2026-01-31T22:30:00Z", date(2026, 1, 31)),
        ("Europe/Berlin", "2026-03-31T22:30:00", date(2026, 4, 1)),
        ("Europe/Berlin", "2026-03-31 22:30", date(2026, 4, 1)),
        ("America/Los_Angeles", "2026-04-01T06:59:59.999999999Z", date(2026, 3, 31)),
        ("America/Los_Angeles", "2026-04-01T07:00:00Z", date(2026, 4, 1)),
        ("UTC", "2026-04-01T01:00:00+02:00", date(2026, 3, 31)),
        ("UTC", "2026-03-31T23:00:00-0200", date(2026, 4, 1)),
        ("Pacific/Kiritimati", "2026-03-31", date(2026, 3, 31)),
        ("America/Los_Angeles", " 2026-03-31 ", date(2026, 3, 31)),
        ("UTC", "  ", None),
    ],
)
def test_a_zoned_day_is_the_day_of_a_date_time_in_the_zone_and_a_plain_date_is_never_shifted(
    zone: str, value: str, day: date | None
):
    assert zoned_day(zone)(value) == day


@pytest.mark.parametrize("value", ["2026-03-31T10:00:00+99:99", "2026-02-30T10:00:00Z", "1900-01-01T00:00:00+10:00", 3])
def test_a_date_time_that_names_no_sensible_day_is_refused(value: Any):
    with pytest.raises(Unreadable, match="would be right"):
        zoned_day("UTC")(value)


@settings(deadline=None)
@given(
    st.datetimes(datetime(1901, 1, 1), datetime(2998, 1, 1)),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"]),
)
def test_a_moment_has_one_day_in_a_zone_however_its_offset_is_written(at: datetime, zone: str):
    moment = at.replace(tzinfo=UTC, microsecond=0)
    spelt = [moment, moment.astimezone(ZoneInfo("Asia/Tokyo")), moment.astimezone(ZoneInfo("America/New_York"))]
    written = [each.isoformat() for each in spelt if each.utcoffset() % timedelta(minutes=1) == timedelta(0)]  # type: ignore[operator]
    assert {zoned_day(zone)(text) for text in written} == {moment.astimezone(ZoneInfo(zone)).date()}
