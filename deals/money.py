"""Money: a decimal amount and its currency become integer minor units, once and visibly."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import cache
from typing import Literal

import iso4217
import msgspec

AmountUnit = Literal["major", "minor"]

_WIDE = Context(prec=80, rounding=ROUND_HALF_EVEN)


class Minor(msgspec.Struct, frozen=True, gc=False):
    """An amount in minor units; `rounded` says that a fraction of a minor unit was lost."""

    units: int
    rounded: bool


@cache
def exponent(currency: str) -> int:
    """Decimal places of a currency (USD 2, JPY 0, KWD 3), from ISO 4217.

    Raises `ValueError` for a code that is no ISO 4217 currency, or one without minor units (gold, SDRs).
    """
    try:
        places = iso4217.Currency(currency).exponent
    except ValueError:
        raise ValueError(f"{currency!r} is not an ISO 4217 currency code") from None
    if places is None:
        raise ValueError(f"{currency} has no minor unit in ISO 4217, so no amount can be paid in it")
    return int(places)


def currency_code(text: str) -> str:
    """A currency code as ISO 4217 writes it: trimmed, upper case, known. Raises `ValueError` otherwise."""
    code = text.strip().upper()
    if len(code) != 3 or not code.isascii():
        raise ValueError(f"{text[:20]!r} is not an ISO 4217 currency code")
    exponent(code)
    return code


def minor_units(amount: Decimal, currency: str, unit: AmountUnit = "major") -> Minor:
    """`amount` of `currency` as integer minor units, a fraction of one rounded half-even.

    `unit` says whether the source counts in major units (12.50 USD) or already in minor ones (1250).
    Raises `ValueError` for an unknown currency or an amount that is not finite or beyond 10^30 minor units.
    """
    places = exponent(currency)
    if not amount.is_finite() or abs(amount.adjusted()) > 30:
        raise ValueError("the amount is not a finite number of sensible size")
    scaled = amount.scaleb(places, _WIDE) if unit == "major" else amount
    whole = round(scaled)  # half-even, whatever the context
    return Minor(whole, rounded=whole != scaled)
