"""Mapper: one record in, one canonical deal out, or everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from deals.identity import canonical, digest
from deals.state import STANDARD, DealState, Json
from mappings.currency import Money
from mappings.grammar import KindMapping, OutcomeRule, StageRule
from mappings.labels import Labels
from mappings.language import Mapping
from mappings.origins import Origin, origins
from mappings.outcome import ABSENT, Mapped, Problem, Unmappable, Unreadable, shown
from mappings.paths import Record, finder, named
from mappings.rules import Rates, Rules
from mappings.transforms import DAY_READERS, TRANSFORMS, identity, text
from mappings.vocabulary import Vocabulary, near

__all__ = ["Mapped", "Mapper", "Origin", "Problem", "Rates", "Rules", "Unmappable"]


class Mapper:
    """Reads records of a connection as its table and its rules say. All rules are compiled when it is made."""

    def __init__(self, mapping: Mapping, rules: Rules) -> None:
        self.mapping = mapping
        self.rules = rules
        self.version = digest(canonical({"mapping": mapping.version, "rules": rules.meaning()})).hex()
        self._plans = {kind: _Plan(kind, mapping.source, rule, rules) for kind, rule in mapping.kinds.items()}

    def fields(self, kind: str) -> frozenset[str]:
        """The top-level record keys that the table claims for a kind."""
        return self.mapping.fields(kind)

    def map(self, kind: str, record: dict[str, Any]) -> Mapped | Unmappable:
        """The deal a record stands for, or all problems of it.

        `record` is decoded JSON with numbers as int or Decimal. It is only read, and nothing in it makes this raise.
        """
        plan = self._plans.get(kind)
        if plan is None:
            what = f"found a record of kind {shown(kind)}; the table has no section of that name; add one"
            return Unmappable((Problem("record", "UNKNOWN_KIND", what),))
        if type(record) is not dict:
            return Unmappable((Problem("record", "NOT_AN_OBJECT", f"found {shown(record)}; an object would be right"),))
        return plan.read(record)

    def origins(self, kind: str, record: dict[str, Any]) -> dict[str, Origin]:
        """Where each field of the deal came from: the four standard ones and every custom key that the record gives."""
        rule = self.mapping.kinds.get(kind)
        if rule is None or type(record) is not dict:
            return {}
        labels = self._plans[kind].labels
        found = origins(rule, self.rules, record, labels.origins(record) if labels else {})
        outcome = self.map(kind, record)
        if isinstance(outcome, Unmappable):
            return found
        return {field: origin for field, origin in found.items() if field in STANDARD or field in outcome.state.custom}


class _Plan:
    """The rules of one kind, compiled."""

    __slots__ = (
        "_alternatives",
        "_close_day",
        "_known",
        "_money",
        "_owner",
        "_plain",
        "_required",
        "_required_within",
        "_stage",
        "labels",
    )

    def __init__(self, kind: str, source: str, rule: KindMapping, rules: Rules) -> None:
        self._known = frozenset((*rule.fields(), *rule.ignored))
        self._required = frozenset(path for path in rule.required if "." not in path)
        self._required_within = [(path, finder((path,))) for path in rule.required if "." in path]
        self._stage = _stage_reader(kind, rule.stage)
        self._close_day = _day_reader(rule)
        self._owner = _owner_reader(rule, rules)
        self._money = Money(rule.amount, rules)
        plain, alternatives = [], []
        for key, entry in rule.custom.items():
            read = TRANSFORMS[entry.transform]
            if len(entry.sources) == 1 and "." not in entry.sources[0]:
                plain.append((key, entry.sources[0], read))
            else:
                alternatives.append((key, entry.sources, finder(entry.sources), read))
        self._plain, self._alternatives = plain, alternatives
        self.labels = Labels(kind, source, rule) if rule.custom_fields is not None else None

    def read(self, record: Record) -> Mapped | Unmappable:
        custom: dict[str, Json] = {}
        flags: list[str] = []
        problems: list[Problem] = []
        if self._required_within or not self._required <= record.keys():
            self._demand(record, problems)
        stage = self._stage(record, flags, problems)
        day = self._close_day(record, problems)
        owner = self._owner(record, flags, problems)
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
        if self.labels is not None:
            self.labels.read(record, custom, flags, problems)
        if problems:
            return Unmappable(tuple(problems))
        state = DealState(amount_cents=amount, stage=stage, close_date=day, owner_external_id=owner, custom=custom)
        drift = () if self._known.issuperset(record) else tuple(record.keys() - self._known)
        return Mapped(state, tuple(flags), drift)

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


def _stage_reader(kind: str, rule: StageRule) -> Callable[[Record, list[str], list[Problem]], str | None]:
    find, words = finder(rule.sources), Vocabulary(rule.words)
    passes = rule.unmapped == "pass"
    decide = _outcome_reader(kind, rule.outcome) if rule.outcome is not None else None

    def read(record: Record, flags: list[str], problems: list[Problem]) -> str | None:
        place = rule.sources
        try:
            if decide is not None and (decided := decide(record)) is not None:
                return decided
            value = find(record)
            if type(value) is str and (meaning := words.find(value)) is not None:
                return meaning
            if value is None or value is ABSENT or (word := text(value)) is None:
                return None
            if not passes:
                raise _unknown(word, words.near(word), f"[{kind}.stage.words]")
            flags.append("stage_passed")
            return word
        except _UnknownOutcome as error:
            problems.append(Problem("stage", "UNKNOWN_STAGE", str(error)))
        except Unreadable as error:
            problems.append(Problem("stage", error.reason or "BAD_VALUE", f"{named(place, record)}: {error}"))
        return None

    return read


class _UnknownOutcome(Unreadable):
    """The outcome's key cannot be read; the message names it already."""


