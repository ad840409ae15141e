"""Choices: what the contract leaves open, settled for one ledger (contracts/openquota.md sections 3 and 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Choices:
    """How the ledger behaves where its contract only assumes.

    `conflict_status` answers a repeated key with another payload. With `state_merge` "merge" a snapshot changes only
    the keys it has; either way an event holds the state that follows from it. `hide_deleted` leaves deleted deals out
    of lists. `limit_over_max` says what becomes of a page size above 500.
    """

    conflict_status: Literal[200, 409] = 200
    state_merge: Literal["replace", "merge"] = "replace"
    hide_deleted: bool = False
    limit_over_max: Literal["clamp", "400"] = "clamp"


CONTRACT = Choices()
"""What the contract assumes."""

MAX_WAITING = 1024
"""So many requests that bring events wait for the database at most: about a second's worth of single ones."""
