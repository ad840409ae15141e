"""Quota: LeadLex counts requests by two clocks, and only the day's count shows in its headers (section 11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import ceil

import httpx

from connectors.leadlex.options import LeadlexOptions
from connectors.pacing import News
from connectors.times import http_date, iso

_SHOWN_OF_AN_ID = 64


class Quota:
    """What is known of the account's budget. `told` is what the transport asks after every answer.

    `resumes_at` is set while the day is used up but for the reserve: the time at which reading goes on.
    `request_id` is the vendor's name for the latest answer, for its support. While `exporting`, a 429 that leaves the
    day something is about exports alone. `limit` and `left` are what the latest answer said of the day.
    """

    def __init__(self, options: LeadlexOptions) -> None:
        self._options = options
        self.resumes_at: str | None = None
        self.request_id = ""
        self.exporting = False
        self.limit: int | None = None
        self.left: int | None = None

    def told(self, status: int, headers: httpx.Headers, at: str) -> News | None:
        """How many more requests the day has for us, or that there are none, in this minute or this day.

        Without headers it tells nothing: then the plan's day, counted by all who share the account, is all there is.
        """
        self.request_id = _printable(headers.get("x-request-id", ""))
        now = http_date(headers.get("date", "")) or datetime.fromisoformat(at)
        limit, left = _whole(headers, "x-ratelimit-limit"), _whole(headers, "x-ratelimit-remaining")
        self.limit, self.left = limit, left
        self.resumes_at = None
        if left is not None:
            kept = ceil((limit or 0) * self._options.reserve)
            until = _reset(headers, now)
            rest = max(1.0, (until - now).total_seconds())
            if left <= (0 if status == 429 else kept):
                self.resumes_at = iso(until)
                return News(0, rest)
            if status != 429:
                return News(left - kept, rest)
        return News(0, 61.0 - now.second) if status == 429 and not self.exporting else None


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


def _printable(text: str) -> str:
    return "".join(mark for mark in text[:_SHOWN_OF_AN_ID] if mark.isascii() and (mark.isalnum() or mark in "-_"))
