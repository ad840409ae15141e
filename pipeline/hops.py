"""Hops: the stages a deal went through between two reads, where its source keeps a history of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from deals.state import DealState
from mappings.outcome import Mapped
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
    """The stages that lie between the record each deal was last projected from and the one seen now, oldest first.

    By the digest of the record seen now. Which entries of a history are new is told by comparing it with the one in
    the earlier record, which the vault keeps; no clock is trusted for it.
    """
    moved = [move for move in moves if move.reading.hops and move.before.stage != move.reading.state.stage]
    blocks = {number: vault.block(tx, number) for number in {move.row.raw_block for move in moved}}
    found = {}
    for move in moved:
        earlier = _entries(scope, move.row, blocks[move.row.raw_block][move.row.raw_position])
        fresh = [hop.stage for hop in move.reading.hops if hop.entry not in earlier]
        if stages := _without_ends(fresh, move.before.stage, move.reading.state.stage):
            found[move.seen.digest] = stages
    return found


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
