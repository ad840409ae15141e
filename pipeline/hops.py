"""Hops: the stages a deal went through between two reads, where its source keeps a history of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from deals.state import DealState
from mappings.outcome import Hop, Mapped
from pipeline.batch import Scope, Seen
from pipeline.decode import Undecodable, decode
from pipeline.store import vault
from pipeline.store.projection import DealRow


class Move(NamedTuple):
    """A changed record of a deal that was known before, with what it says now."""

    seen: Seen
    reading: Mapped
    row: DealRow
    before: DealState


def between(tx: Connection, scope: Scope, moves: Sequence[Move]) -> dict[bytes, list[str]]:
    """The stages that lie between the record each deal was last projected from and the one seen now, oldest first;
    also where the deal is back at the stage that it came from.

    By the digest of the record seen now. Which entries of a history are new is told by comparing it with the one in
    the earlier record, which the vault keeps; no clock is trusted for it. Moves that may have been made in either
    order are told of in none.
    """
    told = [move for move in moves if move.reading.hops_ordered]
    travelled = [move for move in told if len(move.reading.hops) > 1 or not _stayed(move)]
    raws = vault.fetch_all(tx, {move.row.raw for move in travelled})
    found = {}
    for move in travelled:
        fresh = _fresh(move.reading.hops, _entries(scope, move.row, raws[move.row.raw]))
        if stages := _without_ends(fresh, move.before.stage, move.reading.state.stage):
            found[move.seen.digest] = stages
    return found


def _stayed(move: Move) -> bool:
    return move.before.stage == move.reading.state.stage


def _fresh(hops: Sequence[Hop], earlier: frozenset[bytes]) -> list[str]:
    """Where the moves led to that the earlier history did not have.

    One that does not go on from the earlier history at all, because its entries are written in another way now, tells
    nothing: every old move would be told again.
    """
    if earlier and earlier.isdisjoint(hop.entry for hop in hops):
        return []
    return [hop.stage for hop in hops if hop.entry not in earlier]


def _entries(scope: Scope, row: DealRow, raw: bytes) -> frozenset[bytes]:
    """The history that the earlier record bore."""
    try:
        reading = scope.mapper.map(row.kind, decode(raw))
    except Undecodable:
        return frozenset()
    return frozenset(hop.entry for hop in reading.hops) if isinstance(reading, Mapped) else frozenset()


def _without_ends(stages: list[str], first: str | None, last: str | None) -> list[str]:
    """The stages passed through, each move once, without those that the deal came from and arrived at."""
    passed: list[str] = []
    for stage in stages:
        if stage != (passed[-1] if passed else first):
            passed.append(stage)
    if passed and passed[-1] == last:
        passed.pop()
    return passed
