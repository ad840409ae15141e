"""Monaco's budget: 1000 requests an hour for a whole organization, as its `X-RateLimit-*` headers tell (section 11)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from connectors.pacing import News
from connectors.times import http_date

FIRST_WAIT_S, LONGEST_WAIT_S = 60.0, 900.0
"""How long a refusal without any header is waited out: the first one, doubled with each that follows, at most."""

WINDOW_S = 3600.0
_MILLISECONDS_FROM = 10**12


class Budget:
    """Reads the headers of answers, for all who share the organization's hour.

    `reserve` is the share of the limit left to the customer's other integrations: what remains of it counts as none.
    """

    def __init__(self, reserve: float) -> None:
        self._reserve = reserve
        self._refusals = 0

    def __call__(self, status: int, headers: Mapping[str, str], requested_at: str) -> News | None:
        """How many more requests are ours before the window resets; None when the answer does not tell.

        The reset is held against the answer's own `Date`, else against our clock. `Retry-After` is the transport's.
        """
        left = _left(headers, requested_at)
        if status != 429:
            self._refusals = 0
            remaining, limit = _whole(headers, "x-ratelimit-remaining"), _whole(headers, "x-ratelimit-limit")
            if left is None or remaining is None or limit is None:
                return None
            return News(max(0, int(remaining - limit * self._reserve)), left)
        if "retry-after" in headers:
            return None
        self._refusals += 1
        doubled: float = FIRST_WAIT_S * 2 ** min(self._refusals - 1, 10)
        return News(0, left if left is not None else min(doubled, LONGEST_WAIT_S))


def _left(headers: Mapping[str, str], requested_at: str) -> float | None:
    """Seconds until the window resets; None where it is not told, or lies in the past."""
    reset = _whole(headers, "x-ratelimit-reset")
    if reset is None:
        return None
    seconds = reset / 1000 if reset > _MILLISECONDS_FROM else float(reset)
    now = http_date(headers.get("date", "")) or datetime.fromisoformat(requested_at)
    left = seconds - now.timestamp()
    return min(left, WINDOW_S) if left > 0 else None


def _whole(headers: Mapping[str, str], name: str) -> int | None:
    text = headers.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None
