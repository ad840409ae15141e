"""Words: counts, money and times as a person reads them, in a terminal and on a page."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pipeline.summary import Summary


def counts(summary: Summary) -> str:
    """What became of the records of a run; kinds that did not occur are left out."""
    became = {
        "applied": summary.applied,
        "unchanged": summary.unchanged,
        "superseded": summary.superseded,
        "parked": summary.parked,
        "out of scope": summary.out_of_scope,
    }
    parts = " + ".join(f"{number:,} {what}" for what, number in became.items() if number)
    return f"{summary.read:,} read{' = ' + parts if parts else ''}"


def summary_line(title: str, summary: Summary) -> str:
    """The line a run ends with."""
    hint = "; `dealsync parked list` says why" if summary.parked else ""
    return f"{title} (run {summary.run}): {counts(summary)}; {events(summary)} in {seconds(summary)}{hint}"


def events(summary: Summary) -> str:
    """How many events a run made."""
    return counted(summary.events, "event")


def counted(number: int, what: str) -> str:
    """So many of something: 1 event, 1,200 events."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def publish_line(summary: Summary) -> str:
    """The line a publish ends with."""
    there = f", {summary.unchanged:,} of them already there" if summary.unchanged else ""
    refused = f"; {summary.parked:,} refused, `dealsync parked list` says why" if summary.parked else ""
    return f"publish (run {summary.run}): {summary.published:,} in the ledger{there} in {seconds(summary)}{refused}"


def seconds(summary: Summary) -> str:
    """How long a run took."""
    return f"{summary.seconds:,.1f} s"


def money(cents: int | None, currency: str | None) -> str:
    """Minor units as an amount: 12,345.00 USD, 1,234 JPY; the bare number where no currency is known."""
    if cents is None:
        return "-"
    from deals.money import exponent

    try:
        places = exponent(currency or "")
    except ValueError:
        return f"{cents:,} minor units"
    whole, rest = divmod(abs(cents), 10**places)
    fraction = f".{rest:0{places}d}" if places else ""
    return f"{'-' if cents < 0 else ''}{whole:,}{fraction} {currency}"


def expectation(expected: dict[str, Any] | None, currency: str) -> str:
    """What a dry run said, in words; None where it has not come to that."""
    if expected is None:
        return "not looked at yet"
    if "unreadable" in expected:
        return str(expected["unreadable"])
    parts = [
        f"{expected[name]:,} {word}"
        for name, word in (
            ("creates", "new"), ("changes", "changed"), ("no_ops", "unchanged"), ("parked", "parked"),
            ("out_of_scope", "out of scope"), ("unreadable_chunks", "chunks that cannot be read"),
            ("unknown_chunks", "chunks that it has not come to"),
        )
        if expected.get(name)
    ]  # fmt: skip
    moved = sums(expected.get("money", {}), currency, signed=True)
    return "; ".join([", ".join(parts) or "no deals", *([f"moves {moved}"] if moved else [])])


def left(seconds: int | None) -> str | None:
    """A time that is left, to two units: 3d 4h, 2h 5m, 4m 10s, 12s."""
    if seconds is None:
        return None
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    units = [f"{number}{unit}" for number, unit in ((days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")) if number]
    return " ".join(units[:2]) or "0s"


def sums(by_currency: dict[str, int], currency: str, *, signed: bool = False) -> str:
    """Sums of deals by the currency that their source names. All amounts are in the ledger's `currency`, whatever a
    deal's own is: what was converted or taken as it is says so.
    """
    told = []
    for code, cents in by_currency.items():
        sign = "+" if signed and cents > 0 else ""
        told.append(f"{sign}{money(cents, currency)}{'' if code in ('', currency) else f' of deals in {code}'}")
    return ", ".join(told)


def moment(text: str | None) -> str:
    """A time to the second, in UTC."""
    return "never" if text is None else f"{text[:19].replace('T', ' ')} UTC"


def shown(value: Any) -> str:
    """A JSON value in a line of text."""
    import json

    text = str(value) if isinstance(value, str | Decimal) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:199]}…"
