"""Origins: where each field of a deal came from and which rule read it, in words, for a person who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mappings.grammar import CustomRule, DayRule, KindMapping, StageRule
from mappings.outcome import ABSENT, Unreadable
from mappings.paths import Record, finder, named
from mappings.references import USERS, References
from mappings.rules import Rules
from mappings.stages import CLOSED, StageWords, decided_by


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
    "zoned_day": "the day a date-time is in the connection's zone; a plain date is never shifted",
    "json": "the value as it is",
}
"""Each transform in words."""


def origins(rule: KindMapping, rules: Rules, record: Record, known: References, stage: str | None) -> dict[str, Origin]:
    """The origin of the four standard fields and of each custom key that a rule of the table reads from the record.

    `known` is the reference data the record was read with, `stage` the ledger's word that it came to.
    """
    found = {
        "amount_cents": _amount(rule, rules, record),
        "stage": _stage(rule.stage, rules, record),
        "close_date": _close_date(rule.close_date, rules, record, stage),
        "owner_external_id": _owner(rule, rules, record, known),
    }
    found |= _money_keys(rule, rules, record)
    for key, entry in rule.custom.items():
        if _raw(entry.sources, record) is not ABSENT:
            found[key] = _custom(entry, record, known)
    return found


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
    otherwise = "null" if rules.owner_policy == "null" else "parked"
    if rules.owners_by == "email":
        return f"the owner's e-mail among the source's users, in lower case; an owner without one is {otherwise}"
    if rules.owners is None:
        return "the source's own id"
    return f"the connection's owner table; an owner not in it is {otherwise}"


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


def compare_words(rule: StageRule) -> str:
    """How a stage word is found in a table, in words."""
    return "by its slug" if rule.compare == "slug" else "exactly as written"


def _stage(rule: StageRule, rules: Rules, record: Record) -> Origin:
    if rule.outcome is not None:
        decided = _plain(rule.outcome.sources, record, "the outcome's words decide before the stage is looked at")
        if decided_by(rule.outcome, rule.compare, decided.raw):
            return decided
    unknown = "an unknown word passes as it is" if rule.unmapped == "pass" else "an unknown word parks"
    stage = _plain(rule.sources, record, f"the table's vocabulary, {compare_words(rule)}; {unknown}")
    if rules.stage_words:
        stage = replace(stage, rule=f"{stage.rule}; the connection's own words come first")
    if rule.within is None:
        return stage
    second = _plain(rule.within.sources, record, "")
    own = StageWords("", rule, {}).has_own(record)
    words = f"the words of its own {second.source}" if own else f"the general words, its {second.source} having none"
    raw = {stage.source: stage.raw, second.source: second.raw}
    return Origin(f"{stage.source}, {second.source}", raw, f"{stage.rule}; {words}")


def _close_date(rule: DayRule, rules: Rules, record: Record, stage: str | None) -> Origin:
    reading = READINGS[rule.transform]
    if rule.transform == "zoned_day":
        reading = f"{reading} ({rules.zone})"
    if not rule.closed:
        return _plain(rule.sources, record, reading)
    if stage in CLOSED:
        return _plain((*rule.closed, *rule.sources), record, f"{reading}; the deal is closed")
    return _plain(rule.sources, record, f"{reading}; the deal is not closed")


def _owner(rule: KindMapping, rules: Rules, record: Record, known: References) -> Origin:
    owner = _plain(rule.owner.sources, record, owner_words(rules))
    if rules.owners_by != "email" or owner.raw is None:
        return owner
    return _looked_up(owner, known, (USERS, "email"))


def _custom(rule: CustomRule, record: Record, known: References) -> Origin:
    origin = _plain(rule.sources, record, READINGS[rule.transform])
    if rule.look_up is None or rule.take is None:
        return origin
    how = f"{rule.take} of what {rule.look_up} has under the key in {origin.source}; {origin.rule}"
    return _looked_up(replace(origin, rule=how), known, (rule.look_up, rule.take))


def _looked_up(origin: Origin, known: References, place: tuple[str, str]) -> Origin:
    """An origin in the record with what reference data had for it."""
    name, taken = place
    key = str(origin.raw).strip() if isinstance(origin.raw, str | int) else ""
    found = known.get(name, {}).get(key)
    raw = None if found is None else _raw((taken,), dict(found))
    where = f"{name}.{taken}"
    raws = {origin.source: origin.raw, where: None if raw is ABSENT else raw}
    return Origin(f"{origin.source}, {where}", raws, origin.rule)


def _plain(paths: Sequence[str], record: Record, rule: str) -> Origin:
    raw = _raw(paths, record)
    return Origin(named(paths, record), None if raw is ABSENT else raw, rule)


def _raw(paths: Sequence[str], record: Record) -> Any:
    try:
        return finder(paths)(record)
    except Unreadable:
        return ABSENT
