"""Lending: the greater part of an account's limits is given out by another keeper, as a value, and how it comes back.

One keeper is lasting, the other quick, and either may be out of somebody's reach at any moment. So neither ever waits
for the other: for the time of a loan each gives out a part of its own of every limit (`connectors.spending.SPARE`), and
whatever both give out together stays below it. The lasting one has all of it again once the last permit of the loan
has left its window. A keeper that forgot what it had given out is lent nothing before that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from connectors.pacing import Limit, News
from connectors.spending import Sent, Spending, is_lent, learned, noted, window_of, within

LOAN_S = 60.0
"""So long after it was made or renewed the borrower gives out permits."""

RENEW_S = 30.0
"""A loan that ends sooner than that is renewed by whoever comes first."""

_SLACK_S = 5.0
"""For so long after its end permits of a loan may still be good."""


class Loan(NamedTuple):
    """What a borrower is to take in: the `sent` that it did not know of, by the lender's clock at `at`.

    One that is made `anew` replaces whatever the borrower holds.
    """

    number: int
    anew: bool
    at: float
    sent: dict[str, Sent]
    news: tuple[News, ...]


def lend(
    spending: Spending, now: float, limits: Sequence[Limit], borrower: Spending | None, there: float
) -> tuple[Spending, Loan | None]:
    """Lend to a keeper that holds `borrower` (None: nothing any more) at its own time `there`, or renew its loan.

    None when the borrower cannot know all that it has given out, and some of that may still count.
    """
    anew = borrower is None or not _believed(spending, now, borrower)
    if anew and any(is_lent(spending, limit, now) for limit in limits):
        return spending, None
    spending = _told(spending, now, () if borrower is None else news_of(borrower, there))
    everything = _together(limits, spending.moved, spending.sent, now)
    loan = Loan(spending.loan + 1, anew, now, everything if anew else spending.sent, news_of(spending, now))
    changed = msgspec.structs.replace(
        spending,
        sent={},
        moved=everything,
        lent_until=now + LOAN_S + _SLACK_S,
        loan=loan.number,
        turn=loan.number,
    )
    return changed, loan


def borrowed(borrower: Spending | None, now: float, limits: Sequence[Limit], loan: Loan, asked: float) -> Spending:
    """The borrower's value with a loan taken in, by its own time; `asked` is that before it asked.

    So the loan ends no later, and what it brings counts no shorter, than by the lender's clock.
    """
    if borrower is None or loan.anew:
        borrower = Spending(turn=-loan.number)
    by = now - loan.at
    moved = {name: tuple((at + by, count) for at, count in sent) for name, sent in loan.sent.items()}
    for limit in limits:
        if limit.aligned:  # no clock may put what was sent on this day on the day before
            moved[window_of(limit)] = tuple((max(at, at + by), n) for at, n in loan.sent.get(window_of(limit), ()))
    spending = msgspec.structs.replace(
        borrower,
        sent=_together(limits, borrower.sent, moved, now),
        loan=max(borrower.loan, loan.number),
        due=max(borrower.due, asked + LOAN_S),
    )
    return _told(spending, now, loan.news)


def news_of(spending: Spending, now: float) -> tuple[News, ...]:
    """What a keeper was told by answers, for the other one."""
    found = []
    if spending.held_until > now:
        found.append(News(0, spending.held_until - now))
    if spending.left is not None and spending.left_until > now:
        found.append(News(max(spending.left, 0), spending.left_until - now))
    return tuple(found)


def _believed(spending: Spending, now: float, borrower: Spending) -> bool:
    """Whether a borrower's value is that of the last loan; of a running one, whoever renewed it may have died half-way.

    Another one was restored from a copy.
    """
    return borrower.loan == spending.loan or (borrower.loan == spending.loan - 1 and now < spending.lent_until)


def _told(spending: Spending, now: float, news: Sequence[News]) -> Spending:
    """The value of a keeper that was told what the other knows; of what is left from here on, each has its part."""
    for one in news:
        spending = learned(spending, now, one)
    return spending if spending.left is None else msgspec.structs.replace(spending, told=spending.left, told_at=now)


def _together(limits: Sequence[Limit], one: dict[str, Sent], other: dict[str, Sent], now: float) -> dict[str, Sent]:
    """Both histories as one, as far as they still count."""
    found: dict[str, Sent] = {}
    for limit in limits:
        name = window_of(limit)
        sent: Sent = ()
        for at, count in sorted((*one.get(name, ()), *other.get(name, ()))):
            sent = noted(limit, sent, at, count)
        if kept := within(limit, sent, now):
            found[name] = kept
    return found
