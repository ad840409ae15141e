"""Meaning: what a table does to records, apart from how it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deals.state import RESERVED
from mappings.grammar import CustomFieldsRule, KindMapping, StageRule, custom_key
from mappings.vocabulary import plain_word


def meaning(source: str, kinds: Mapping[str, KindMapping]) -> dict[str, Any]:
    """The meaning of a table's kinds as JSON: equal for tables that read every record alike.

    Reasons for ignoring are for people and left out; the ignored keys are not, because they decide what is drift.
    """
    return {kind: _kind(source, rule) for kind, rule in kinds.items()}


def _kind(source: str, rule: KindMapping) -> dict[str, Any]:
    amount = rule.amount
    return {
        "amount": [list(amount.sources), amount.currency, amount.numbers, amount.whole_minor],
        "stage": _stage(rule.stage),
        "close_date": [list(rule.close_date.sources), rule.close_date.transform],
        "owner": list(rule.owner.sources),
        "required": sorted(set(rule.required)),
        "custom": {key: [list(entry.sources), entry.transform] for key, entry in rule.custom.items()},
        "custom_fields": _custom_fields(source, rule.custom_fields),
        "ignored": sorted(rule.ignored),
    }


def _stage(rule: StageRule) -> list[Any]:
    outcome = rule.outcome and [
        list(rule.outcome.sources),
        _words(rule.outcome.words),
        sorted({plain_word(word) for word in rule.outcome.open}),
    ]
    return [list(rule.sources), _words(rule.words), rule.unmapped, outcome]


def _words(words: Mapping[str, str]) -> dict[str, str]:
    return {plain_word(word): meant for word, meant in words.items()}


def _custom_fields(source: str, rule: CustomFieldsRule | None) -> list[Any] | None:
    if rule is None:
        return None
    declared = {
        label: [entry.key or custom_key(source, label, RESERVED), entry.transform]
        for label, entry in rule.declared.items()
    }
    return [rule.source, sorted(set(rule.nothing)), declared, sorted(rule.ignored)]
