"""Grammar: what may stand in a table, as frozen values; the checks that one key alone decides are made here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from mappings.transforms import DAY_READERS, TRANSFORMS
from mappings.vocabulary import LONGEST_SLUG, Compare, near, slug

_REFERENCE = re.compile(r"[a-z][a-z0-9_]{0,30}")
_CUSTOM_KEY = re.compile(rf"[a-z0-9][a-z0-9_]{{0,{LONGEST_SLUG - 1}}}")


def _several(value: Any) -> Any:
    """`from = "a"` is `from = ["a"]`."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


def _path(path: str) -> str:
    if not all(path.split(".")) or path.count(".") > 7:
        raise ValueError("a record key, or keys joined by points such as owner.id, would be right")
    return path


def _reason(reason: str) -> str:
    if not reason.strip():
        raise ValueError("say in a few words why it is ignored")
    return reason


def _meaning(word: str) -> str:
    if not word or word != word.strip() or len(word) > 100:
        raise ValueError("a word for the ledger would be right: 1 to 100 characters, no blanks around it")
    return word


def _custom_key(key: str) -> str:
    if not _CUSTOM_KEY.fullmatch(key):
        raise ValueError(f"a custom key is snake_case of a-z 0-9 _, at most {LONGEST_SLUG} long, such as {slug(key)!r}")
    return key


def _reference(name: str) -> str:
    if not _REFERENCE.fullmatch(name):
        raise ValueError("the name of reference data would be right: a-z 0-9 _, such as accounts")
    return name


def _prefix(prefix: str) -> str:
    if not prefix or prefix != prefix.strip():
        raise ValueError("the beginning of record keys would be right, such as custom_field_")
    return prefix


def _one_of(known: Mapping[str, object]) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"one of {', '.join(sorted(known))} would be right{near(name, known)}")
        return name

    return check


Path: TypeAlias = Annotated[str, AfterValidator(_path)]
Paths: TypeAlias = Annotated[tuple[Path, ...], BeforeValidator(_several), Field(min_length=1)]
SomePaths: TypeAlias = Annotated[tuple[Path, ...], BeforeValidator(_several)]
Texts: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_several)]
Words: TypeAlias = Mapping[str, Annotated[str, AfterValidator(_meaning)]]
Reasons: TypeAlias = Mapping[str, Annotated[str, AfterValidator(_reason)]]
CustomKey: TypeAlias = Annotated[str, AfterValidator(_custom_key)]
Reading: TypeAlias = Annotated[str, AfterValidator(_one_of(TRANSFORMS))]
DayReading: TypeAlias = Annotated[str, AfterValidator(_one_of(DAY_READERS))]
Unmapped: TypeAlias = Literal["park", "pass"]


class Rule(BaseModel):
    """One piece of a table. Types are exact: a number where a text belongs is an error, not a text."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class AmountRule(Rule):
    """`[KIND.amount]`: decimal money.

    `from` is the key of the amount, the first of several that bears a value. `currency` is the key of its currency;
    a table without one always takes the connection's `default_currency`. `numbers = "text"` also reads amounts in
    quotes ("1234.50"). `whole_minor = true`: where the connection counts in minor units, a fraction parks the record
    instead of being rounded. `derived_by` names custom keys that count what the source works the amount out from: a
    deal is flagged when the first of these appears and its amount changes with it. That is a notice, no reading.
    """

    sources: Paths = Field(alias="from")
    currency: Path | None = None
    numbers: Literal["json", "text"] = "json"
    whole_minor: bool = False
    derived_by: Texts = ()


class OutcomeRule(Rule):
    """`[KIND.stage.outcome]`: a key whose words decide before the stage is looked at.

    A word in `words` is the stage. A word in `open`, a null or an absent key leaves it to the stage's own key. Any
    other word parks the record. Words compare as the stage's do.

    `agree = true`: the stage's own key is looked at too. Where its word means one of the outcome's own meanings (the
    deal is closed by its stage), the outcome must say the same: another outcome, or one in `open`, parks the record.
    An outcome that decides beside a stage that is still open passes, flagged `outcome_ahead_of_stage`; beside an
    unknown stage, or none, it passes.
    """

    sources: Paths = Field(alias="from")
    words: Words
    open: Texts = ()
    agree: bool = False

    @property
    def known(self) -> tuple[str, ...]:
        """Every word the rule knows."""
        return (*self.words, *self.open)


class WithinRule(Rule):
    """`[KIND.stage.within]`: stage words that depend on a second key, such as the pipeline.

    `words` has one table of words for each value of the key that is listed, an id compared as it is written. A record
    with a listed value is read by those words only; one with any other value, or none, by the general words.
    """

    sources: Paths = Field(alias="from")
    words: Annotated[Mapping[str, Words], Field(min_length=1)]


class HistoryRule(Rule):
    """`[KIND.stage.history]`: the stage moves that the source keeps in the record, the oldest or the newest first.

    `from` bears a list of objects, or a JSON text of one. `stage` is where a move led to, the first of several keys
    that is there; its word is read by the words of the record's own stage. Moves that cannot be read are left out, and
    the record flagged `stage_hop_unread`. `before` is where a move went on from and `at` when it was made: these, and
    the record's own stage, tell whether the oldest move comes first. Where they do not, no move is told of, and the
    record flagged `stage_hop_unordered`.
    """

    sources: Paths = Field(alias="from")
    stage: Paths
    before: SomePaths = ()
    at: SomePaths = ()


class StageRule(Rule):
    """`[KIND.stage]`: the stage's key and its vocabulary.

    `compare = "slug"` knows a word by its slug, so "Closed Won", "closed_won" and " closed won " are one word; by
    default a word is known as it is written. `unmapped = "pass"` lets a word that is not in `words` through as the
    source wrote it; otherwise it parks.
    """

    sources: Paths = Field(alias="from")
    words: Words = Field(default_factory=dict)
    compare: Compare = "exact"
    unmapped: Unmapped = "park"
    within: WithinRule | None = None
    history: HistoryRule | None = None
    outcome: OutcomeRule | None = None


class DayRule(Rule):
    """`[KIND.close_date]`: a calendar day, from the first of several keys that bears one.

    `closed` names keys that are looked at before those in `from` once the stage is `closed_won` or `closed_lost`, and
    not at all until then. `as = "zoned_day"` takes the day that a date-time is in the connection's zone.
    """

    sources: Paths = Field(alias="from")
    closed: SomePaths = ()
    transform: DayReading = Field(default="date", alias="as")


class OwnerRule(Rule):
    """`[KIND.owner]`: the owner's id in the source; the connection's `owners` may turn it into another, or into the
    owner's e-mail."""

    sources: Paths = Field(alias="from")


