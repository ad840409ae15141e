"""Times: durations as people write them, and instants as sources write them, in a form that text comparison orders."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Any

from pydantic import BeforeValidator

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(?:\d+(?:ms|[smhd]))+", re.ASCII)
_PART = re.compile(r"(\d+)(ms|[smhd])")
_DAY = r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_USUAL = rf"(?!0000)\d{{4}}-{_DAY}T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{{3}}Z"
_INSTANT = re.compile(_USUAL, re.ASCII)
_WIDTH = len("2026-04-22T10:15:30.000Z ")
_INSTANTS = re.compile(rf"(?:{_USUAL} )*+", re.ASCII)
"""The usual form, known by its looks; a leap day takes the longer way."""
_ZONED = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)", re.ASCII | re.I)
LONGEST = timedelta(days=3660)
"""A longer duration is taken for a slip of the hand."""


def duration(text: str) -> timedelta:
    """A duration as people write it: `30s`, `10m`, `24h`, `1h30m`, `250ms`, `7d`; `0s` is none at all.

    Raises `ValueError` saying what would be right, for anything else and for more than ten years.
    """
    written = text.strip().lower()
    if not _DURATION.fullmatch(written) or len(written) > 40:
        raise ValueError(f"{text[:40]!r} is not a duration; write a number and a unit, such as 30s, 10m, 24h or 1h30m")
    seconds = sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(written))
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"{text[:40]!r} is longer than ten years")
    return timedelta(seconds=seconds)


def _given(value: Any) -> Any:
    if isinstance(value, str):
        return duration(value)
    if isinstance(value, timedelta):
        return value
    raise ValueError("a duration is text with a unit, such as 30s, 10m or 24h")


Duration = Annotated[timedelta, BeforeValidator(_given)]
"""A setting that is a duration: `"10m"` in a file, a `timedelta` in the program."""


def instant(value: object) -> str | None:
    """A source's time as `2026-04-22T10:15:30.000Z`, cut to milliseconds; such texts compare as the times do.

    None for whatever is not a moment: no text, no zone, a day that does not exist, another calendar's digits.
    """
    if type(value) is not str:
        return None
    if _INSTANT.fullmatch(value):
        return value
    if not _ZONED.fullmatch(value):
        return None
    try:
        return iso(datetime.fromisoformat(value.upper().replace(",", ".")))
    except (ValueError, OverflowError):
        return None


def http_date(text: str) -> datetime | None:
    """The moment of a `Date` or `Retry-After` header, in UTC; None for whatever is no moment, or has no zone."""
    try:
        moment = parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def are_instants(texts: list[str]) -> bool:
    """Whether all of them are in the form that `instant` gives. It may say no where a leap day is meant."""
    joined = " ".join((*texts, ""))
    return len(joined) == _WIDTH * len(texts) and _INSTANTS.fullmatch(joined) is not None


def iso(moment: datetime) -> str:
    """A moment that knows its zone, as ISO 8601 in UTC with milliseconds and `Z`."""
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


def shifted(moment: str, by: timedelta) -> str:
    """`moment` (in the form of `instant`) moved by a duration, held within the years 1 to 9999."""
    start = datetime.fromisoformat(moment)
    try:
        return iso(start + by)
    except OverflowError:
        return iso(datetime.max.replace(tzinfo=UTC) if by > timedelta() else datetime.min.replace(tzinfo=UTC))


def later(one: str | None, other: str | None) -> str | None:
    """The later of two instants (in the form of `instant`), as far as there are any."""
    return max(one or "", other or "") or None
