"""Findings that every source's check comes to: a fault, rows that cannot be read, clocks that differ."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from connectors.faults import Fault, Misconfigured, Refused, Unavailable
from connectors.slicing import Sliced
from connectors.source import Finding

SKEW = timedelta(minutes=2)
"""Clocks may differ by so much; a pull's overlap makes up for it."""

_Who: TypeAlias = Literal["refused", "unavailable", "unintelligible", "misconfigured"]


def of_fault(what: str, fault: Fault) -> Finding:
    """A fault as a finding: what was tried, and who must act."""
    return Finding(what, False, str(fault), _kind(fault))


def of_spoiled(rows: Sliced) -> Finding | None:
    """What is wrong with a first page whose rows cannot all be read; None when they can."""
    if not rows.spoiled:
        return None
    example = rows.spoiled[0]
    message = f"{len(rows.spoiled)} of {len(rows.keys)} rows cannot be read; {example.reason}: {example.message}"
    return Finding("first page", False, message, "unintelligible")


def of_clocks(
    vendor: str, here: str, there: str | None, *, untold: str = "so the clocks cannot be compared"
) -> Finding:
    """How far the vendor's clock, as its `Date` header tells it, is from the database's.

    Both are ISO 8601 in UTC. `untold` says what follows where there is no such header.
    """
    if there is None:
        return Finding("clocks", True, f"the answer carries no Date, {untold}")
    ahead = datetime.fromisoformat(there) - datetime.fromisoformat(here)
    seconds = abs(ahead.total_seconds())
    if abs(ahead) <= SKEW:
        return Finding("clocks", True, f"{vendor}'s clock and ours differ by {seconds:.0f} s")
    way = "ahead of" if ahead > timedelta(0) else "behind"
    message = f"{vendor}'s clock is {seconds:.0f} s {way} the database's; set the database's clock by NTP"
    return Finding("clocks", False, message, "misconfigured")


def _kind(fault: Fault) -> _Who:
    if isinstance(fault, Refused):
        return "refused"
    if isinstance(fault, Unavailable):
        return "unavailable"
    return "misconfigured" if isinstance(fault, Misconfigured) else "unintelligible"
