"""Exports: LeadLex's CSV of deals, a cheap witness of which ids there are (section 15).

Another schema than the JSON list, with no time of the last edit: the list stays the source of every record.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from connectors.faults import Unavailable, Unintelligible
from connectors.leadlex.lists import Lists
from connectors.leadlex.windows import seconds
from connectors.source import Absent
from connectors.times import instant, iso, shifted

REFUSED = "the key may not export deals, so sweeps hold nothing against the list; see use_csv_export"
UNJOINED = "the export's ids are not those of the list, so it witnesses nothing; switch use_csv_export off"

_VERIFIED = 10
_EARLIEST = "1990-01-01T00:00:00.000Z"
_HOUR = timedelta(hours=1)
_NARROWEST_S = 2
_COLUMNS = ("id", "status", "value", "currency", "created_at")


class Headline(NamedTuple):
    """A row of an export: a deal's id and the values that stand for it. Texts are as the CSV has them, empty for none.

    `created` is the creation date as an instant, None where it cannot be read. The texts are of use for a first look
    only: they may differ from what the JSON says.
    """

    id: str
    status: str
    value: str
    currency: str
    created: str | None


class NotNow(Unavailable):
    """No export can be had at the moment."""


class Exports:
    """The exports of one account: ten an hour, each of at most `export_limit` rows. `now` is the database's clock."""

    def __init__(self, lists: Lists, now: Callable[[], str]) -> None:
        self._lists = lists
        self._now = now
        self._taken: deque[str] = deque()

    def between(self, after: str | None, before: str | None) -> Iterator[Headline]:
        """The rows of the deals created in a time (instants; None is no bound), the window halved while it is cut off.

        Raises `NotNow` when no export can be had, and `Unintelligible` for a CSV that breaks off.
        """
        waiting = [(after, before)]
        while waiting:
            low, high = waiting.pop()
            rows = self._export(low, high)
            if len(rows) < self._lists.options.export_limit:
                yield from rows
                continue
            middle = self._middle(low, high)
            waiting += [(middle, high), (low, middle)]

    def verified(self, rows: list[Headline]) -> bool:
        """Whether a single read knows the first rows by their ids; one that was deleted meanwhile may be missing."""
        first = rows[:_VERIFIED]
        absent = sum(isinstance(self._lists.one(row.id), Absent) for row in first)
        return bool(first) and absent * 2 <= len(first)

    def _middle(self, low: str | None, high: str | None) -> str:
        begin = datetime.fromisoformat(low or _EARLIEST)
        end = datetime.fromisoformat(high or shifted(self._now(), timedelta(hours=25)))
        if (end - begin).total_seconds() < _NARROWEST_S:
            raise Unintelligible("an export of a single second is as long as its limit, so it cannot be known whole")
        return iso((begin + (end - begin) / 2).replace(microsecond=0))

    def _export(self, after: str | None, before: str | None) -> list[Headline]:
        at = self._now()
        while self._taken and self._taken[0] <= shifted(at, -_HOUR):
            self._taken.popleft()
        if len(self._taken) >= self._lists.options.exports_per_hour:
            raise NotNow(
                f"LeadLex allows {len(self._taken)} exports an hour; the next one may go after the oldest's hour"
            )
        self._taken.append(at)
        params: dict[str, str | int] = {"limit": self._lists.options.export_limit}
        if after is not None:
            params["created_after"] = seconds(after)
        if before is not None:
            params["created_before"] = seconds(shifted(before, timedelta(seconds=1)))
        answer = self._lists.export(params)
        if answer.status == 403:
            raise NotNow(REFUSED)
        if answer.status == 429:
            raise NotNow("LeadLex allows no further export within this hour")
        if answer.status != 200:
            raise Unintelligible(f"LeadLex answered an export with {answer.status}")
        return parsed(answer.body)


def parsed(body: bytes) -> list[Headline]:
    """The rows of a CSV (RFC 4180, a byte order mark or not). Cells are data, whatever sign they begin with.

    Raises `Unintelligible` for one that breaks off within a row, which its status 200 does not tell.
    """
    try:
        text = body.decode("utf-8-sig")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Unintelligible(f"the export is no CSV, or breaks off within a row: {error}") from None
    if not rows or "id" not in rows[0]:
        raise Unintelligible("the export has no column id in its first row")
    head = rows[0]
    if not text.endswith("\n") or any(len(row) != len(head) for row in rows[1:]):
        raise Unintelligible("the export breaks off within a row, though it was answered with 200")
    places = [head.index(name) if name in head else None for name in _COLUMNS]
    told = ([row[place] if place is not None else "" for place in places] for row in rows[1:])
    return [
        Headline(id_, status, value, currency, instant(created))
        for id_, status, value, currency, created in told
        if id_
    ]
