"""Rules: the part of a record's reading that a connection's settings decide, beside the table."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from deals.money import AmountUnit, currency_code
from deals.state import number
from mappings.vocabulary import slug

CurrencyPolicy: TypeAlias = Literal["park", "convert", "pass"]
OwnerPolicy: TypeAlias = Literal["park", "null"]
OwnersBy: TypeAlias = Literal["source_id", "email"]


@dataclass(frozen=True, slots=True)
class Rates:
    """Exchange rates into the ledger's currency: for each currency the days from which a rate holds, ascending."""

    by_currency: Mapping[str, tuple[tuple[date, Decimal], ...]]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, date, Decimal]]) -> Rates:
        """Rates from rows of (currency, first day, units of the ledger's currency for one unit of it).

        Raises `ValueError` for an unknown currency, a rate that is not above zero, or two rates for one day.
        """
        found: dict[str, dict[date, Decimal]] = {}
        for currency, day, rate in rows:
            code = currency_code(currency)
            if not (rate.is_finite() and rate > 0):
                raise ValueError(f"the rate of {code} on {day} is {rate}; a number above zero would be right")
            if found.setdefault(code, {}).setdefault(day, rate) != rate:
                raise ValueError(f"{code} has two rates on {day}; keep one")
        return cls({code: tuple(sorted(rates.items())) for code, rates in found.items()})

    def on(self, currency: str, day: date) -> Decimal | None:
        """The latest rate of a currency on or before a day; None when there is none."""
        rates = self.by_currency.get(currency, ())
        place = bisect_right(rates, day, key=lambda entry: entry[0])
        return rates[place - 1][1] if place else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of a connection that change what a record means.

    `ledger_currency` is the one currency of the ledger. A deal in another one is parked, converted at the `rates` of
    its close date, or passed. `pass` declares that the tenant has one currency, the ledger's, whatever its records
    say: the number is taken as it stands, with the exponent of the ledger's currency. `default_currency` stands in
    for a missing one. `amount_unit` is what the source counts in. `owners` turns the source's owner ids into the
    ledger's (None: they pass as they are); `owners_by = "email"` names them by the lower-cased e-mail that the source's
    reference data `users` has for the id. An owner whom neither knows parks the record or becomes null.

    `stage_words` are added to the stage words of every kind, those of single pipelines included, and win over them.
    `zone` is where a `zoned_day` is looked at. `stage_history = False` leaves the stage moves unread that a table's
    `[KIND.stage.history]` names. With `choices`, a custom field that is chosen from a list passes as what the source
    shows people for the choice, by the reference data `choices`, instead of as the choice's key.

    Raises `ValueError` for a currency that is not in ISO 4217, a zone that is not in the time zone database, an empty
    stage word or meaning, two stage words that are spelt alike and mean different things, and for both an owner table
    and owners by e-mail.
    """

    ledger_currency: str
    currency_policy: CurrencyPolicy = "park"
    default_currency: str | None = None
    amount_unit: AmountUnit = "major"
    rates: Rates | None = None
    owners: Mapping[str, str] | None = field(default=None, repr=False)
    owner_policy: OwnerPolicy = "park"
    owners_by: OwnersBy = "source_id"
    stage_words: Mapping[str, str] = field(default_factory=dict)
    zone: str = "UTC"
    stage_history: bool = True
    choices: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "ledger_currency", currency_code(self.ledger_currency))
        if self.default_currency is not None:
            object.__setattr__(self, "default_currency", currency_code(self.default_currency))
        if self.owners is not None and self.owners_by == "email":
            raise ValueError("owners are named by a table or by their e-mail, not by both; leave one of the two out")
        _check_zone(self.zone)
        _check_words(self.stage_words)

    def meaning(self) -> dict[str, Any]:
        """The rules as JSON: equal for rules that read every record alike. `from_meaning` reads it back."""
        rates = self.rates and {
            code: [[day.isoformat(), format(number(rate), "f")] for day, rate in rows]
            for code, rows in self.rates.by_currency.items()
        }
        later = {
            "owners_by": (self.owners_by, "source_id"),
            "stage_words": (dict(self.stage_words), {}),
            "zone": (self.zone, "UTC"),
            "stage_history": (self.stage_history, True),
            "choices": (self.choices, False),
        }
        return {
            "ledger_currency": self.ledger_currency,
            "currency_policy": self.currency_policy,
            "default_currency": self.default_currency,
            "amount_unit": self.amount_unit,
            "rates": rates,
            "owners": None if self.owners is None else dict(self.owners),
            "owner_policy": self.owner_policy,
            # Left out where they are not used: rules written down before these existed keep their version.
            **{name: value for name, (value, default) in later.items() if value != default},
        }

    @classmethod
    def from_meaning(cls, data: Mapping[str, Any]) -> Rules:
        """The rules that `meaning` wrote down."""
        rates = data["rates"]
        rows = () if rates is None else ((code, *row) for code, listed in rates.items() for row in listed)
        read = Rates.of((code, date.fromisoformat(day), Decimal(rate)) for code, day, rate in rows)
        return cls(**{**data, "rates": None if rates is None else read})


def _check_zone(zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{zone!r} is no time zone; a name such as Europe/Berlin or UTC would be right") from None


def _check_words(words: Mapping[str, str]) -> None:
    seen: dict[str, tuple[str, str]] = {}
    for word, meant in words.items():
        if not word.strip() or not meant or meant != meant.strip():
            raise ValueError(
                f"the stage word {word!r} means {meant!r}; a word and its meaning, neither empty, are right"
            )
        other, meaning = seen.setdefault(slug(word), (word, meant))
        if meaning != meant:
            raise ValueError(f"the stage word {word!r} means {meant!r}, and {other!r} means {meaning!r}; keep one")
