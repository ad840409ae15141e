"""Labels: the fields that a tenant invents, read under keys that stay theirs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any, NamedTuple

from deals.state import RESERVED, Json
from mappings.grammar import CustomFieldsRule, KindMapping, custom_key
from mappings.origins import Origin
from mappings.outcome import ABSENT, Problem, Unreadable, shown
from mappings.paths import Record, finder
from mappings.quoted import unquoted
from mappings.references import CHOICES, References
from mappings.soundness import MONEY_KEYS
from mappings.transforms import TRANSFORMS, Transform, anything
from mappings.vocabulary import LONGEST_SLUG, slug

_NO_BINDINGS: Mapping[str, str] = MappingProxyType({})

REMEMBERED = 5_000
"""So many labels are kept resolved; a tenant has far fewer, and nonsense must not grow without bound."""


class _Label(NamedTuple):
    """What becomes of one custom field. `odd` ones need a second look: they are ignored, prefixed, or `taken_by` names
    the rule that has their key already. `bound` says that the source's definition fixed the key."""

    key: str
    read: Transform
    odd: bool
    transform: str
    ignored: bool = False
    taken_by: str = ""
    bound: bool = False
    declared: bool = False


class Labels:
    """Reads the fields that a `custom_fields` rule names. `bound` fixes the custom key of a record key.

    Two fields with one key, or a key that a rule of the table has taken, park the record: which of the two a plan
    rule would see must not depend on their order. A key that the ledger reserves is prefixed with
    the source's name, and the record flagged `custom_key_prefixed`.
    """

    __slots__ = (
        "_bound",
        "_choices",
        "_declared",
        "_find",
        "_ignored",
        "_kind",
        "_labels",
        "_nothing",
        "_rule",
        "_taken",
        "source",
    )

    def __init__(
        self,
        kind: str,
        source: str,
        rule: KindMapping,
        bound: Mapping[str, str] = _NO_BINDINGS,
        *,
        choices: bool = False,
    ) -> None:
        assert rule.custom_fields is not None
        self._choices = choices
        self._kind, self.source = kind, source
        self._rule = rule.custom_fields
        self._bound = bound
        self._nothing = frozenset(self._rule.nothing)
        self._find = _finder(rule, self._rule)
        self._labels: dict[str, _Label] = {}
        self._taken = {key: f"[{kind}.custom] {key}" for key in rule.custom}
        self._taken |= dict.fromkeys(MONEY_KEYS, f"[{kind}.amount]")
        for label, declared in self._rule.declared.items():
            key = declared.key or custom_key(source, bound.get(label) or label, RESERVED)
            entry = _Label(key, TRANSFORMS[declared.transform], False, declared.transform, declared=True)
            self._labels[label] = entry._replace(bound=label in bound and declared.key is None)
            self._taken[key] = f"[{kind}.custom_fields.declared] {shown(label)}"
        self._declared = {key: self._labels[label] for key, label in self._by_bound_key(self._rule.declared).items()}
        self._ignored = frozenset(self._by_bound_key(self._rule.ignored))

    def keys(self, record: Record) -> Iterator[tuple[str, str]]:
        """The reference data that the fields of a record need: what their choices are called, where that is wanted."""
        if self._choices:
            yield from ((CHOICES, name) for name, value in self._fields(record, []).items() if _is_chosen(value))

    def read(
        self, record: Record, known: References, custom: dict[str, Json], flags: list[str], problems: list[Problem]
    ) -> None:
        """Put the fields' values into `custom`."""
        found = self._fields(record, problems)
        if not found:
            return
        labels, nothing, choices = self._labels, self._nothing, self._choices
        for name, value in found.items():
            label = labels.get(name) or self._resolve(name)
            key, read, odd = label.key, label.read, label.odd
            if (type(value) is str and value in nothing) or (odd and self._is_settled(name, label, flags, problems)):
                continue
            if key in custom:
                problems.append(self._twin(name, key, found))
                continue
            try:
                said = _chosen(value, known, name) if choices else value
                custom[key] = None if said is None else read(said)
            except Unreadable as error:
                problems.append(Problem(key, error.reason or "BAD_VALUE", f"{self._where(name)}: {error}"))

    def origins(self, record: Record, known: References) -> dict[str, Origin]:
        """Where each custom key of the fields comes from."""
        found = self._fields(record, [])
        origins = {}
        for name, value in found.items():
            label = self._labels.get(name) or self._resolve(name)
            if not label.ignored and not (type(value) is str and value in self._nothing):
                how = "the value as it is" if label.transform == "json" else f"read as {label.transform}"
                if self._choices and _chosen(value, known, name) != value:
                    how = f"{how}, once it was put into the words that the source shows for it"
                rule = f"custom field {shown(name)} under {_why(label)}, {how}"
                origins[label.key] = Origin(self._place(name), value, rule)
        return origins

    def key(self, name: str) -> tuple[str, str]:
        """The custom key a field passes under, and the rule that has taken it already ("" when none has)."""
        label = self._labels.get(name) or self._resolve(name)
        return label.key, label.taken_by

    def settled(self, name: str) -> bool:
        """Whether the table declares or ignores a field."""
        label = self._labels.get(name) or self._resolve(name)
        return label.ignored or label.declared

    def claims(self, name: str) -> bool:
        """Whether a top-level record key is a custom field."""
        return self._rule.prefix is not None and name.startswith(self._rule.prefix)

    def _fields(self, record: Record, problems: list[Problem]) -> dict[str, Any]:
        """The custom fields of a record, by their record keys."""
        try:
            found = self._find(record)
            if type(found) is dict:
                return found
            if self._rule.quoted:
                found = _unquoted(found)
                if type(found) is dict:
                    return found
            if found is None or found is ABSENT:
                return {}
            what = f"found {shown(found)}; an object would be right"
        except Unreadable as error:
            what = str(error)
        problems.append(Problem(self._rule.source or "record", "BAD_VALUE", f"{self._rule.source}: {what}"))
        return {}

    def _by_bound_key(self, labels: Iterable[str]) -> dict[str, str]:
        """The labels that speak of a field by the key it is bound to, by that key.

        Record keys with a prefix do not show their label: there the slug of the label counts as well. A label that is
        itself the record key of a bound field speaks of that field alone.
        """
        free = sorted((label for label in labels if label not in self._bound), reverse=True)
        by_slug = {slug(label): label for label in free} if self._rule.prefix is not None else {}
        return {**by_slug, **{label: label for label in free}}

    def _resolve(self, name: str) -> _Label:
        bound = self._bound.get(name)
        if bound is not None and bound in self._declared:
            label = self._declared[bound]
        else:
            bare = slug(name) if bound is None else bound
            key = custom_key(self.source, bare, RESERVED)
            ignored = name in self._rule.ignored or bound in self._ignored
            taken_by = "" if ignored else self._taken.get(key, "")
            odd = ignored or bool(taken_by) or key != bare
            label = _Label(key, anything, odd, "json", ignored, taken_by, bound is not None)
        if len(self._labels) < REMEMBERED:
            self._labels[name] = label
        return label

    def _place(self, name: str) -> str:
        return name if self._rule.source is None else f"{self._rule.source}.{name}"

    def _where(self, name: str) -> str:
        return shown(name) if self._rule.source is None else f"{self._rule.source}.{shown(name)}"

    def _is_settled(self, name: str, label: _Label, flags: list[str], problems: list[Problem]) -> bool:
        """Whether an odd label's value is not to be read: the label is ignored, or another rule has its key."""
        if label.taken_by:
            problems.append(self._collision(name, label.key, label.taken_by))
        elif not label.ignored and "custom_key_prefixed" not in flags:
            flags.append("custom_key_prefixed")
        return label.ignored or bool(label.taken_by)

    def _twin(self, name: str, key: str, found: dict[str, Any]) -> Problem:
        twins = (twin for twin in found if twin != name and self.key(twin)[0] == key)
        return self._collision(name, key, f"the label {shown(next(twins, name))}")

    def _collision(self, name: str, key: str, taken_by: str) -> Problem:
        what = f"its custom key {key!r} is taken by {taken_by}"
        advice = f"give it a key of its own in [{self._kind}.custom_fields.declared]"
        return Problem(key, "KEY_COLLISION", f"{self._where(name)}: {what}; {advice}")


