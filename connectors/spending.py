"""Spending: what was sent of an account's requests and what its answers told, as a value, and how it changes.

Times are epoch seconds of the clock of whoever keeps the value. A permit counts from the moment it is granted, as if
it were used at the last moment it is good for: nobody can know whether a holder that died had used it.

An account may have two keepers, one of which has lent the greater part of every limit to the other: see
`connectors.lending`. What either of them may give out is decided here, so that nobody has to ask the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from connectors.pacing import MINUTE, Limit, News

Lane: TypeAlias = Literal["hint", "pull", "reconcile", "backfill"]
"""What a request is for, the most urgent first."""

RESERVES: Mapping[Lane, float] = {"hint": 0.1, "pull": 0.1, "reconcile": 0.05, "backfill": 0.0}
"""The share of every limit that is kept for a lane: those after it in this order cannot have it."""

SPARE = 0.1
"""The share of every limit that a keeper does not lend."""

PARTS = 20
"""Where a window is spread, a lane takes its share of it in so many equal parts: of a minute so short that a worker,
which gives up a start after five seconds, does not for want of one."""

_BULKY: frozenset[Lane] = frozenset({"reconcile", "backfill"})

_GRAINS = 60
_SHARE = 8
LONGEST_S = 172_800.0
"""No answer is believed to hold us longer than this."""

_SHORTEST_S = 0.001
_DUST_S = 1e-5
"""Less than this is what floats make of the same moment, and no time."""

Sent: TypeAlias = tuple[tuple[float, int], ...]


class Spending(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An account's requests. `sent` has for each window, by its length, when how many were sent, oldest first.

    `left` is how many more the other side allows before `left_until`, out of the `told` that it spoke of first, at
    `told_at`; None when it said nothing, or of a window that is over. Before `held_until` nothing may be sent at all.

    Of a keeper that has lent: `lent_until` is when the other gives out its last, `loan` how often it was lent, and
    `moved` what was sent before that, which the other counts too. Of a keeper that has borrowed: `due` is when it gives
    out nothing more. Permits are taken back in the `turn` in which they were granted only.
    """

    sent: dict[str, Sent] = {}
    left: int | None = None
    told: int = 0
    told_at: float = 0.0
    left_until: float = 0.0
    held_until: float = 0.0
    moved: dict[str, Sent] = {}
    lent_until: float = 0.0
    loan: int = 0
    due: float = 0.0
    turn: int = 0
    hinted_at: float = 0.0


class Terms(NamedTuple):
    """What somebody asks for permits under: the limits of the account, and the lane."""

    limits: Sequence[Limit]
    lane: Lane = "hint"


class Grant(NamedTuple):
    """So many permits, good for `seconds` after `at`; when there are none, not before `wait` seconds have passed.

    They belong to the `turn` of their keeper.
    """

    permits: int
    wait: float
    at: float = 0.0
    seconds: float = 0.0
    turn: int = 0


NOTHING = Grant(0, 0.0)


def kept(lane: Lane, count: int) -> int:
    """How many of `count` requests are kept for the lanes before this one; one is left to every lane."""
    before = list(RESERVES)[: list(RESERVES).index(lane)]
    return min(math.ceil(round(count * sum(RESERVES[one] for one in before), 6)), max(0, count - 1))


def granted(spending: Spending, now: float, terms: Terms, most: int, good_for: float) -> tuple[Spending, Grant]:
    """Take up to `most` permits, good for `good_for` seconds: fewer, the less there is left; none, when none is."""
    spending = _rolled(spending, now)
    room, wait, seconds = most, spending.held_until - now, good_for
    if spending.due and now >= spending.due:
        wait = max(wait, _SHORTEST_S)
    sent = dict(spending.sent)
    for limit in terms.limits:
        window = sent[window_of(limit)] = within(limit, sent.get(window_of(limit), ()), now)
        used = (*within(limit, spending.moved.get(window_of(limit), ()), now), *window)
        given_out = _given_out(spending, limit, now)
        ours = given_out - kept(terms.lane, given_out)
        free = ours - sum(count for _, count in used)
        room = min(room, _share(free))
        wait = max(wait, 0.0 if free > 0 else _until_free(limit, used, 1 - free, now))
        if _is_spread(spending, limit, terms.lane, now):
            part, then = Limit(math.ceil(ours / PARTS), limit.seconds / PARTS), now + good_for
            lately = within(part, used, then)
            free = part.requests - sum(count for _, count in lately)
            room = min(room, free)
            wait = max(wait, 0.0 if free > 0 else _until_free(part, lately, 1 - free, then))
        if limit.aligned:
            seconds = min(seconds, ends(limit, now) - now)
    if spending.left is not None:
        free = spending.left - _not_ours(spending, now) - kept(terms.lane, spending.told)
        room = min(room, _share(free))
        wait = max(wait, 0.0 if free > 0 else spending.left_until - now)
    if wait > _DUST_S:
        return msgspec.structs.replace(spending, sent=sent), Grant(0, max(wait, _SHORTEST_S))
    for limit in terms.limits:
        at = now if limit.aligned else now + seconds
        sent[window_of(limit)] = noted(limit, sent[window_of(limit)], at, room)
    left = None if spending.left is None else spending.left - room
    hinted_at = now if terms.lane == "hint" else spending.hinted_at
    changed = msgspec.structs.replace(spending, sent=sent, left=left, hinted_at=hinted_at)
    return changed, Grant(room, 0.0, now, seconds, spending.turn)


