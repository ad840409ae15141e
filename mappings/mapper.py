"""Mapper: one record in, one canonical deal out, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy
from datetime import date
from types import MappingProxyType
from typing import Any

from deals.identity import canonical, digest
from deals.state import STANDARD, DealState, Json
from mappings import language
from mappings.currency import Money
from mappings.grammar import KindMapping
from mappings.hops import HopReader, hop_reader
from mappings.labels import Labels
from mappings.origins import Origin, origins
from mappings.outcome import ABSENT, Hop, Mapped, Problem, Unmappable, Unreadable, shown
from mappings.owners import owner_reader
from mappings.paths import Record, finder, named
from mappings.references import CHOICES, NONE, LookUps, References
from mappings.rules import Rates, Rules
from mappings.stages import CLOSED, StageWords, stage_reader
from mappings.transforms import DAY_READERS, TRANSFORMS

__all__ = ["NONE", "Hop", "Mapped", "Mapper", "Origin", "Problem", "Rates", "References", "Rules", "Unmappable"]

_NO_LABELS: Mapping[str, str] = MappingProxyType({})


class Mapper:
    """Reads records of a connection as its table and its rules say. All rules are compiled when it is made.

    `references` names the reference data that records are read with: `lookups` says which keys of it a record needs,
    and `map` and `origins` are given what was found.
    """

    def __init__(self, mapping: language.Mapping, rules: Rules) -> None:
        self.mapping = mapping
        self.rules = rules
        self.version = digest(canonical({"mapping": mapping.version, "rules": rules.meaning()})).hex()
        self._plans = self._compiled(_NO_LABELS)
        self.references = frozenset[str]().union(*(plan.references for plan in self._plans.values()))

    def with_labels(self, labels: Mapping[str, str]) -> Mapper:
        """This mapper with custom fields under the keys they are bound to: `labels` has the custom key of each record
        key (the label in an object of custom fields, or the whole key where they have a prefix).

        A bound key wins over the slug of the label; a `key` that the table declares wins over both. The version stays:
        bindings are only ever added to, so they are facts of the connection and no setting.
        """
        other = copy(self)
        other._plans = self._compiled(dict(labels))
        return other

    def fields(self, kind: str) -> frozenset[str]:
        """The top-level record keys that the table claims for a kind."""
        return self.mapping.fields(kind)

    def derived_by(self, kind: str) -> tuple[str, ...]:
        """The custom keys that count what the source works the amount of a kind's deals out from."""
        rule = self.mapping.kinds.get(kind)
        return () if rule is None else rule.amount.derived_by

    def lookups(self, kind: str, record: dict[str, Any]) -> Iterable[tuple[str, str]]:
        """The reference data that a record needs: its name, and the key in it."""
        plan = self._plans.get(kind)
        return () if plan is None or type(record) is not dict else plan.lookups(record)

    def map(self, kind: str, record: dict[str, Any], known: References = NONE) -> Mapped | Unmappable:
        """The deal a record stands for, or all problems of it.

        `record` is decoded JSON with numbers as int or Decimal; so is `known`, the reference data by name and key,
        which needs to hold no more than what `lookups` asks for. Both are only read, and nothing in them makes this
        raise.
        """
        plan = self._plans.get(kind)
        if plan is None:
            what = f"found a record of kind {shown(kind)}; the table has no section of that name; add one"
            return Unmappable((Problem("record", "UNKNOWN_KIND", what),))
        if type(record) is not dict:
            return Unmappable((Problem("record", "NOT_AN_OBJECT", f"found {shown(record)}; an object would be right"),))
        return plan.read(plan.said(record), known)

    def origins(self, kind: str, record: dict[str, Any], known: References = NONE) -> dict[str, Origin]:
        """Where each field of the deal came from: the four standard ones and every custom key that the record gives."""
        rule = self.mapping.kinds.get(kind)
        if rule is None or type(record) is not dict:
            return {}
        outcome, plan = self.map(kind, record, known), self._plans[kind]
        record = plan.said(record)
        stage = outcome.state.stage if isinstance(outcome, Mapped) else None
        found = origins(rule, self.rules, record, known, stage)
        if plan.labels is not None:
            found |= plan.labels.origins(record, known)
        if isinstance(outcome, Unmappable):
            return found
        return {field: origin for field, origin in found.items() if field in STANDARD or field in outcome.state.custom}

    def _compiled(self, labels: Mapping[str, str]) -> dict[str, _Plan]:
        source, choices = self.mapping.source, self.rules.choices
        plans = {}
        for kind, rule in self.mapping.kinds.items():
            own = Labels(kind, source, rule, labels, choices=choices) if rule.custom_fields else None
            plans[kind] = _Plan(kind, rule, self.rules, own)
        return plans


