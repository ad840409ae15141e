"""Currency: the amount and currency of a record become minor units of the ledger's currency, or problems."""

from __future__ import annotations

from datetime import date
from decimal import Context, Decimal
from typing import TypeAlias

from deals.money import currency_code, exponent, minor_units
from deals.state import Json, number
from mappings.grammar import AmountRule
from mappings.outcome import ABSENT, Problem, Unreadable, shown
from mappings.paths import Record, finder, named
from mappings.rules import Rules
from mappings.transforms import text_number

Amount: TypeAlias = int | Decimal
_EXACT = Context(prec=80)


class Money:
    """Reads the amount of a record as the table's `amount` rule and the connection's rules say.

    It writes the custom keys `currency` and, where an amount was converted, `amount_original_minor` and `fx_rate`.
    """

    __slots__ = ("_codes", "_find_amount", "_find_currency", "_refuse_fraction", "_rule", "_rules")

    def __init__(self, rule: AmountRule, rules: Rules) -> None:
        self._rule = rule
        self._rules = rules
        self._find_amount = finder(rule.sources)
        self._find_currency = finder(() if rule.currency is None else (rule.currency,))
        self._refuse_fraction = rule.whole_minor and rules.amount_unit == "minor"
        self._codes: dict[str, str] = {}

    def read(
        self, record: Record, day: date | None, custom: dict[str, Json], flags: list[str], problems: list[Problem]
    ) -> int | None:
        """The amount in minor units of the ledger's currency; None when there is none, or when it is a problem."""
        amount = self._amount(record, problems)
        code = self._currency(record, amount is not None, flags, problems)
        if code is not None:
            custom["currency"] = code
        if amount is None or code is None:
            return None
        try:
            if code == self._rules.ledger_currency:
                return self._minor(amount, code, flags)
            return self._foreign(amount, code, day, custom, flags)
        except ValueError as error:
            reason = getattr(error, "reason", "") or "BAD_AMOUNT"
            place = named(self._rule.sources, record)
            problems.append(Problem("amount_cents", reason, f"{place}: found {shown(amount)} {code}; {error}"))
            return None

    def _amount(self, record: Record, problems: list[Problem]) -> Amount | None:
        try:
            value = self._find_amount(record)
            kind = type(value)
            if kind is int or kind is Decimal:
                return value  # type: ignore[no-any-return]
            if value is None or value is ABSENT:
                return None
            if self._rule.numbers == "text":
                return text_number(value)
            raise Unreadable(f"found {shown(value)}; a number without quotes would be right")
        except Unreadable as error:
            place = named(self._rule.sources, record)
            problems.append(Problem("amount_cents", error.reason or "BAD_AMOUNT", f"{place}: {error}"))
            return None

    def _currency(self, record: Record, needed: bool, flags: list[str], problems: list[Problem]) -> str | None:
        place = self._rule.currency or "currency"
        try:
            value = self._find_currency(record)
            if type(value) is str:
                code = self._codes.get(value) or self._code(value)
                if code:
                    return code
            elif value is not None and value is not ABSENT:
                raise Unreadable(f"found {shown(value)}; an ISO 4217 code such as USD would be right")
        except ValueError as error:
            problems.append(Problem("currency", "BAD_CURRENCY", f"{place}: {error}"))
            return None
        if not needed:
            return None
        if self._rules.default_currency is None:
            what = f"{place}: missing, and the connection has no default_currency; set one, or the deal's currency"
            problems.append(Problem("currency", "NO_CURRENCY", what))
            return None
        flags.append("currency_defaulted")
        return self._rules.default_currency

    def _code(self, value: str) -> str:
        """The code a currency text means; "" for a blank one. Raises `ValueError`."""
        if not value.strip():
            return ""
        try:
            code = currency_code(value)
        except ValueError as error:
            raise Unreadable(f"found {shown(value)}; {error}") from None
        if len(self._codes) < 1000:
            self._codes[value] = code
        return code

    def _minor(self, amount: Amount, code: str, flags: list[str]) -> int:
        unit = self._rules.amount_unit
        minor = minor_units(amount if type(amount) is Decimal else Decimal(amount), code, unit)
        if minor.rounded:
            if self._refuse_fraction:
                raise Unreadable("the connection counts in minor units, which have no fraction: check amount_unit")
            flags.append("amount_rounded")
        return minor.units

    def _foreign(self, amount: Amount, code: str, day: date | None, custom: dict[str, Json], flags: list[str]) -> int:
        """The amount of a deal in another currency than the ledger's. Raises `Unreadable` to park it."""
        rules = self._rules
        if rules.currency_policy == "pass":
            flags.append("foreign_currency_passed")
            return self._minor(amount, rules.ledger_currency, flags)
        if rules.currency_policy == "park":
            why = f"the ledger is in {rules.ledger_currency}; set currency_policy to convert, or the deal's currency"
            raise Unreadable(why, "FOREIGN_CURRENCY")
        rate = self._rate(code, day)
        original = self._minor(amount, code, [])
        major = Decimal(amount)
        if rules.amount_unit == "minor":
            major = major.scaleb(-exponent(code), _EXACT)
        converted = minor_units(_EXACT.multiply(major, rate), rules.ledger_currency)
        custom["amount_original_minor"] = original
        custom["fx_rate"] = number(rate)
        flags.append("amount_converted")
        if converted.rounded:
            flags.append("amount_rounded")
        return converted.units

    def _rate(self, code: str, day: date | None) -> Decimal:
        if day is None:
            raise Unreadable("the rate is that of the close date, and the deal has none", "NO_RATE")
        rate = None if self._rules.rates is None else self._rules.rates.on(code, day)
        if rate is None:
            raise Unreadable(f"no rate of {code} on or before {day}; add it to the connection's `rates`", "NO_RATE")
        return rate