def free_now(spending: Spending, now: float, limits: Sequence[Limit]) -> int | None:
    """How many requests might be sent at this moment, if nobody else sent any; None where nothing limits them."""
    spending = _rolled(spending, now)
    if spending.held_until > now or (spending.due and now >= spending.due):
        return 0
    found = []
    for limit in limits:
        histories = (spending.sent, spending.moved)
        used = sum(n for one in histories for _, n in within(limit, one.get(window_of(limit), ()), now))
        found.append(_given_out(spending, limit, now) - used)
    if spending.left is not None:
        found.append(spending.left - _not_ours(spending, now))
    return max(0, min(found)) if found else None


def returned(spending: Spending, now: float, terms: Terms, grant: Grant) -> Spending:
    """Take back the permits of a grant that were not used."""
    if not grant.permits or grant.turn != spending.turn:
        return spending
    sent = dict(spending.sent)
    for limit in terms.limits:
        at = grant.at if limit.aligned else grant.at + grant.seconds
        window = within(limit, sent.get(window_of(limit), ()), now)
        sent[window_of(limit)] = _taken_back(limit, window, at, grant.permits)
    left = spending.left
    if left is not None and grant.at >= spending.told_at:
        left = min(left + grant.permits, spending.told)
    return msgspec.structs.replace(spending, sent=sent, left=left)


def learned(spending: Spending, now: float, news: News) -> Spending:
    """Take in what an answer told: never more than is believed already, until the window it spoke of is over."""
    spending = _rolled(spending, now)
    until = now + min(news.seconds, LONGEST_S)
    if news.left <= 0:
        return msgspec.structs.replace(spending, held_until=max(spending.held_until, until))
    if spending.left is not None:
        left = min(spending.left, news.left)
        return msgspec.structs.replace(spending, left=left, left_until=min(spending.left_until, until))
    # Permits that are still good may have been used after the answer, or will be.
    on_the_way = max((_later_than(sent, now) for sent in spending.sent.values()), default=0)
    left = max(0, news.left - on_the_way)
    return msgspec.structs.replace(spending, left=left, told=news.left, told_at=now, left_until=until)


def spare(count: int) -> int:
    """How many of `count` requests a keeper does not lend; of a single one, none."""
    return min(math.ceil(count * SPARE), count - 1)


def is_lent(spending: Spending, limit: Limit, now: float) -> bool:
    """Whether the limit's window may hold requests that another keeper has given out, or may yet give out."""
    if not spending.lent_until:
        return False
    return (ends(limit, spending.lent_until) if limit.aligned else spending.lent_until + limit.seconds) > now


def _given_out(spending: Spending, limit: Limit, now: float) -> int:
    """How many requests of a limit come from this keeper."""
    if spending.due:
        return limit.requests - spare(limit.requests)
    return spare(limit.requests) if is_lent(spending, limit, now) else limit.requests


def _is_spread(spending: Spending, limit: Limit, lane: Lane, now: float) -> bool:
    """Whether a lane must spread what it takes of a window, so that a hint which finds it used up soon finds room.

    What leaves a window leaves it as it was sent: after a burst nothing does for a long time. While hints come, all
    others spread; those that have many requests to send spread them over a minute anyway, which costs them little.
    """
    if lane == "hint" or limit.aligned:
        return False
    return now < spending.hinted_at + limit.seconds or (lane in _BULKY and limit.seconds <= MINUTE)


def _not_ours(spending: Spending, now: float) -> int:
    """How many of those that an answer told of are left to the other keeper."""
    if spending.due:
        return spare(spending.told)
    return spending.told - spare(spending.told) if spending.lent_until > now else 0


def _rolled(spending: Spending, now: float) -> Spending:
    if spending.left is None or now < spending.left_until:
        return spending
    return msgspec.structs.replace(spending, left=None)


def _share(free: int) -> int:
    """How many may be taken at once: a part of what is left, so that nobody takes it all and lets it lie."""
    return max(1, free // _SHARE)


def window_of(limit: Limit) -> str:
    """The name of a limit's window in `Spending.sent`."""
    return f"{limit.seconds:g}{' aligned' if limit.aligned else ''}"


def ends(limit: Limit, now: float) -> float:
    """When the aligned window ends that a moment lies in."""
    return (math.floor(now / limit.seconds) + 1) * limit.seconds


def within(limit: Limit, sent: Sent, now: float) -> Sent:
    """Those that the window which ends now still holds."""
    if limit.aligned:
        return tuple(one for one in sent if ends(limit, one[0]) > now)
    return tuple(one for one in sent if one[0] + limit.seconds > now + _DUST_S)


def _until_free(limit: Limit, sent: Sent, number: int, now: float) -> float:
    """Seconds until so many of them are no longer in the window."""
    for at, count in sent:
        number -= count
        if number <= 0:
            return (ends(limit, at) if limit.aligned else at + limit.seconds) - now
    return limit.seconds


def noted(limit: Limit, sent: Sent, at: float, count: int) -> Sent:
    """A window with so many more.

    Each moment is kept by itself while they are few; many are put together, as of the latest.
    """
    if not sent:
        return ((at, count),)
    last, number = sent[-1]
    at, grain = max(at, last), limit.seconds / _GRAINS
    together = limit.aligned or at == last or (len(sent) >= _GRAINS and at // grain == last // grain)
    return (*sent[:-1], (at, number + count)) if together else (*sent, (at, count))


def _taken_back(limit: Limit, sent: Sent, at: float, count: int) -> Sent:
    """Without so many of those that were noted for a moment, or put together with it."""
    for place, (then, number) in enumerate(sent):
        if then >= at or (limit.aligned and ends(limit, then) == ends(limit, at)):
            return (*sent[:place], (then, max(0, number - count)), *sent[place + 1 :])
    return sent


def _later_than(sent: Sent, now: float) -> int:
    return sum(count for at, count in sent if at > now)
