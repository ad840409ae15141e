"""Single reads: rows that a list shows in part are read by themselves, and one that cannot be costs no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from connectors.faults import Denied, RateLimited, Unavailable, Unintelligible
from connectors.source import Absent, Found, Record, Spoiled

NOT_READ: Final = "NOT_READ_BY_ITSELF"
"""The reason for which such a row is parked."""

_BORNE = 3
_OUTAGE = 2


class SingleReads:
    """Reads rows with `one`.

    A row that is refused, never answered or answered with nonsense is spoiled. Several in a row are the source's own
    trouble: then the fault of the last one is raised, and whoever reads comes back later.
    """

    def __init__(self, one: Callable[[str], Found | Absent]) -> None:
        self._one = one
        self._unread = 0
        self._unanswered = 0

    def read(self, row: Record) -> Found | Absent | Spoiled:
        """The row as its single read shows it; `Absent` only with its proof, since the list shows that it is there.

        Raises the faults of the source; `RateLimited` at once.
        """
        try:
            answer = self._one(row.source_id)
            if isinstance(answer, Absent) and not answer.proof:
                raise Unintelligible(f"the list shows it, and its single read is answered {answer.answer}")
        except RateLimited:
            raise
        except (Denied, Unavailable, Unintelligible) as fault:
            self._unread += 1
            self._unanswered += isinstance(fault, Unavailable)
            if self._unread > _BORNE or self._unanswered >= _OUTAGE:
                raise
            return Spoiled(row.source_id, row.raw, NOT_READ, f"its single read cannot be had: {fault}")
        self._unread = self._unanswered = 0
        return answer
