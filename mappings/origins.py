"""Origins: where each field of a deal came from and which rule read it, in words, for a person who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mappings.grammar import KindMapping
from mappings.outcome import ABSENT, Unreadable
from mappings.paths import Record, finder, named
from mappings.rules import Rules


@dataclass(frozen=True, slots=True)
class Origin:
    """`source` names the record key or keys, `raw` is what stood there (None when nothing did), `rule` says in words
    how it was read."""

    source: str
    raw: Any
    rule: str


READINGS: Mapping[str, str] = {
    "text": "text, blanks around it dropped",
    "id": "an id as text",
    "number": "a number, exact",
    "text_number": "a number, exact, quotes allowed",
    "boolean": "true or false",
    "date": "the calendar day as written, never shifted through a zone",
    "day": "a calendar day, or days since 1970-01-01",
    "json": "the value as it is",
}
"""Each transform in words."""


def origins(rule: KindMapping, rules: Rules, record: Record, labels: Mapping[str, Origin]) -> dict[str, Origin]:
    """The origin of the four standard fields, of each custom key the record gives, and of `labels`."""
    found = {
        "amount_cents": _amount(rule, rules, record),
        "stage": _stage(rule, record),
        "close_date": _plain(rule.close_date.sources, record, READINGS[rule.close_date.transform]),
        "owner_external_id": _plain(rule.owner.sources, record, owner_words(rules)),
    }
    found |= _money_keys(rule, rules, record)
    for key, entry in rule.custom.items():
        if _raw(entry.sources, record) is not ABSENT:
            found[key] = _plain(entry.sources, record, READINGS[entry.transform])
    return {**found, **labels}


def money_words(rules: Rules) -> str:
    """How an amount is read, in words."""
    ledger = rules.ledger_currency
    foreign = {
        "park": f"another currency than {ledger} parks",
        "convert": f"another currency than {ledger} is converted at the rate of the close date",
        "pass": f"taken as {ledger} whatever the currency says",
    }[rules.currency_policy]
    return f"decimal money in {rules.amount_unit} units to minor units by ISO 4217, rounded half-even once; {foreign}"


def owner_words(rules: Rules) -> str:
    """How an owner is read, in words."""
    if rules.owners is None:
        return "the source's own id"
    return f"the connection's owner table; an owner not in it is {'null' if rules.owner_policy == 'null' else 'parked'}"


def _amount(rule: KindMapping, rules: Rules, record: Record) -> Origin:
    amount = _plain(rule.amount.sources, record, money_words(rules))
    if rule.amount.currency is None:
        return amount
    currency = _plain((rule.amount.currency,), record, "")
    raw = {amount.source: amount.raw, currency.source: currency.raw}
    return Origin(f"{amount.source}, {currency.source}", raw, amount.rule)


def _money_keys(rule: KindMapping, rules: Rules, record: Record) -> dict[str, Origin]:
    where = rule.amount.currency or rule.amount.sources[0]
    code = _plain((where,), record, "an ISO 4217 code, upper-cased")
    if rule.amount.currency is None or code.raw is None or not str(code.raw).strip():
        if rules.default_currency is None or _plain(rule.amount.sources, record, "").raw is None:
            return {}
        return {"currency": Origin(where, None, "the connection's default_currency")}
    found = {"currency": code}
    if rules.currency_policy == "convert" and str(code.raw).strip().upper() != rules.ledger_currency:
        amount = _plain(rule.amount.sources, record, "the amount before conversion, in minor units of its own currency")
        found["amount_original_minor"] = amount
        found["fx_rate"] = Origin(where, code.raw, "the latest rate on or before the close date")
    return found


def _stage(rule: KindMapping, record: Record) -> Origin:
    stage = rule.stage
    if stage.outcome is not None:
        decided = _plain(stage.outcome.sources, record, "the outcome's words decide before the stage is looked at")
        if isinstance(decided.raw, str) and decided.raw.strip() in stage.outcome.words:
            return decided
    unknown = "an unknown word passes as it is" if stage.unmapped == "pass" else "an unknown word parks"
    return _plain(stage.sources, record, f"the table's vocabulary, exactly as written; {unknown}")


def _plain(paths: Sequence[str], record: Record, rule: str) -> Origin:
    raw = _raw(paths, record)
    return Origin(named(paths, record), None if raw is ABSENT else raw, rule)


def _raw(paths: Sequence[str], record: Record) -> Any:
    try:
        return finder(paths)(record)
    except Unreadable:
        return ABSENT
