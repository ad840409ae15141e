"""Soundness: what is wrong with a section although each of its keys alone is well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from deals.state import RESERVED
from mappings.grammar import CustomFieldsRule, CustomRule, KindMapping, StageRule, custom_key, head
from mappings.outcome import shown
from mappings.vocabulary import Compare, form, slug

MONEY_KEYS = frozenset(("currency", "amount_original_minor", "fx_rate"))
"""Custom keys that the reading of the amount writes by itself."""


def unsound(source: str, kind: KindMapping) -> Iterator[str]:
    """Every contradiction in a section, each as `place: what and what to do`."""
    claimed = {head(path): place for path, place in kind.claims()}
    for key in kind.ignored:
        if key in claimed:
            yield f"ignored.{key}: the key is ignored here and read by `{claimed[key]}`; keep one of the two"
    for key, entry in kind.custom.items():
        yield from _taken(f"custom.{key}", key, source)
        yield from _look_up(f"custom.{key}", entry)
    for key in kind.amount.derived_by:
        if key not in kind.custom:
            yield f"amount.derived_by: {key!r} is no key of [custom]; name those that count what the amount is made of"
    yield from _stage(kind.stage)
    if kind.custom_fields is not None:
        yield from _custom_fields(kind.custom_fields)
        yield from _labels(source, kind.custom_fields, kind)


def _taken(place: str, key: str, source: str) -> Iterator[str]:
    if key in RESERVED:
        yield f"{place}: the ledger keeps the name {key!r} for itself; prefix it: {source}_{key}"
    elif key in MONEY_KEYS:
        yield f"{place}: the key {key!r} is written with the amount; choose another, such as {source}_{key}"


def _look_up(place: str, entry: CustomRule) -> Iterator[str]:
    if (entry.look_up is None) != (entry.take is None):
        given, missing = ("take", "look_up") if entry.look_up is None else ("look_up", "take")
        yield f'{place}: `{given}` needs `{missing}`: look_up = "accounts", take = "name" reads a name by its key'


def _stage(rule: StageRule) -> Iterator[str]:
    yield from _twins("stage.words", rule.words.items(), rule.compare)
    if rule.outcome is not None:
        entries = chain(rule.outcome.words.items(), ((word, None) for word in rule.outcome.open))
        yield from _twins("stage.outcome", entries, rule.compare)
    if not rule.words and rule.within is None and rule.unmapped == "park":
        yield 'stage: no word is known and unknown words park; list `words`, or write unmapped = "pass"'
    if rule.within is not None:
        yield from _twins("stage.within.words", ((value, None) for value in rule.within.words), "exact")
        for value, words in rule.within.words.items():
            place = f"stage.within.words.{shown(value)}"
            yield from _twins(place, words.items(), rule.compare)
            if not words and rule.unmapped == "park":
                yield f"{place}: no word is known and unknown words park; list its words, or take it out"


def _twins(place: str, entries: Iterable[tuple[str, str | None]], compare: Compare) -> Iterator[str]:
    """Words that are one word for the table. Spelt differently they may stand there twice, if they mean the same."""
    seen: dict[str, tuple[str, str | None]] = {}
    bare = form(compare)
    for word, meant in entries:
        if not word.strip():
            yield f"{place}: an empty word never occurs: an empty text counts as null; take it out"
        elif bare(word) not in seen:
            seen[bare(word)] = (word, meant)
        elif compare == "exact" or meant != seen[bare(word)][1]:
            other = seen[bare(word)][0]
            yield f"{place}: {shown(word)} and {shown(other)} are the same word, mapped twice; keep one"


def _custom_fields(rule: CustomFieldsRule) -> Iterator[str]:
    if (rule.source is None) == (rule.prefix is None):
        yield "custom_fields: one of `from` (an object) and `prefix` (record keys that begin so) would be right"
    if rule.prefix is None:
        return
    if rule.quoted:
        yield "custom_fields.quoted: only an object can be quoted, and record keys with a prefix are none; take it out"
    seen: dict[str, str] = {}
    for label in chain(rule.declared, rule.ignored):
        other = seen.setdefault(slug(label), label)
        if other != label:
            what = f"{shown(label)} and {shown(other)} have one slug, so both speak of one field"
            yield f"custom_fields: {what}; keep one"


def _labels(source: str, rule: CustomFieldsRule, kind: KindMapping) -> Iterator[str]:
    place = "custom_fields"
    owners = {key: f"custom.{key}" for key in kind.custom}
    for label, entry in rule.declared.items():
        where = f"{place}.declared.{shown(label)}"
        if label in rule.ignored:
            yield f"{where}: the label is declared and ignored; keep one of the two"
        key = entry.key or custom_key(source, label, RESERVED)
        if entry.key is not None or key in MONEY_KEYS:
            yield from _taken(where, key, source)
        if key in owners:
            yield f"{where}: the custom key {key!r} is already taken by `{owners[key]}`; give it another `key`"
        owners.setdefault(key, f"{place}.declared.{shown(label)}")
