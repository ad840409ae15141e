"""Quota: LeadLex counts requests by two clocks, and only the day's count shows in its headers (section 11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

import httpx

from connectors.leadlex.options import LeadlexOptions
from connectors.times import iso

_SHOWN_OF_AN_ID = 64


class Quota:
    """What is known of the account's budget. `told` is what the transport asks after every answer.

    `resumes_at` is set while the day is used up but for the reserve: the time at which reading goes on.
    `request_id` is the vendor's name for the latest answer, for its support. While `exporting`, a 429 that leaves the
    day something is about exports alone. `limit` and `left` are what the latest answer said of the day.
    """

    def __init__(self, options: LeadlexOptions) -> None:
        self._options = options
        self._day = ""
        self._sent = 0
        self.resumes_at: str | None = None
        self.request_id = ""
        self.exporting = False
        self.limit: int | None = None
        self.left: int | None = None

    def told(self, status: int, headers: httpx.Headers, at: str) -> float | None:
        """Seconds in which nothing more should be sent: to the next minute, or to the end of the day."""
        self.request_id = _printable(headers.get("x-request-id", ""))
        now = _date(headers) or datetime.fromisoformat(at)
        self._count(now)
        limit, left = _whole(headers, "x-ratelimit-limit"), _whole(headers, "x-ratelimit-remaining")
        self.limit, self.left = limit, left
        if left is None:
            spent = self._sent >= self._options.day
        else:
            own = self._options.requests_per_day
            kept = ceil((limit or 0) * self._options.reserve)
            spent = left <= (0 if status == 429 else kept) or (own is not None and self._sent >= own)
        if spent:
            until = _reset(headers, now)
            self.resumes_at = iso(until)
            return max(1.0, (until - now).total_seconds())
        self.resumes_at = None
        if status == 429 and not self.exporting:
            return 61.0 - now.second
        return None

    def _count(self, now: datetime) -> None:
        day = now.date().isoformat()
        self._sent = self._sent + 1 if day == self._day else 1
        self._day = day


def _reset(headers: httpx.Headers, now: datetime) -> datetime:
    """When the day begins anew: what the header says where that is sensible, else the next midnight UTC."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    said = _whole(headers, "x-ratelimit-reset")
    if said is None:
        return midnight
    return datetime.fromtimestamp(said, UTC) if now.timestamp() < said <= now.timestamp() + 172_800 else midnight


def _whole(headers: httpx.Headers, name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else None


def _date(headers: httpx.Headers) -> datetime | None:
    try:
        return datetime.strptime(headers.get("date", ""), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None


def _printable(text: str) -> str:
    return "".join(mark for mark in text[:_SHOWN_OF_AN_ID] if mark.isascii() and (mark.isalnum() or mark in "-_"))