class CustomRule(Rule):
    """`[KIND.custom]`: `our_key = { from = "theirKey", as = "text" }`.

    With `look_up = "accounts", take = "name"` the value in `from` is a key of the source's reference data of that name,
    and `take` the key in the object found there whose value is read. Both stand together or not at all.
    """

    sources: Paths = Field(alias="from")
    look_up: Annotated[str, AfterValidator(_reference)] | None = None
    take: Path | None = None
    transform: Reading = Field(default="json", alias="as")


class LabelRule(Rule):
    """`[KIND.custom_fields.declared]`: `"Their Label" = { key = "our_key", as = "day" }`, both optional."""

    key: CustomKey | None = None
    transform: Reading = Field(default="json", alias="as")


class CustomFieldsRule(Rule):
    """`[KIND.custom_fields]`: fields that the tenant invents: the keys of an object (`from`), or every top-level key
    of the record with a `prefix` that no other rule reads or ignores.

    Each passes under the key its definition in the source is bound to, or under the slug of its record key where it
    has none, unless it is `declared` or `ignored`: by the record key, by the bound key, or by a label whose slug that
    is. A text listed in `nothing` counts as if the field were absent. `quoted = true`: the object may also be the
    JSON text of one, and an empty list says that there is no field.
    """

    source: Path | None = Field(default=None, alias="from")
    prefix: Annotated[str, AfterValidator(_prefix)] | None = None
    quoted: bool = False
    nothing: Texts = ()
    declared: Mapping[str, LabelRule] = Field(default_factory=dict)
    ignored: Reasons = Field(default_factory=dict)


class KindMapping(Rule):
    """How records of one kind are read. Every record key is claimed by a rule, ignored with a reason, or drift.

    `nulls = "absent"`: a null says no more than a key that is not there, for sources that send one or the other as it
    happens; otherwise a custom key that is null is told as null.
    """

    nulls: Literal["told", "absent"] = "told"
    amount: AmountRule
    stage: StageRule
    close_date: DayRule
    owner: OwnerRule
    required: SomePaths = ()
    custom: Mapping[CustomKey, CustomRule] = Field(default_factory=dict)
    custom_fields: CustomFieldsRule | None = None
    ignored: Reasons = Field(default_factory=dict)

    def claims(self) -> Iterator[tuple[str, str]]:
        """Every record path that some rule reads, with the place of the rule in the table."""
        for path in self.required:
            yield path, "required"
        yield from ((path, "amount") for path in self.amount.sources)
        if self.amount.currency is not None:
            yield self.amount.currency, "amount.currency"
        yield from ((path, "stage") for path in self.stage.sources)
        for rule, place in (
            (self.stage.outcome, "outcome"),
            (self.stage.within, "within"),
            (self.stage.history, "history"),
        ):
            if rule is not None:
                yield from ((path, f"stage.{place}") for path in rule.sources)
        yield from ((path, "close_date") for path in (*self.close_date.closed, *self.close_date.sources))
        yield from ((path, "owner") for path in self.owner.sources)
        for key, entry in self.custom.items():
            yield from ((path, f"custom.{key}") for path in entry.sources)
        if self.custom_fields is not None and self.custom_fields.source is not None:
            yield self.custom_fields.source, "custom_fields"

    def fields(self) -> frozenset[str]:
        """The top-level record keys that some rule reads."""
        return frozenset(head(path) for path, _ in self.claims())


def head(path: str) -> str:
    """The top-level record key of a path: `owner` of `owner.id`."""
    return path.partition(".")[0]


def custom_key(source: str, label: str, reserved: frozenset[str]) -> str:
    """The custom key a label passes under: its slug, prefixed with the source's name where the ledger reserves it."""
    key = slug(label)
    return f"{source}_{key}" if key in reserved else key
