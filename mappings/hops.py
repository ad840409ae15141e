"""Hops: the stage moves that a record remembers, told in the order in which they were made, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from deals.identity import canonical, digest
from mappings.grammar import StageRule
from mappings.outcome import ABSENT, Hop, Unreadable, shown
from mappings.paths import Record, finder
from mappings.quoted import unquoted
from mappings.stages import StageWords
from mappings.transforms import anything, text
from mappings.vocabulary import Vocabulary, form

HOP_UNREAD = "stage_hop_unread"
"""The flag of a record with a stage move that could not be read."""

HOP_UNORDERED = "stage_hop_unordered"
"""The flag of a record with stage moves of which nothing says whether the oldest or the newest comes first."""

Way: TypeAlias = Literal[-1, 0, 1]
Instant: TypeAlias = datetime | Decimal
Link: TypeAlias = tuple[str | None, str | None]

_OLDEST_FIRST: Final = 1
_NEWEST_FIRST: Final = -1
_UNTOLD: Final = 0

_LONGEST_TIME = 40


class Hops(NamedTuple):
    """The stage moves that a record remembers, oldest first; where nobody knows their order, as they are listed."""

    moves: tuple[Hop, ...] = ()
    ordered: bool = True


HopReader: TypeAlias = Callable[[Record, str | None, list[str]], Hops]


def hop_reader(rule: StageRule, words: StageWords) -> HopReader:
    """A function that reads the stage moves that a record in a stage remembers.

    What cannot be read, or has a word the table does not know, is left out and flagged: the moves only tell of the way,
    the stage itself is read from its own key. So is a record whose moves may have been made in either order.
    """
    history = rule.history
    assert history is not None
    find, passes = finder(history.sources), rule.unmapped == "pass"
    went_to, came_from, at = finder(history.stage), finder(history.before), finder(history.at)
    bare = form(rule.compare)

    def link(entry: Any) -> Link:
        if type(entry) is not dict:
            return None, None
        before, after = _found(came_from, entry), _found(went_to, entry)
        return (bare(before) if type(before) is str else None, bare(after) if type(after) is str else None)

    def way(listed: list[Any], stages: list[str | None], now: str | None) -> Way:
        by_time = _by_time([_instant(_found(at, entry)) for entry in listed if type(entry) is dict])
        by_chain = _by_chain([link(entry) for entry in listed])
        by_end = _by_end(stages, now)
        if by_time:
            return _UNTOLD if by_chain == -by_time else by_time
        return _UNTOLD if by_chain and by_chain == -by_end else by_chain or by_end

    def read(record: Record, now: str | None, flags: list[str]) -> Hops:
        try:
            listed, table = _listed(find(record)), words.of(record)
        except Unreadable:
            flags.append(HOP_UNREAD)
            return Hops()
        read_in = [_move(entry, went_to, table, passes) for entry in listed]
        moves = [move for move in read_in if move is not None]
        if len(moves) < len(listed):
            flags.append(HOP_UNREAD)
        ordered = True
        if len(moves) > 1:
            chosen = way(listed, [move and move[0] for move in read_in], now)
            ordered = chosen != _UNTOLD or _in_turns([stage for stage, _ in moves])
            if chosen == _NEWEST_FIRST:
                moves.reverse()
        if not ordered:
            flags.append(HOP_UNORDERED)
        seen: dict[bytes, int] = {}
        return Hops(tuple(Hop(_name(entry, seen), stage) for stage, entry in moves), ordered)

    return read


def _listed(value: Any) -> list[Any]:
    found = unquoted(value) if type(value) is str else value
    if found is None or found is ABSENT:
        return []
    if type(found) is not list:
        raise Unreadable(f"found {shown(found)}; a list of stage moves would be right")
    return found


def _move(entry: Any, went_to: Callable[[Record], Any], table: Vocabulary, passes: bool) -> tuple[str, bytes] | None:
    """Where an entry says the deal went, in the ledger's word, and its digest; None where it cannot be read."""
    try:
        word = went_to(entry) if type(entry) is dict else None
        if type(word) is not str:
            return None
        stage = table.find(word) or (text(word) if passes else None)
        return None if stage is None else (stage, digest(canonical(anything(entry))))
    except Unreadable:
        return None


def _name(entry: bytes, seen: dict[bytes, int]) -> bytes:
    """The identity of an entry: its digest, and for the second and later that say the very same, which of them it is.

    Without it, a deal moved there and back and there again by entries without a time would lose a move.
    """
    times = seen[entry] = seen.get(entry, 0) + 1
    return entry if times == 1 else digest(canonical([entry.hex(), times]))


# -- which comes first


def _by_time(times: Sequence[Instant | None]) -> Way:
    """What the entries' times say: nothing where they are equal, or rise and fall."""
    told = [time for time in times if time is not None]
    if len({isinstance(time, datetime) for time in told}) > 1:
        return _UNTOLD
    rises = any(earlier < later for earlier, later in pairwise(told))  # type: ignore[operator]
    falls = any(earlier > later for earlier, later in pairwise(told))  # type: ignore[operator]
    return _UNTOLD if rises == falls else _OLDEST_FIRST if rises else _NEWEST_FIRST


def _by_chain(links: Sequence[Link]) -> Way:
    """What the stages that moves went on from say: nothing where the moves follow one another both ways, or neither."""
    forward = all(_follows(one, other) for one, other in pairwise(links))
    backward = all(_follows(other, one) for one, other in pairwise(links))
    return _UNTOLD if forward == backward else _OLDEST_FIRST if forward else _NEWEST_FIRST


def _follows(earlier: Link, later: Link) -> bool:
    (_, reached), (left, _) = earlier, later
    return reached is None or left is None or reached == left


def _by_end(stages: Sequence[str | None], now: str | None) -> Way:
    """What the record's own stage says: the last move has led to it."""
    first, last = stages[0] == now, stages[-1] == now
    return _UNTOLD if now is None or first == last else _OLDEST_FIRST if last else _NEWEST_FIRST


def _in_turns(stages: Sequence[str]) -> bool:
    """Whether the moves only ever went there and back, and have ended where the first one led: then any number of the
    latest ones tell of the same way, whichever of them are listed first.
    """
    return stages[0] == stages[-1] and all(one == other for one, other in zip(stages, stages[2:], strict=False))


def _found(find: Callable[[Record], Any], entry: Record) -> Any:
    try:
        return find(entry)
    except Unreadable:
        return None


def _instant(value: Any) -> Instant | None:
    """A time as it is compared: ISO 8601 (UTC where it has no zone), or any number that grows. None for all else."""
    if type(value) is int or (type(value) is Decimal and value.is_finite()):
        return Decimal(value)
    if type(value) is not str or len(value) > _LONGEST_TIME:
        return None
    try:
        moment = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
