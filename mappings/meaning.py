"""Meaning: what a table does to records, apart from how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deals.state import RESERVED
from mappings.grammar import CustomFieldsRule, CustomRule, DayRule, KindMapping, OutcomeRule, StageRule, custom_key
from mappings.vocabulary import Compare, form, plain_word


def meaning(source: str, kinds: Mapping[str, KindMapping]) -> dict[str, Any]:
    """The meaning of a table's kinds as JSON: equal for tables that read every record alike.

    Reasons for ignoring are for people and left out; the ignored keys are not, because they decide what is drift.
    What a table does not use adds nothing, so that the version of a table stays when the language learns more.
    """
    return {kind: _kind(source, rule) for kind, rule in kinds.items()}


def _kind(source: str, rule: KindMapping) -> dict[str, Any]:
    amount = rule.amount
    return {
        **({"nulls": rule.nulls} if rule.nulls != "told" else {}),
        "amount": [list(amount.sources), amount.currency, amount.numbers, amount.whole_minor],
        "stage": _stage(rule.stage),
        "close_date": _day(rule.close_date),
        "owner": list(rule.owner.sources),
        "required": sorted(set(rule.required)),
        "custom": {key: _custom(entry) for key, entry in rule.custom.items()},
        "custom_fields": _custom_fields(source, rule.custom_fields),
        "ignored": sorted(rule.ignored),
    }


def _stage(rule: StageRule) -> list[Any]:
    words = _words(rule.words, rule.compare)
    more: dict[str, Any] = {}
    if rule.compare != "exact":
        more["compare"] = rule.compare
    if rule.within is not None:
        own = {plain_word(value): _words(entry, rule.compare) for value, entry in rule.within.words.items()}
        more["within"] = [list(rule.within.sources), own]
    if rule.history is not None:
        history = rule.history
        order = {key: list(paths) for key, paths in (("before", history.before), ("at", history.at)) if paths}
        more["history"] = _with(order, list(history.sources), list(history.stage))
    return _with(more, list(rule.sources), words, rule.unmapped, rule.outcome and _outcome(rule.outcome, rule.compare))


def _outcome(rule: OutcomeRule, compare: Compare) -> list[Any]:
    undecided = sorted(set(map(form(compare), rule.open)))
    return _with({"agree": True} if rule.agree else {}, list(rule.sources), _words(rule.words, compare), undecided)


def _day(rule: DayRule) -> list[Any]:
    return _with({"closed": list(rule.closed)} if rule.closed else {}, list(rule.sources), rule.transform)


def _custom(rule: CustomRule) -> list[Any]:
    more = {} if rule.look_up is None else {"look_up": rule.look_up, "take": rule.take}
    return _with(more, list(rule.sources), rule.transform)


def _with(more: Mapping[str, Any], *told: Any) -> list[Any]:
    """What was always told, and behind it what only some tables use."""
    return [*told, dict(more)] if more else [*told]


def _words(words: Mapping[str, str], compare: Compare) -> dict[str, str]:
    bare = form(compare)
    return {bare(word): meant for word, meant in words.items()}


def _custom_fields(source: str, rule: CustomFieldsRule | None) -> list[Any] | None:
    if rule is None:
        return None
    declared = {
        label: [entry.key or custom_key(source, label, RESERVED), entry.transform]
        for label, entry in rule.declared.items()
    }
    more: dict[str, Any] = {"prefix": rule.prefix} if rule.prefix is not None else {}
    if rule.quoted:
        more["quoted"] = True
    return _with(more, rule.source, sorted(set(rule.nothing)), declared, sorted(rule.ignored))
