"""Describe: a mapping as rows for a person, one for each thing it reads or leaves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deals.state import RESERVED
from mappings.grammar import CustomFieldsRule, KindMapping, StageRule, custom_key
from mappings.language import Mapping
from mappings.origins import READINGS


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
    yield "close_date", _places(rule.close_date.sources), READINGS[rule.close_date.transform], ""
    yield "owner_external_id", _places(rule.owner.sources), "an id as text", "the connection's `owners` may turn it"
    for path in rule.required:
        yield "(required)", path, "a record without it is parked", ""
    for key, entry in rule.custom.items():
        yield key, _places(entry.sources), READINGS[entry.transform], ""
    if rule.custom_fields is not None:
        yield from _custom_fields(source, rule.custom_fields)
    for key, reason in rule.ignored.items():
        yield "(ignored)", key, "left out", reason


def _stage(rule: StageRule) -> Iterator[tuple[str, str, str, str]]:
    if rule.outcome is not None:
        place = _places(rule.outcome.sources)
        for word, meaning in rule.outcome.words.items():
            yield "stage", place, f"{word!r} is {meaning}", "decides before the stage is looked at"
        for word in rule.outcome.open:
            yield "stage", place, f"{word!r} leaves it to {_places(rule.sources)}", ""
    for word, meaning in rule.words.items():
        yield "stage", _places(rule.sources), f"{word!r} is {meaning}", ""
    rest = "passes as it is" if rule.unmapped == "pass" else "parks the record"
    yield "stage", _places(rule.sources), f"any other word {rest}", ""


def _custom_fields(source: str, rule: CustomFieldsRule) -> Iterator[tuple[str, str, str, str]]:
    for label, entry in rule.declared.items():
        key = entry.key or custom_key(source, label, RESERVED)
        yield key, f"{rule.source}.{label}", READINGS[entry.transform], ""
    for label, reason in rule.ignored.items():
        yield "(ignored)", f"{rule.source}.{label}", "left out", reason
    nothing = f"{', '.join(map(repr, rule.nothing))} counts as absent" if rule.nothing else ""
    yield "(its label in snake_case)", f"{rule.source}.*", "the value as it is", nothing


def _places(paths: Sequence[str]) -> str:
    return ", else ".join(paths)
