"""Stages: the stage of a record, from its words, its outcome and its pipeline."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mappings.grammar import OutcomeRule, StageRule
from mappings.outcome import ABSENT, Problem, Unreadable, shown
from mappings.paths import Record, finder, named
from mappings.transforms import identity, text
from mappings.vocabulary import Compare, Vocabulary, near, plain_word

CLOSED = frozenset(("closed_won", "closed_lost"))
"""The ledger's words for a deal that is closed."""

StageReader: TypeAlias = Callable[[Record, list[str], list[Problem]], str | None]


class _Table(Vocabulary):
    """Stage words, and the place of the table they stand in, for a message."""

    __slots__ = ("place",)

    def __init__(self, words: Mapping[str, str], compare: Compare, place: str) -> None:
        super().__init__(words, compare)
        self.place = place


class StageWords:
    """The words by which the stages of a kind are read: the general ones, and those of single pipelines.

    `more` are the connection's own words. They are added to every table and win over it.
    """

    __slots__ = ("_find", "_own", "_rule", "general", "within")

    def __init__(self, kind: str, rule: StageRule, more: Mapping[str, str]) -> None:
        self._rule = rule.within
        self.general = _Table({**rule.words, **more}, rule.compare, f"[{kind}.stage.words]")
        self.within = rule.within is not None
        self._own: dict[str, _Table] = {}
        if rule.within is not None:
            self._find = finder(rule.within.sources)
            for value, words in rule.within.words.items():
                place = f"[{kind}.stage.within.words.{shown(value)}]"
                self._own[plain_word(value)] = _Table({**words, **more}, rule.compare, place)

    def of(self, record: Record) -> _Table:
        """The words that a record is read by. Raises `Unreadable` where its second key is no id."""
        if self._rule is None:
            return self.general
        try:
            value = self._find(record)
            key = None if value is None or value is ABSENT else identity(value)
        except Unreadable as error:
            raise _Told(f"{named(self._rule.sources, record)}: {error}") from None
        return self.general if key is None else self._own.get(plain_word(key), self.general)

    def has_own(self, record: Record) -> bool:
        """Whether a record is read by words of its own pipeline, or of whatever its second key names."""
        try:
            return self.of(record) is not self.general
        except Unreadable:
            return False


class _Told(Unreadable):
    """The message names the key that cannot be read already."""


def stage_reader(kind: str, rule: StageRule, words: StageWords) -> StageReader:
    """A function that reads the stage of a record into the ledger's word."""
    find, general, passes = finder(rule.sources), words.general, rule.unmapped == "pass"
    of_record = words.of if words.within else None
    decide = _outcome_reader(kind, rule) if rule.outcome is not None else None
    agree = _agreement(rule, words) if rule.outcome is not None and rule.outcome.agree else None

    def read(record: Record, flags: list[str], problems: list[Problem]) -> str | None:
        try:
            if decide is not None and (said := decide(record)) is not None:
                if agree is not None:
                    agree(said, record, flags)
                if said:
                    return said
            value = find(record)
            table = general if of_record is None else of_record(record)
            if type(value) is str and (meaning := table.find(value)) is not None:
                return meaning
            if value is None or value is ABSENT or (word := text(value)) is None:
                return None
            if not passes:
                raise _unknown(word, table.near(word), table.place)
            flags.append("stage_passed")
            return word
        except _Told as error:
            problems.append(Problem("stage", error.reason or "BAD_VALUE", str(error)))
        except Unreadable as error:
            problems.append(Problem("stage", error.reason or "BAD_VALUE", f"{named(rule.sources, record)}: {error}"))
        return None

    return read


def decided_by(rule: OutcomeRule, compare: Compare, word: Any) -> bool:
    """Whether a value of the outcome's key decides the stage by itself."""
    return type(word) is str and Vocabulary(rule.words, compare).find(word) is not None


def _outcome_reader(kind: str, rule: StageRule) -> Callable[[Record], str | None]:
    """What the outcome's key decides: a stage; "" where an open word leaves it to the stage's own key; None where the
    key bears nothing."""
    outcome = rule.outcome
    assert outcome is not None
    find, places, known = finder(outcome.sources), outcome.sources, outcome.known
    words = Vocabulary({**dict.fromkeys(outcome.open, ""), **outcome.words}, rule.compare)

    def decide(record: Record) -> str | None:
        try:
            value = find(record)
            if value is None or value is ABSENT or (word := text(value)) is None:
                return None
            meaning = words.find(word)
            if meaning is None:
                raise _unknown(word, near(word, known), f"[{kind}.stage.outcome]")
            return meaning
        except Unreadable as error:
            raise _Told(f"{named(places, record)}: {error}", error.reason or "UNKNOWN_STAGE") from None

    return decide


def _agreement(rule: StageRule, words: StageWords) -> Callable[[str, Record, list[str]], None]:
    """Holds what the outcome says against the stage's own key. Raises `Unreadable` where one of them must be wrong."""
    outcome = rule.outcome
    assert outcome is not None
    find, closing = finder(rule.sources), frozenset(outcome.words.values())
    passes = rule.unmapped == "pass"

    def agree(said: str, record: Record, flags: list[str]) -> None:
        try:
            value = find(record)
            stage = words.of(record).find(value) if type(value) is str else None
            if stage is None and passes and type(value) is str:
                stage = text(value)
        except Unreadable:
            return
        if stage in closing and stage != said:
            found = f"found {shown(finder(outcome.sources)(record))}, but {named(rule.sources, record)}"
            what = f"{found} says {shown(value)}, which is {stage}; one of the two must be mended in the source"
            raise _Told(f"{named(outcome.sources, record)}: {what}", "CONTRADICTION")
        if said and stage is not None and stage not in closing:
            flags.append("outcome_ahead_of_stage")

    return agree


def _unknown(word: str, hint: str, place: str) -> Unreadable:
    return Unreadable(f"found {shown(word)}, a word the table does not know{hint}; add it to {place}", "UNKNOWN_STAGE")
