"""Transforms: one value in, one value out; none of them ever sees the record it came from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from deals.state import Json, json_value
from mappings.outcome import Unreadable, shown

Transform: TypeAlias = Callable[[Any], Json]
DayReader: TypeAlias = Callable[[Any], date | None]
Numbers: TypeAlias = Literal["json", "text"]

FIRST_YEAR, LAST_YEAR = 1900, 2999
"""Dates outside these years are a typing error, not a deal."""

_PLAIN = 10**18
"""Integers below it are canonical as they are."""

_PLAIN_DATE = len("2026-01-31")

DEEPEST = 32
"""Lists and objects within a custom value may lie so deep."""

_DAY_ZERO = date(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = (date(FIRST_YEAR, 1, 1) - _DAY_ZERO).days, (date(LAST_YEAR, 12, 31) - _DAY_ZERO).days
_SENSIBLE = f"a day between the years {FIRST_YEAR} and {LAST_YEAR}"
_DECIMAL = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_DATE = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?(?:Z|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def text(value: Any) -> str | None:
    """A text without the blanks around it; an empty one is null, because that is how a CRM's form clears a field."""
    if type(value) is not str:
        raise _unfit(value, "a text")
    if value.isascii() and "\x00" not in value:  # what nearly all texts are, decided without another call
        return value.strip() or None
    return _storable(value.strip()) or None


def identity(value: Any) -> str | None:
    """An id as text: a text without the blanks around it (empty is null), or an integer written out."""
    if type(value) is str:
        return text(value)
    if type(value) is int:
        return str(json_number(value))
    raise _unfit(value, "an id: a text or an integer")


def json_number(value: Any) -> int | Decimal:
    """A JSON number, exact. A boolean is none, and a number in quotes is a text."""
    if type(value) is int and -_PLAIN < value < _PLAIN:
        return value
    if type(value) is not int and type(value) is not Decimal:
        raise _unfit(value, "a number without quotes")
    return _canonical(value)  # type: ignore[return-value]


def text_number(value: Any) -> int | Decimal | None:
    """A JSON number, or one in quotes with a decimal point and no grouping ("1234.50"); an empty text is null."""
    if type(value) is not str:
        return json_number(value)
    bare = value.strip()
    if not bare:
        return None
    if len(bare) > 80 or not _DECIMAL.fullmatch(bare):
        raise _unfit(value, "a number such as 1234.50: a decimal point, no grouping, no currency sign")
    return _canonical(Decimal(bare))  # type: ignore[return-value]


def boolean(value: Any) -> bool:
    """True or false; neither 0 and 1 nor "yes"."""
    if type(value) is not bool:
        raise _unfit(value, "true or false")
    return value


def calendar_date(value: Any) -> date | None:
    """A calendar day from `YYYY-MM-DD` or an ISO 8601 date-time, whose day is taken as written and never shifted
    through a zone (contracts/planhat.md section 12). An empty text is null."""
    if type(value) is not str:
        raise _unfit(value, "a date as text, YYYY-MM-DD")
    if len(value) > 40:
        raise _unfit(value, "a date, YYYY-MM-DD")
    return _day_in(value)


def day_number(value: Any) -> date | None:
    """A calendar day from an integer of days since 1970-01-01, or from what `calendar_date` reads: Planhat's `day`
    fields arrive as either (contracts/planhat.md section 8)."""
    if type(value) is not int:
        return calendar_date(value)
    if not _FIRST_DAY <= value <= _LAST_DAY:
        raise _unfit(value, _SENSIBLE)
    return _DAY_ZERO + timedelta(days=value)


@lru_cache(maxsize=64)
def zoned_day(zone: str) -> DayReader:
    """A reader of the day that an ISO 8601 date-time is in a time zone (its name in the time zone database).

    A date-time without an offset is UTC. A plain date is that day in every zone, and never shifted.
    """
    where = ZoneInfo(zone)

    @lru_cache(maxsize=8192)
    def day_at(bare: str) -> date:
        try:
            at = datetime.fromisoformat(bare)
        except ValueError:
            raise _unfit(bare, "a date-time with an offset that exists") from None
        day = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).astimezone(where).date()
        if not FIRST_YEAR <= day.year <= LAST_YEAR:
            raise _unfit(bare, _SENSIBLE)
        return day

    def read(value: Any) -> date | None:
        day = calendar_date(value)
        bare = value.strip()
        return day if len(bare) <= _PLAIN_DATE else day_at(bare)

    return read


def anything(value: Any) -> Json:
    """Any JSON value in its canonical form, up to 32 levels deep."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() and "\x00" not in value else _storable(value)
    if kind is bool or (kind is int and -_PLAIN < value < _PLAIN):
        return value  # type: ignore[no-any-return]
    if kind is dict or kind is list:
        _check_within(value, DEEPEST)
    return _canonical(value)


def iso_date(value: Any) -> str | None:
    """The day that `calendar_date` reads, as `YYYY-MM-DD`."""
    return _iso_in(value) if type(value) is str and len(value) <= 40 else _iso(calendar_date(value))


def iso_day_number(value: Any) -> str | None:
    """The day that `day_number` reads, as `YYYY-MM-DD`."""
    return _iso(day_number(value))


TRANSFORMS: Mapping[str, Transform] = MappingProxyType(
    {
        "text": text,
        "id": identity,
        "number": json_number,
        "text_number": text_number,
        "boolean": boolean,
        "date": iso_date,
        "day": iso_day_number,
        "json": anything,
    }
)
"""What a table may write after `as`, for custom keys."""

DAY_READERS: Mapping[str, Callable[[str], DayReader]] = MappingProxyType(
    {"date": lambda _: calendar_date, "day": lambda _: day_number, "zoned_day": zoned_day}
)
"""What a table may write after `as`, for the close date: the reader for a connection in a zone."""


@lru_cache(maxsize=8192)
def _day_in(value: str) -> date | None:
    # A page repeats the same few hundred days: the cache makes reading them nearly free.
    bare = value.strip()
    if not bare:
        return None
    found = _DATE.fullmatch(bare)
    if found is None:
        raise _unfit(value, "a date, YYYY-MM-DD")
    try:
        day = date.fromisoformat(found[1])
    except ValueError:
        raise _unfit(value, "a day that the calendar has") from None
    if not FIRST_YEAR <= day.year <= LAST_YEAR:
        raise _unfit(value, _SENSIBLE)
    return day


@lru_cache(maxsize=8192)
def _iso_in(value: str) -> str | None:
    return _iso(_day_in(value))


def _iso(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _storable(value: str) -> str:
    """The text, if every ledger can keep it: Unicode without NUL."""
    if not value.isascii():
        _canonical(value)
    if "\x00" in value:
        raise Unreadable(f"found {shown(value)}; a text must not contain the character NUL", "NUL_CHARACTER")
    return value


def _canonical(value: Any) -> Json:
    try:
        return json_value(value)
    except (ValueError, TypeError) as error:
        raise Unreadable(f"found {shown(value)}; {error}") from None


def _check_within(value: Any, levels: int) -> None:
    if levels == 0:
        raise Unreadable(f"found a value nested deeper than {DEEPEST} levels; simpler ones can be kept")
    for item in value if type(value) is list else [*value, *value.values()]:
        kind = type(item)
        if kind is str:
            _storable(item)
        elif kind is dict or kind is list:
            _check_within(item, levels - 1)


def _unfit(value: Any, right: str) -> Unreadable:
    return Unreadable(f"found {shown(value)}; {right} would be right")
