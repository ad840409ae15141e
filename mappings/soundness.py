"""Soundness: what is wrong with a section although each of its keys alone is well."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from deals.state import RESERVED
from mappings.grammar import CustomFieldsRule, KindMapping, OutcomeRule, custom_key, head
from mappings.outcome import shown
from mappings.vocabulary import plain_word

MONEY_KEYS = frozenset(("currency", "amount_original_minor", "fx_rate"))
"""Custom keys that the reading of the amount writes by itself."""


def unsound(source: str, kind: KindMapping) -> Iterator[str]:
    """Every contradiction in a section, each as `place: what and what to do`."""
    claimed = {head(path): place for path, place in kind.claims()}
    for key in kind.ignored:
        if key in claimed:
            yield f"ignored.{key}: the key is ignored here and read by `{claimed[key]}`; keep one of the two"
    for key in kind.custom:
        yield from _taken(f"custom.{key}", key, source)
    yield from _twins("stage.words", kind.stage.words)
    if kind.stage.outcome is not None:
        yield from _outcome(kind.stage.outcome)
    if not kind.stage.words and kind.stage.unmapped == "park":
        yield 'stage: no word is known and unknown words park; list `words`, or write unmapped = "pass"'
    if kind.custom_fields is not None:
        yield from _labels(source, kind.custom_fields, kind)


def _taken(place: str, key: str, source: str) -> Iterator[str]:
    if key in RESERVED:
        yield f"{place}: the ledger keeps the name {key!r} for itself; prefix it: {source}_{key}"
    elif key in MONEY_KEYS:
        yield f"{place}: the key {key!r} is written with the amount; choose another, such as {source}_{key}"


def _twins(place: str, words: Iterable[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for word in words:
        bare = plain_word(word)
        if not bare:
            yield f"{place}: an empty word never occurs: an empty text counts as null; take it out"
        elif bare in seen:
            yield f"{place}: {shown(word)} and {shown(seen[bare])} are the same word, mapped twice; keep one"
        seen[bare] = word


def _outcome(rule: OutcomeRule) -> Iterator[str]:
    yield from _twins("stage.outcome", chain(rule.words, rule.open))


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