class _Plan:
    """The rules of one kind, compiled."""

    __slots__ = (
        "_alternatives",
        "_close_day",
        "_hops",
        "_known",
        "_look_ups",
        "_looks_up",
        "_money",
        "_nulls_absent",
        "_owner",
        "_plain",
        "_required",
        "_required_within",
        "_stage",
        "labels",
        "references",
    )

    def __init__(self, kind: str, rule: KindMapping, rules: Rules, labels: Labels | None) -> None:
        self._nulls_absent = rule.nulls == "absent"
        self._known = frozenset((*rule.fields(), *rule.ignored))
        self._required = frozenset(path for path in rule.required if "." not in path)
        self._required_within = [(path, finder((path,))) for path in rule.required if "." in path]
        words = StageWords(kind, rule.stage, rules.stage_words)
        self._stage = stage_reader(kind, rule.stage, words)
        self._hops: HopReader | None = None
        if rule.stage.history is not None and rules.stage_history:
            self._hops = hop_reader(rule.stage, words)
        self._close_day = _day_reader(rule, rules)
        self._owner = owner_reader(rule.owner, rules)
        self._money = Money(rule.amount, rules)
        plain, alternatives = [], []
        for key, entry in rule.custom.items():
            read = TRANSFORMS[entry.transform]
            if entry.look_up is not None:
                continue
            if len(entry.sources) == 1 and "." not in entry.sources[0]:
                plain.append((key, entry.sources[0], read))
            else:
                alternatives.append((key, entry.sources, finder(entry.sources), read))
        self._plain, self._alternatives = plain, alternatives
        self._look_ups = LookUps(rule, rules)
        self._looks_up = bool(self._look_ups)
        self.labels = labels
        chosen = {CHOICES} if rules.choices and labels is not None else set()
        self.references = self._look_ups.names | chosen

    def lookups(self, record: Record) -> Iterator[tuple[str, str]]:
        """The reference data that a record needs: its name, and the key in it."""
        yield from self._look_ups.keys(record)
        if self.labels is not None:
            yield from self.labels.keys(record)

    def said(self, record: Record) -> Record:
        """The record without what says nothing, where the table holds that a null does not."""
        return {key: value for key, value in record.items() if value is not None} if self._nulls_absent else record

    def read(self, record: Record, known: References) -> Mapped | Unmappable:
        custom: dict[str, Json] = {}
        flags: list[str] = []
        problems: list[Problem] = []
        if self._required_within or not self._required <= record.keys():
            self._demand(record, problems)
        stage = self._stage(record, flags, problems)
        day = self._close_day(record, stage, problems)
        owner = self._owner(record, known, flags, problems)
        amount = self._money.read(record, day, custom, flags, problems)
        get = record.get
        for key, place, read in self._plain:
            value = get(place)
            if value is not None:
                try:
                    custom[key] = read(value)
                except Unreadable as error:
                    problems.append(Problem(key, error.reason or "BAD_VALUE", f"{place}: {error}"))
            elif place in record:
                custom[key] = None
        if self._alternatives:
            self._read_alternatives(record, custom, problems)
        if self._looks_up:
            self._look_ups.read(record, known, custom, flags, problems)
        if self.labels is not None:
            self.labels.read(record, known, custom, flags, problems)
        hops, ordered = self._hops(record, stage, flags) if self._hops else ((), True)
        if problems:
            return Unmappable(tuple(problems))
        state = DealState(amount_cents=amount, stage=stage, close_date=day, owner_external_id=owner, custom=custom)
        drift = () if self._known.issuperset(record) else self._unclaimed(record)
        return Mapped(state, tuple(flags), drift, hops, ordered)

    def _unclaimed(self, record: Record) -> tuple[str, ...]:
        """The record keys that no rule reads or ignores."""
        labels, keys = self.labels, record.keys() - self._known
        return tuple(keys if labels is None else (key for key in keys if not labels.claims(key)))

    def _demand(self, record: Record, problems: list[Problem]) -> None:
        """Report the required keys that the record does not bear."""
        missing = sorted(self._required - record.keys())
        for path, find in self._required_within:
            try:
                if find(record) is ABSENT:
                    missing.append(path)
            except Unreadable as error:
                problems.append(Problem(path, "BAD_VALUE", f"{path}: {error}"))
        for path in missing:
            problems.append(Problem(path, "MISSING_KEY", f"{path}: is absent; the table requires it"))

    def _read_alternatives(self, record: Record, custom: dict[str, Json], problems: list[Problem]) -> None:
        for key, places, find, read in self._alternatives:
            try:
                value = find(record)
                if value is not ABSENT:
                    custom[key] = None if value is None else read(value)
            except Unreadable as error:
                reason = error.reason or "BAD_VALUE"
                problems.append(Problem(key, reason, f"{named(places, record)}: {error}"))


def _day_reader(rule: KindMapping, rules: Rules) -> Callable[[Record, str | None, list[Problem]], date | None]:
    day = rule.close_date
    closed_places = (*day.closed, *day.sources)
    find, find_closed, differ = finder(day.sources), finder(closed_places), bool(day.closed)
    day_of = DAY_READERS[day.transform](rules.zone)

    def read(record: Record, stage: str | None, problems: list[Problem]) -> date | None:
        closed = differ and stage in CLOSED
        try:
            value = find_closed(record) if closed else find(record)
            return None if value is None or value is ABSENT else day_of(value)
        except Unreadable as error:
            place = named(closed_places if closed else day.sources, record)
            problems.append(Problem("close_date", error.reason or "BAD_DATE", f"{place}: {error}"))
            return None

    return read
