"""Describe: a mapping as rows for a person, one for each thing it reads or leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deals.state import RESERVED
from mappings.grammar import CustomFieldsRule, DayRule, KindMapping, OutcomeRule, StageRule, custom_key
from mappings.language import Mapping
from mappings.origins import READINGS, compare_words


@dataclass(frozen=True, slots=True)
class Row:
    """One line of `mapping show`: the deal's `field` (or what becomes of the key), the record key it comes `source`
    from, the `rule` in words, and a `note` that is empty where there is nothing to add."""

    kind: str
    field: str
    source: str
    rule: str
    note: str = ""


def describe(mapping: Mapping) -> list[Row]:
    """Every rule of a mapping, kind by kind: the four standard fields, custom keys, vendor fields, ignored keys."""
    return [Row(kind, *cells) for kind, rule in mapping.kinds.items() for cells in _cells(mapping.source, rule)]


def _cells(source: str, rule: KindMapping) -> Iterator[tuple[str, str, str, str]]:
    amount = rule.amount
    numbers = "decimal money; numbers in quotes are read too" if amount.numbers == "text" else "decimal money"
    note = f"currency from {amount.currency}" if amount.currency else "in the connection's default_currency"
    yield "amount_cents", _places(amount.sources), numbers, note
    yield from _stage(rule.stage)
    yield from _close_date(rule.close_date)
    yield "owner_external_id", _places(rule.owner.sources), "an id as text", "the connection's `owners` may turn it"
    if rule.nulls == "absent":
        yield "(nulls)", "*", "a null says the same as an absent key", ""
    for path in rule.required:
        yield "(required)", path, "a record without it is parked", ""
    for key, entry in rule.custom.items():
        where = "" if entry.look_up is None else f"{entry.take} of what {entry.look_up} has under this key"
        yield key, _places(entry.sources), READINGS[entry.transform], where
    if rule.custom_fields is not None:
        yield from _custom_fields(source, rule.custom_fields)
    for key, reason in rule.ignored.items():
        yield "(ignored)", key, "left out", reason


def _close_date(rule: DayRule) -> Iterator[tuple[str, str, str, str]]:
    reading = READINGS[rule.transform]
    if rule.closed:
        yield "close_date", _places((*rule.closed, *rule.sources)), reading, "once the deal is closed"
    yield "close_date", _places(rule.sources), reading, "until the deal is closed" if rule.closed else ""


def _stage(rule: StageRule) -> Iterator[tuple[str, str, str, str]]:
    place = _places(rule.sources)
    if rule.outcome is not None:
        yield from _outcome(rule.outcome, place)
    if rule.within is not None:
        second = _places(rule.within.sources)
        for value, words in rule.within.words.items():
            for word, meaning in words.items():
                yield (
                    "stage",
                    place,
                    f"{word!r} is {meaning}",
                    f"where {second} is {value!r}, which has its own words",
                )
    for word, meaning in rule.words.items():
        yield "stage", place, f"{word!r} is {meaning}", ""
    rest = "passes as it is" if rule.unmapped == "pass" else "parks the record"
    note = f"a word is found {compare_words(rule)}" if rule.compare != "exact" else ""
    yield "stage", place, f"any other word {rest}", note
    if rule.history is not None:
        moves = f"{_places(rule.history.sources)}[].{_places(rule.history.stage)}"
        by = [_places(paths) for paths in (rule.history.at, rule.history.before) if paths]
        note = f"which is the oldest is told by {', '.join([*by, 'the stage that the last one led to'])}"
        yield "(stage moves)", moves, "each a stage that the deal was in between two reads, oldest first", note


def _outcome(rule: OutcomeRule, stage: str) -> Iterator[tuple[str, str, str, str]]:
    place = _places(rule.sources)
    beside = f"parks where {stage} is another closed stage" if rule.agree else ""
    for word, meaning in rule.words.items():
        yield "stage", place, f"{word!r} is {meaning}", beside or "decides before the stage is looked at"
    for word in rule.open:
        note = f"parks where {stage} is a closed stage" if rule.agree else ""
        yield "stage", place, f"{word!r} leaves it to {stage}", note


def _custom_fields(source: str, rule: CustomFieldsRule) -> Iterator[tuple[str, str, str, str]]:
    before = "" if rule.source is None else f"{rule.source}."
    for label, entry in rule.declared.items():
        key = entry.key or custom_key(source, label, RESERVED)
        yield key, f"{before}{label}", READINGS[entry.transform], ""
    for label, reason in rule.ignored.items():
        yield "(ignored)", f"{before}{label}", "left out", reason
    notes = [f"{', '.join(map(repr, rule.nothing))} counts as absent"] if rule.nothing else []
    notes += [f"{rule.source} may be the JSON text of an object"] if rule.quoted else []
    yield "(its label in snake_case)", f"{before or rule.prefix}*", "the value as it is", "; ".join(notes)


def _places(paths: Sequence[str]) -> str:
    return ", else ".join(paths)