def _finder(kind: KindMapping, rule: CustomFieldsRule) -> Callable[[Record], Any]:
    """A function that finds the custom fields of a record: an object, or the keys with the prefix that are free."""
    if rule.prefix is None:
        return finder(() if rule.source is None else (rule.source,))
    prefix, others = rule.prefix, frozenset((*kind.fields(), *kind.ignored))

    def find(record: Record) -> dict[str, Any]:
        return {name: record[name] for name in record if name.startswith(prefix) and name not in others}

    return find


def _is_chosen(value: Any) -> bool:
    """Whether a value may be a choice, or several."""
    return type(value) in (str, list)


def _chosen(value: Any, known: References, name: str) -> Any:
    """A value with each choice in the words that people are shown; what is no choice, or has no words, stays."""
    words = known.get(CHOICES, {}).get(name, {})
    if type(value) is list:
        return [words.get(one, one) if type(one) is str else one for one in value]
    return words.get(value, value) if type(value) is str else value


def _why(label: _Label) -> str:
    if label.bound:
        return "the key its definition was bound to when first seen"
    return "the key that the table declares" if label.declared else "the slug of its label"


def _unquoted(found: Any) -> Any:
    """What a text spells; an empty list, which some ways of writing JSON make of an empty object, is None."""
    value = unquoted(found) if type(found) is str else found
    return None if value == [] else value


def bind(source: str, definitions: Iterable[tuple[str, str, str]], bound: Mapping[str, str]) -> dict[str, str]:
    """The custom key of every field: those in `bound` (by the field's id) as they are, and one for each new definition.

    A definition is the field's id, its record key and its label. A new one takes the slug of its label (of its record
    key where the label is blank); where another field passes under that key, eight digits of its own id's digest are
    put behind it. Keys count as what they pass under: one that the ledger reserves bears the source's name. The same
    definitions in the same order give the same keys on every machine, and nothing ever moves a key that is bound.
    """
    keys = dict(bound)
    taken = {custom_key(source, key, RESERVED) for key in keys.values()}
    for name, record_key, label in definitions:
        if name not in keys:
            wished = slug(label if label.strip() else record_key)
            keys[name] = next(
                key for key in _candidates(wished, name) if custom_key(source, key, RESERVED) not in taken
            )
            taken.add(custom_key(source, keys[name], RESERVED))
    return keys


def _candidates(wished: str, name: str) -> Iterator[str]:
    """The key a field would like best, then others of its own."""
    yield wished
    stem = wished[: LONGEST_SLUG - 9].rstrip("_")
    for again in count():
        own = name if again == 0 else f"{name}:{again}"
        yield f"{stem}_{hashlib.sha256(own.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