def _outcome_reader(kind: str, rule: OutcomeRule) -> Callable[[Record], str | None]:
    """The stage that the outcome's key decides; None when it leaves it to the stage's own key."""
    find = finder(rule.sources)
    words, undecided = Vocabulary(rule.words), Vocabulary({word: word for word in rule.open})

    def decide(record: Record) -> str | None:
        try:
            value = find(record)
            if value is None or value is ABSENT or (word := text(value)) is None:
                return None
            meaning = words.find(word)
            if meaning is None and undecided.find(word) is None:
                raise _unknown(word, near(word, rule.known), f"[{kind}.stage.outcome]")
            return meaning
        except Unreadable as error:
            raise _UnknownOutcome(f"{named(rule.sources, record)}: {error}") from None

    return decide


def _unknown(word: str, hint: str, place: str) -> Unreadable:
    return Unreadable(f"found {shown(word)}, a word the table does not know{hint}; add it to {place}", "UNKNOWN_STAGE")


def _day_reader(rule: KindMapping) -> Callable[[Record, list[Problem]], date | None]:
    places = rule.close_date.sources
    find, day_of = finder(places), DAY_READERS[rule.close_date.transform]

    def read(record: Record, problems: list[Problem]) -> date | None:
        try:
            value = find(record)
            return None if value is None or value is ABSENT else day_of(value)
        except Unreadable as error:
            problems.append(Problem("close_date", error.reason or "BAD_DATE", f"{named(places, record)}: {error}"))
            return None

    return read


def _owner_reader(rule: KindMapping, rules: Rules) -> Callable[[Record, list[str], list[Problem]], str | None]:
    places = rule.owner.sources
    find, owners, may_be_null = finder(places), rules.owners, rules.owner_policy == "null"

    def read(record: Record, flags: list[str], problems: list[Problem]) -> str | None:
        try:
            value = find(record)
            if value is None or value is ABSENT or (owner := identity(value)) is None:
                return None
            if owners is None or owner in owners:
                return owner if owners is None else owners[owner]
            if not may_be_null:
                what = f"found {shown(owner)}, who is not in the connection's owner table; add a line for them"
                raise Unreadable(what, "OWNER_UNRESOLVED")
            flags.append("owner_unresolved")
        except Unreadable as error:
            reason = error.reason or "BAD_VALUE"
            problems.append(Problem("owner_external_id", reason, f"{named(places, record)}: {error}"))
        return None

    return read
