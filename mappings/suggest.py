"""Suggest: the shipped table of a source, completed with what a tenant's own deals show."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from itertools import chain, count

from deals.state import RESERVED
from mappings.grammar import KindMapping, StageRule
from mappings.labels import Labels
from mappings.language import parse
from mappings.observed import Observed, Seen
from mappings.soundness import MONEY_KEYS
from mappings.vocabulary import LONGEST_SLUG, Compare, Vocabulary, plain_word, slug

__all__ = ["Observed", "suggest"]

LISTED = 40
"""So many owners, currencies or unclaimed keys are listed; of the rest only the number is said."""


def suggest(source: str, observed: Observed, shipped: str, labels: Mapping[str, str] | None = None) -> str:
    """A commented table for a tenant: `shipped`, the source's own table, with the tenant's stage words added.

    Every stage word seen gets a line with its count. A word the shipped table does not know becomes its slug; where
    that is taken, a number is put behind it, so that no two stages are merged and none is paid as won by its spelling
    alone. Custom fields, currencies, owners and unclaimed keys are listed in comments with counts; labels that would
    collide get a key of their own. The result parses, and parks nothing because of a stage that was seen (of up to
    300 words a key, each of up to 200 characters), unless a pipeline with words of its own does not list it, or the
    outcome contradicts it. `labels` is the custom key that each record key of a custom field is bound to. Pure: the
    same observations give the same text.
    """
    mapping = parse(shipped, name=f"the shipped table of {source}")
    lines = shipped.removeprefix("\ufeff").split("\n")
    seen_kinds = {kind: observed.kinds.get(kind, Seen()) for kind in mapping.kinds}
    for kind, rule in mapping.kinds.items():
        fields = Labels(kind, mapping.source, rule, labels or {}) if rule.custom_fields is not None else None
        for section, added in _additions(kind, rule, fields, seen_kinds[kind]):
            if added:
                place = _end_of(lines, section)
                lines[place:place] = added
    counts = ", ".join(f"{seen.count} {kind}" for kind, seen in seen_kinds.items())
    lines[:0] = [
        f"# Suggested for one tenant from what its records show ({counts}).",
        "# Read the stage words and every line marked CHECK before you use it: people are paid by them.",
        "",
    ]
    return "\n".join(lines)


def _additions(kind: str, rule: KindMapping, fields: Labels | None, seen: Seen) -> Iterator[tuple[str, list[str]]]:
    """What is put into which section of the table."""
    if not seen.count:
        return
    yield from _stages(kind, rule.stage, seen)
    if rule.amount.currency is not None:
        yield f"{kind}.amount", _counted("currencies", _words_at((rule.amount.currency,), seen))
    yield f"{kind}.owner", _counted("owners", _words_at(rule.owner.sources, seen))
    known = {*rule.fields(), *rule.ignored}
    unclaimed = {key: values for key, values in seen.within.items() if key not in known}
    if fields is not None:
        invented = {key: unclaimed.pop(key) for key in [*unclaimed] if fields.claims(key)}
        if rule.custom_fields is not None and rule.custom_fields.source is not None:
            invented = seen.at(rule.custom_fields.source).within
        yield f"{kind}.custom_fields.declared", _labels(fields, invented, rule)
    yield f"{kind}.ignored", _unclaimed(unclaimed)


def _stages(kind: str, rule: StageRule, seen: Seen) -> Iterator[tuple[str, list[str]]]:
    taken = set(rule.words.values())
    if rule.outcome is not None:
        taken |= set(rule.outcome.words.values())
        undecided = dict.fromkeys(rule.outcome.open, "left to the stage")
        found = _words_at(rule.outcome.sources, seen)
        known = {**undecided, **rule.outcome.words}
        yield f"{kind}.stage.outcome.words", _stage_lines(found, known, taken, rule.compare)
    if rule.within is not None:
        what = f"values of {', else '.join(rule.within.sources)}"
        yield f"{kind}.stage.within", _counted(what, _words_at(rule.within.sources, seen))
    yield f"{kind}.stage.words", _stage_lines(_words_at(rule.sources, seen), rule.words, taken, rule.compare)


def _stage_lines(found: Mapping[str, int], words: Mapping[str, str], taken: set[str], compare: Compare) -> list[str]:
    """A comment for each word the table knows, a line for each it does not; `taken` grows by the new meanings."""
    known, lines = dict(words), []
    for word, times in _by_count(found):
        meaning = Vocabulary(known, compare).find(word)
        if meaning is not None:
            lines.append(f"# {_quoted(word)}, {meaning}: seen {times}x")
            continue
        plain = slug(word)
        meaning = known[word] = _free(plain, taken)
        taken.add(meaning)
        check = f"; CHECK: another stage is {plain!r} already" if meaning != plain else ""
        lines.append(f"{_quoted(word)} = {_quoted(meaning)}   # seen {times}x{check}")
    return lines


def _labels(labels: Labels, seen: Mapping[str, Seen], rule: KindMapping) -> list[str]:
    """A comment for each custom field with the key it passes under; a declaration where that key is taken."""
    assert rule.custom_fields is not None
    used = {*rule.custom, *MONEY_KEYS, *RESERVED, *(labels.key(label)[0] for label in rule.custom_fields.declared)}
    lines = []
    for label, values in sorted(seen.items(), key=lambda item: (-item[1].count, item[0])):
        if labels.settled(label) or not _is_unicode(label):
            continue
        key, taken_by = labels.key(label)
        what = f"{values.count} records, {values.kinds_of_value()}"
        if key in used:
            by = taken_by or "another label"
            key = _free(f"{labels.source}_{slug(label)}"[:LONGEST_SLUG], used)
            lines.append(f"{_quoted(label)} = {{ key = {_quoted(key)} }}   # {what}; CHECK: its key is taken by {by}")
        else:
            lines.append(f"# {_quoted(label)}: {what}, passes as {key}")
        used.add(key)
    return lines


def _unclaimed(found: Mapping[str, Seen]) -> list[str]:
    keys = sorted(found, key=lambda key: (-found[key].count, key))
    lines = ["# Neither read nor ignored so far; pass it in the section above, or give a reason here:"] if keys else []
    for key in keys[:LISTED]:
        values = found[key]
        lines.append(f'# {_quoted(key)} = "..."   # {values.count} records, {values.kinds_of_value()}')
    return lines + _rest(keys)


def _counted(what: str, found: Mapping[str, int]) -> list[str]:
    """A comment that lists words with their counts."""
    rows = [f"#   {_quoted(word)}: {times}" for word, times in _by_count(found)]
    return [f"# {what} seen:", *rows[:LISTED], *_rest(rows)] if rows else []


def _rest(rows: Sequence[object]) -> list[str]:
    return [f"#   ... and {len(rows) - LISTED} more"] if len(rows) > LISTED else []


def _words_at(paths: Sequence[str], seen: Seen) -> dict[str, int]:
    """The texts seen at several paths, each in the form in which words are compared, with their counts."""
    found: dict[str, int] = {}
    for path in paths:
        for word, times in seen.at(path).words.items():
            if "\x00" not in word and _is_unicode(word):
                found[plain_word(word)] = found.get(plain_word(word), 0) + times
    return found


def _by_count(found: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _free(name: str, taken: Container[str]) -> str:
    """`name`, with the smallest number behind it that makes it new where it is taken."""
    numbered = (f"{name[: LONGEST_SLUG - 4]}_{number}" for number in count(2))
    return next(candidate for candidate in chain([name], numbered) if candidate not in taken)


def _end_of(lines: Sequence[str], section: str) -> int:
    """The line behind the last entry of a section. Raises `ValueError` when the table has no such heading."""
    heading = re.compile(rf"\s*\[{re.escape(section)}\]\s*(#.*)?")
    start = next((number for number, line in enumerate(lines) if heading.fullmatch(line.rstrip("\r"))), None)
    if start is None:
        raise ValueError(f"the shipped table has no heading [{section}] to add to")
    end = start + 1
    for number, line in enumerate(lines[start + 1 :], start + 1):
        if line.lstrip().startswith("["):
            break
        if line.strip() and not line.lstrip().startswith("#"):
            end = number + 1
    return end


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's too; what a comment or a terminal cannot show is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join(char if char.isprintable() else _escaped(char) for char in quoted)


def _escaped(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
