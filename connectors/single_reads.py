"""Single reads: how one record is asked for and what its answer proves; and rows that are read by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from connectors.faults import Denied, Fault, RateLimited, Unavailable, Unintelligible
from connectors.slicing import Slicer
from connectors.source import Absent, Found, Record, Spoiled
from connectors.transport import Answer

GONE: Final = frozenset({404, 410})
"""The statuses that prove that there is no such record; no other does."""

NOT_READ: Final = "NOT_READ_BY_ITSELF"
"""The reason for which such a row is parked."""

_BORNE = 3
_OUTAGE = 2


def askable(source_id: str) -> str:
    """An id as it stands in a path, percent-encoded.

    Raises `Unintelligible` for one that nothing would be left of there: the source would answer with the whole list.
    """
    if not source_id.strip(" ./"):
        raise Unintelligible(f"{source_id[:20]!r} is no id to ask for: the whole list would be answered")
    return quote(source_id, safe="")


def shown(
    answer: Answer, slicer: Slicer, *, asked: str | None, raw: Callable[[bytes], bytes] = bytes
) -> Found | Absent:
    """What the answer to a single read says: the record that `raw` finds in the body, or that there is none.

    `asked` is the id that the record must bear, None where it was asked for by another key. An accepted status beside
    200 shows no record, and proves something only if it is one of `GONE`. Raises `Unintelligible` for a record that
    cannot be read, or is another one.
    """
    if answer.status != 200:
        return Absent(answer.status in GONE, str(answer.status), answer.requested_at)
    record = slicer.record(raw(answer.body), not_after=answer.trusted_until)
    if isinstance(record, Spoiled):
        raise Unintelligible(record.message)
    if asked is not None and record.source_id != asked:
        raise Unintelligible("the record that came bears another id than the one asked for")
    return Found(record, answer.requested_at)


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
        answer = self.answer(row.source_id, listed=True)
        if isinstance(answer, Fault):
            return Spoiled(row.source_id, row.raw, NOT_READ, f"its single read cannot be had: {answer}")
        return answer

    def answer(self, source_id: str, *, listed: bool = False) -> Found | Absent | Fault:
        """What the source says of a record, or the fault that is this record's own.

        With `listed` a list has just shown it, so an absence without proof is such a fault. Raises as `read` does.
        """
        try:
            answer = self._one(source_id)
            if listed and isinstance(answer, Absent) and not answer.proof:
                raise Unintelligible(f"the list shows it, and its single read is answered {answer.answer}")
        except RateLimited:
            raise
        except (Denied, Unavailable, Unintelligible) as fault:
            self._unread += 1
            self._unanswered += isinstance(fault, Unavailable)
            if self._unread > _BORNE or self._unanswered >= _OUTAGE:
                raise
            return fault
        self._unread = self._unanswered = 0
        return answer
