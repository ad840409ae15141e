"""Labels: an object of the source whose keys a tenant invents, read under the slugs of its labels."""

from __future__ import annotations

from typing import Any, NamedTuple

from deals.state import RESERVED, Json
from mappings.grammar import KindMapping, custom_key
from mappings.origins import Origin
from mappings.outcome import ABSENT, Problem, Unreadable, shown
from mappings.paths import Record, finder
from mappings.soundness import MONEY_KEYS
from mappings.transforms import TRANSFORMS, Transform, anything

REMEMBERED = 5_000
"""So many labels are kept resolved; a tenant has far fewer, and nonsense must not grow without bound."""


class _Label(NamedTuple):
    """What becomes of one label. `odd` ones need a second look: they are ignored, prefixed, or `taken_by` names the
    rule that has their key already."""

    key: str
    read: Transform
    odd: bool
    transform: str
    ignored: bool = False
    taken_by: str = ""


class Labels:
    """Reads the object that a `custom_fields` rule names.

    Two labels with one slug, or a slug that a rule of the table has taken, park the record: which of the two a plan
    rule would see must not depend on their order. A slug that the ledger reserves is prefixed with
    the source's name, and the record flagged `custom_key_prefixed`.
    """

    __slots__ = ("_find", "_kind", "_labels", "_nothing", "_place", "_rule", "_source", "_taken")

    def __init__(self, kind: str, source: str, rule: KindMapping) -> None:
        assert rule.custom_fields is not None
        self._kind, self._source = kind, source
        self._rule = rule.custom_fields
        self._place = self._rule.source
        self._find = finder((self._place,))
        self._nothing = frozenset(self._rule.nothing)
        self._labels: dict[str, _Label] = {}
        self._taken = {key: f"[{kind}.custom] {key}" for key in rule.custom}
        self._taken |= dict.fromkeys(MONEY_KEYS, f"[{kind}.amount]")
        for label, declared in self._rule.declared.items():
            key = declared.key or custom_key(source, label, RESERVED)
            self._labels[label] = _Label(key, TRANSFORMS[declared.transform], False, declared.transform)
            self._taken[key] = f"[{kind}.custom_fields.declared] {shown(label)}"

    def read(self, record: Record, custom: dict[str, Json], flags: list[str], problems: list[Problem]) -> None:
        """Put the object's values into `custom`."""
        found = self._object(record, problems)
        if not found:
            return
        labels, nothing = self._labels, self._nothing
        for name, value in found.items():
            label = labels.get(name) or self._resolve(name)
            key, read, odd = label.key, label.read, label.odd
            if (type(value) is str and value in nothing) or (odd and self._is_settled(name, label, flags, problems)):
                continue
            if key in custom:
                problems.append(self._twin(name, key, found))
                continue
            try:
                custom[key] = None if value is None else read(value)
            except Unreadable as error:
                where = f"{self._place}.{shown(name)}"
                problems.append(Problem(key, error.reason or "BAD_VALUE", f"{where}: {error}"))

    def origins(self, record: Record) -> dict[str, Origin]:
        """Where each custom key of the object comes from."""
        found = self._object(record, [])
        origins = {}
        for name, value in found.items():
            label = self._labels.get(name) or self._resolve(name)
            if not label.ignored and not (type(value) is str and value in self._nothing):
                how = "the value as it is" if label.transform == "json" else f"read as {label.transform}"
                rule = f"custom field {shown(name)} under the slug of its label, {how}"
                origins[label.key] = Origin(f"{self._place}.{name}", value, rule)
        return origins

    def key(self, name: str) -> tuple[str, str]:
        """The custom key a label passes under, and the rule that has taken it already ("" when none has)."""
        label = self._labels.get(name) or self._resolve(name)
        return label.key, label.taken_by

    def _object(self, record: Record, problems: list[Problem]) -> dict[str, Any]:
        try:
            found = self._find(record)
            if type(found) is dict:
                return found
            if found is None or found is ABSENT:
                return {}
            what = f"found {shown(found)}; an object would be right"
        except Unreadable as error:
            what = str(error)
        problems.append(Problem(self._place, "BAD_VALUE", f"{self._place}: {what}"))
        return {}

    def _resolve(self, name: str) -> _Label:
        bare = custom_key(self._source, name, frozenset())
        key = custom_key(self._source, name, RESERVED)
        ignored = name in self._rule.ignored
        taken_by = "" if ignored else self._taken.get(key, "")
        label = _Label(key, anything, ignored or bool(taken_by) or key != bare, "json", ignored, taken_by)
        if len(self._labels) < REMEMBERED:
            self._labels[name] = label
        return label

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
        return Problem(key, "KEY_COLLISION", f"{self._place}.{shown(name)}: {what}; {advice}")
