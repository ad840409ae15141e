"""DealState: the canonical deal at one moment, and its form on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Context, Decimal
from typing import Any, TypeAlias

import msgspec

Json: TypeAlias = "str | int | bool | Decimal | list[Json] | dict[str, Json] | None"

STANDARD = ("amount_cents", "stage", "close_date", "owner_external_id")
"""The four fields every ledger event carries, null when unknown (contracts/openquota.md section 3.1)."""

RESERVED = frozenset((*STANDARD, "custom", "deleted"))
"""Names no custom key may bear: the ledger would mistake them for its own."""

MAX_DIGITS = 60
"""A number longer than this when written out is refused: 1e999 must not become a thousand characters."""


class DealState(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a deal. Every standard field may be unknown (None), which is never the same as zero.

    `amount_cents` is an integer in minor units of the ledger's currency (ISO 4217 exponent applied).
    `close_date` is a calendar day and belongs to no time zone.
    `custom` holds JSON values without floats; build them with `json_value`. A struct and not a dataclass: a first load
    makes one for every record.
    """

    amount_cents: int | None = None
    stage: str | None = None
    close_date: date | None = None
    owner_external_id: str | None = None
    custom: Mapping[str, Json] = msgspec.field(default_factory=dict)


def wire(state: DealState) -> dict[str, Json]:
    """The `state` object of a ledger event: the custom keys beside the four standard ones, which are always there."""
    day = state.close_date
    return {
        **state.custom,
        "amount_cents": state.amount_cents,
        "stage": state.stage,
        "close_date": None if day is None else day.isoformat(),
        "owner_external_id": state.owner_external_id,
    }


def from_wire(data: Mapping[str, Any]) -> DealState:
    """Read back what `wire` wrote."""
    day = data["close_date"]
    return DealState(
        amount_cents=data["amount_cents"],
        stage=data["stage"],
        close_date=None if day is None else date.fromisoformat(day),
        owner_external_id=data["owner_external_id"],
        custom={key: json_value(value) for key, value in data.items() if key not in STANDARD},
    )


def json_value(value: Any) -> Json:
    """One decoded JSON value in its canonical form: equal numbers become equal values (1.0 and 1, 1.50 and 1.5).

    Raises `ValueError` for a number that would need more than `MAX_DIGITS` digits and for text that is not Unicode
    (a lone surrogate), `TypeError` for a float or anything that is not JSON.
    """
    kind = type(value)
    if kind is str:
        if not value.isascii():
            _encodable(value)
        return value  # type: ignore[no-any-return]
    if value is None or kind is bool:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return _short(value)
    if kind is Decimal:
        return number(value)
    if kind is list:
        return [json_value(item) for item in value]
    if kind is dict:
        return {json_key(key): json_value(item) for key, item in value.items()}
    raise TypeError(f"{kind.__name__} is not a JSON value here: numbers must be read as decimals")


def json_key(key: Any) -> str:
    """A key of a JSON object, checked as text."""
    if type(key) is not str:
        raise TypeError("a JSON object has text keys")
    _encodable(key)
    return key


def number(value: Decimal) -> int | Decimal:
    """A decimal in its shortest exact form; an integral one becomes an int."""
    if not value.is_finite():
        raise ValueError("the number is not finite")
    if abs(value.adjusted()) > MAX_DIGITS or len(value.as_tuple().digits) > MAX_DIGITS:
        raise ValueError(f"the number needs more than {MAX_DIGITS} digits")
    if value == value.to_integral_value(context=_EXACT):
        return int(value)
    shortest = value.normalize(_EXACT)
    return Decimal(format(shortest, "f"))


def _short(value: int) -> int:
    if abs(value) >= _TOO_LONG:
        raise ValueError(f"the number needs more than {MAX_DIGITS} digits")
    return value


def _encodable(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("the text is not valid Unicode (a lone surrogate)") from None


_TOO_LONG = 10**MAX_DIGITS
_EXACT = Context(prec=MAX_DIGITS + 5)
