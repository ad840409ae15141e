"""Simulated index: which deals a list has, found by their dates, and in which order they are shown."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from zlib import crc32

import msgspec

from connectors.simulated_records import Fields, Records
from connectors.times import instant

_LAST = chr(0x10FFFF)


class _Head(msgspec.Struct):
    created_date: str
    updated_date: str | None = None
    status: str | None = None
    pipeline: str | None = None
    stage: str | None = None
    main_contact_id: str | None = None
    owner_user_id: str | None = None
    tags: list[str] = []


_head = msgspec.json.Decoder(_Head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which deals a list has. Times are instants; `keys` are equalities; `inclusive` decides about a very moment."""

    created_after: str | None = None
    created_before: str | None = None
    updated_after: str | None = None
    keys: tuple[tuple[str, str], ...] = ()
    inclusive: bool = True
    null_is_updated: bool = False


class Index:
    """The deals by creation and by last edit, so that a narrow window over a million of them costs nothing.

    What `records` serves decides what is shown: it may lag behind what is written here.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        self._created: list[tuple[str, str]] = []
        self._updated: list[tuple[str, str]] = []
        self._lists: dict[Filter, list[str]] = {}

    def load(self, deals: Iterable[Fields]) -> Iterable[Fields]:
        """Take note of many deals as they pass by."""
        for deal in deals:
            self._created.append((_moment(deal["created_date"]), deal["id"]))
            if deal["updated_date"] is not None:
                self._updated.append((_moment(deal["updated_date"]), deal["id"]))
            yield deal
        self._created.sort()
        self._updated.sort()

    def note(self, deal: Fields, before: Fields | None) -> None:
        """A deal was written."""
        if before is None or before["created_date"] != deal["created_date"]:
            insort(self._created, (_moment(deal["created_date"]), deal["id"]))
        if deal["updated_date"] is not None:
            insort(self._updated, (_moment(deal["updated_date"]), deal["id"]))
        self.forget()

    def forget(self) -> None:
        """Something is shown otherwise from now on."""
        self._lists.clear()

    def ids(self, wanted: Filter, shuffle: str | None = None) -> list[str]:
        """The ids of a list in an order that means nothing: always the same, or another one for each `shuffle`."""
        ids = self._lists.get(wanted)
        if ids is None:
            ids = sorted((one for one in self._candidates(wanted) if self._has(one, wanted)), key=_nowhere)
            self._lists[wanted] = ids
        if shuffle is None:
            return ids
        mixed = list(ids)
        Random(shuffle).shuffle(mixed)  # noqa: S311 - reproducible, not secret
        return mixed

    def _candidates(self, wanted: Filter) -> Iterable[str]:
        if wanted.updated_after is not None and not wanted.null_is_updated:
            first = bisect_left(self._updated, (wanted.updated_after, ""))
            return {one for _, one in self._updated[first:]}
        after, before = (wanted.created_after or "", ""), (wanted.created_before or _LAST, _LAST)
        if not wanted.inclusive:
            after, before = (after[0], _LAST if wanted.created_after else ""), (before[0], "")
        first, last = bisect_left(self._created, after), bisect_right(self._created, before)
        return dict.fromkeys(one for _, one in self._created[first:last])

    def _has(self, deal_id: str, wanted: Filter) -> bool:
        body = self._records.served(deal_id)
        if body is None:
            return False
        if wanted.updated_after is None and not wanted.keys:
            return True  # the candidates were found by creation dates, which never change
        try:
            head = _head.decode(body)
        except msgspec.DecodeError:
            return True
        created, updated = instant(head.created_date) or "", instant(head.updated_date)
        if wanted.updated_after is not None:
            if updated is None:
                if not wanted.null_is_updated:
                    return False
            elif not _after(updated, wanted.updated_after, wanted.inclusive):
                return False
        if wanted.created_after is not None and not _after(created, wanted.created_after, wanted.inclusive):
            return False
        if wanted.created_before is not None and not _after(wanted.created_before, created, wanted.inclusive):
            return False
        return all(value in head.tags if key == "tags" else getattr(head, key) == value for key, value in wanted.keys)


def _after(one: str, other: str, inclusive: bool) -> bool:
    return one > other or (inclusive and one == other)


def _moment(text: str) -> str:
    return instant(text) or ""


def _nowhere(deal_id: str) -> int:
    return crc32(deal_id.encode())
