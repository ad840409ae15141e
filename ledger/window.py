"""Window: what is known of an API key's requests, as a value, and how it changes (contracts/openquota.md section 7)."""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec

MINUTE_S = 60.0
LONGEST_WAIT_S = 3600.0
_GRAIN_S = 1.0
_SHORTEST_WAIT_S = 0.05


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger's fixed window, and our own count. Times are epoch seconds of the clock of whoever keeps this.

    `left` are the requests that the ledger still allows before `ends`; None: it never spoke of a limit. `reset` is its
    own name for the window; a window that began by the clock alone is not `named` until an answer tells of it.
    `turn` counts windows, so that a permit can be given back to its own only. `spent` holds what was granted in each
    grain of the last minute, where we have a limit of our own. `met` says that an answer was seen at all, `early`
    counts the requests granted before one was: one at a time.
    """

    met: bool = False
    early: int = 0
    limit: int | None = None
    left: int | None = None
    reset: int = 0
    ends: float = 0.0
    named: bool = True
    turn: int = 0
    held_until: float = 0.0
    spent: tuple[tuple[float, int], ...] = ()


class News(NamedTuple):
    """What the answers of one process said of the newest window they knew; it ends in `ends_in` seconds.

    `in_flight` are the requests of that process that the ledger had not counted yet.
    """

    limit: int | None
    remaining: int
    reset: int
    ends_in: float
    in_flight: int


class Grant(NamedTuple):
    """So many requests may go; when none, not before `wait` seconds. They are good for `seconds` in their `turn`."""

    permits: int
    wait: float
    seconds: float
    turn: int


def granted(window: Window, now: float, most: int, per_minute: int | None) -> tuple[Window, Grant]:
    """Take up to `most` requests out of what is left, and of our own `per_minute` (None: no limit of our own).

    Ours slides: no minute, wherever it begins, sees more than `per_minute`.
    """
    window = _rolled(window, now)
    room, wait = most if window.met else min(most, 1), window.held_until - now
    spent = tuple(one for one in window.spent if one[0] + MINUTE_S + _GRAIN_S > now)
    if per_minute is not None:
        own = per_minute - sum(count for _, count in spent)
        room = min(room, own)
        if own <= 0:
            wait = max(wait, spent[0][0] + MINUTE_S + _GRAIN_S - now)
    if window.left is not None:
        room = min(room, window.left)
        if window.left <= 0:
            wait = max(wait, window.ends - now)
    if wait > 0 or room <= 0:
        return msgspec.structs.replace(window, spent=spent), Grant(0, max(wait, _SHORTEST_WAIT_S), 0.0, window.turn)
    left = None if window.left is None else window.left - room
    seconds = MINUTE_S if left is None else window.ends - now
    if per_minute is not None:
        grain = math.floor(now / _GRAIN_S) * _GRAIN_S
        spent, seconds = _noted(spent, grain, room), min(seconds, grain + _GRAIN_S - now)
    early = window.early + (0 if window.met else room)
    return msgspec.structs.replace(window, left=left, spent=spent, early=early), Grant(room, 0.0, seconds, window.turn)


def returned(window: Window, now: float, permits: int, turn: int) -> Window:
    """Take back permits that were not used; of a window that is over they are worth nothing."""
    window = _rolled(window, now)
    if not permits or turn != window.turn:
        return window
    spent = window.spent
    if spent:
        at, count = spent[-1]
        spent = (*spent[:-1], (at, max(0, count - permits)))
    left = None if window.left is None else window.left + permits
    return msgspec.structs.replace(window, left=left, spent=spent)


def learned(window: Window, now: float, news: News | None) -> Window:
    """Take in what answers said; `None` are answers without a word of limits."""
    window = _rolled(window, now)
    if news is None:
        return window if window.met else msgspec.structs.replace(window, met=True)
    if news.reset < window.reset or news.ends_in <= 0:
        return window  # late, from a window that is over
    ends, turn = now + min(news.ends_in, LONGEST_WAIT_S), window.turn
    if window.left is None or (window.named and news.reset > window.reset):
        early = 0 if window.met else window.early - 1  # one of them was answered
        left, turn = max(0, news.remaining - max(early, news.in_flight)), turn + 1
    else:
        left = min(window.left, news.remaining)  # never more: what was granted and not sent yet is not in its count
        if news.reset == window.reset:
            ends = min(ends, window.ends)
    limit = window.limit if news.limit is None else news.limit
    return msgspec.structs.replace(
        window, met=True, limit=limit, left=left, reset=news.reset, ends=ends, named=True, turn=turn
    )


def held(window: Window, now: float, seconds: float) -> Window:
    """Nobody may ask before `seconds` have passed."""
    until = max(window.held_until, now + min(seconds, LONGEST_WAIT_S))
    return msgspec.structs.replace(window, held_until=until)


def _rolled(window: Window, now: float) -> Window:
    """The window in force: when one has ended, the next one has its full limit, and an end that is to be confirmed."""
    if window.left is None or now < window.ends:
        return window
    ends = window.ends + MINUTE_S * (math.floor((now - window.ends) / MINUTE_S) + 1)
    return msgspec.structs.replace(
        window, left=window.limit, reset=window.reset + 1, ends=ends, named=False, turn=window.turn + 1
    )


def _noted(spent: tuple[tuple[float, int], ...], grain: float, count: int) -> tuple[tuple[float, int], ...]:
    if spent and spent[-1][0] >= grain:
        return (*spent[:-1], (spent[-1][0], spent[-1][1] + count))
    return (*spent, (grain, count))
