"""Simulated lists: cPod's three envelopes, its two ways of paging, and parameters that may be ignored in silence."""

from __future__ import annotations

import base64
import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from connectors.cpod.simulated_switches import Switches
from connectors.simulated_records import decode
from connectors.simulated_wire import Answer, bytes_answer
from connectors.simulation import SimClock

FILTERS: Final = frozenset({"stage", "owner_id", "account_id", "pipeline_id", "deal_id"})
DELETED: Final = b'"is_deleted":true'
_PAGING: Final = frozenset({"limit", "cursor", "page", "page_size", "pageSize", "sort", "search"})
_DEFAULT: Final = 50


class Turned(Exception):
    """The list turns a request down."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Rows(NamedTuple):
    """What a list is made of: ids in ascending order, the bytes of each as it is served now, and who may see which.

    `settled` is a number that changes with every write, or None while totals cannot be kept. `counts` are those of the
    living and of the deleted, where they are known without looking.
    """

    ids: Sequence[str]
    served: Callable[[str], bytes | None]
    visible: Callable[[Mapping[str, Any]], bool] | None
    settled: int | None
    counts: tuple[int, int] | None = None


class Lister:
    """Answers list requests, newest first."""

    def __init__(self, clock: SimClock, switches: Switches) -> None:
        self._clock = clock
        self._switches = switches
        self._totals: dict[Any, int] = {}
        self._last: tuple[Any, ...] = ()

    def answer(self, name: str, query: Mapping[str, str], rows: Rows) -> Answer:
        """One page. Raises `Turned` for parameters that are not taken, and for cursors that have died."""
        heard = self._heard(query)
        asked = {key: value for key, value in heard.items() if key not in _PAGING - {"sort", "search"}}
        mark = hashlib.sha256(msgspec.json.encode([name, sorted(asked.items())])).hexdigest()[:16]
        limit = self._limit(heard)
        if self._by_page():
            page = max(1, _whole(heard.get("page"), 1))
            found = list(islice(self._matching(asked, rows, None), (page - 1) * limit, page * limit + 1))
        else:
            found = list(islice(self._matching(asked, rows, self._opened(heard.get("cursor"), mark)), limit + 1))
        shown, more = found[:limit], len(found) > limit
        parts = self._parts(more, self._sealed(shown[-1][0], mark) if more else None)
        if "total" in parts:
            parts["total"] = self._total(mark, asked, rows)
        key = "items" if self._switches.envelope == "legacy_items" else "data"
        body = b'{"%s":[%s]' % (key.encode(), b",".join(body for _, body in shown))
        rest = msgspec.json.encode(parts)[1:]
        return bytes_answer(body + (b"," if parts else b"") + rest)

    # -- inside

    def _heard(self, query: Mapping[str, str]) -> dict[str, str]:
        switches = self._switches
        known = _PAGING | FILTERS | {switches.include_deleted, switches.changed_since}
        if switches.refuse_unknown_params and (unknown := query.keys() - known):
            raise Turned(422, f"unknown parameter {min(unknown)}")
        return {key: value for key, value in query.items() if key in known and key not in switches.ignored_params}

    def _by_page(self) -> bool:
        switches = self._switches
        return switches.envelope in ("legacy_people", "bare_data") or (
            switches.envelope == "current" and switches.paging == "page"
        )

    def _camel(self) -> bool:
        return self._switches.camel or self._switches.envelope.startswith("legacy")

    def _limit(self, heard: Mapping[str, str]) -> int:
        name = "limit"
        if self._by_page() and self._switches.envelope != "bare_data":
            name = "pageSize" if self._camel() else "page_size"
        limit = _DEFAULT if self._switches.page_size_ignored else _whole(heard.get(name), _DEFAULT)
        if limit > self._switches.max_limit and self._switches.over_limit == "refuse":
            raise Turned(422, f"{name} must not exceed {self._switches.max_limit}")
        return max(1, min(limit, self._switches.max_limit))

    def _parts(self, more: bool, cursor: str | None) -> dict[str, Any]:
        envelope = self._switches.envelope
        if envelope == "bare_data":
            return {}
        if envelope == "legacy_people":
            return {"hasMore": more}
        total = {"total": 0} if self._switches.show_total else {}
        if envelope == "legacy_items":
            return {"nextCursor": cursor, **total}
        names = ("nextCursor", "hasMore") if self._camel() else ("next_cursor", "has_more")
        return {**({} if self._by_page() else {names[0]: cursor}), names[1]: more, **total}

    def _matching(self, asked: Mapping[str, str], rows: Rows, after: str | None) -> Iterator[tuple[str, bytes]]:
        """The rows that a request may see, newest first, those behind the cursor's."""
        wanted = {key: value for key, value in asked.items() if key in FILTERS}
        since = asked.get(self._switches.changed_since or "")
        deleted = asked.get(self._switches.include_deleted or "") == "true"
        looked_at = bool(wanted) or since is not None or "search" in asked or rows.visible is not None
        for record_id in self._ordered(asked, rows, after):
            body = rows.served(record_id)
            if body is None:
                continue
            gone = DELETED in body
            if gone != deleted if self._switches.only_deleted and deleted else gone and not deleted:
                continue
            if looked_at and not _matches(body, wanted, since, asked.get("search"), rows.visible):
                continue
            yield record_id, body

    def _ordered(self, asked: Mapping[str, str], rows: Rows, after: str | None) -> Iterator[str]:
        sort = asked.get("sort", "").removeprefix("-")
        if sort != "updated_at":
            end = len(rows.ids) if after is None else bisect_left(rows.ids, after)
            return (rows.ids[place] for place in range(end - 1, -1, -1))
        stamped = ((decode(body)["updated_at"], key) for key in rows.ids if (body := rows.served(key)) is not None)
        ordered = [key for _, key in sorted(stamped, reverse=asked["sort"].startswith("-"))]
        return iter(ordered[ordered.index(after) + 1 :] if after in ordered else ordered)

    def _total(self, mark: str, asked: Mapping[str, str], rows: Rows) -> int:
        if rows.counts is not None and not asked.keys() - {self._switches.include_deleted or "", "sort"}:
            living, deleted = rows.counts
            shown = asked.get(self._switches.include_deleted or "") == "true"
            return deleted if shown and self._switches.only_deleted else living + deleted * shown
        state = (rows.settled, self._switches.hidden, self._switches.app_id, self._switches.own_records)
        if rows.settled is None or state != self._last:
            self._totals, self._last = {}, state
        if mark not in self._totals:
            self._totals[mark] = sum(1 for _ in self._matching(asked, rows, None))
        return self._totals[mark]

    def _sealed(self, last: str, mark: str) -> str:
        told = [last, mark, self._clock.monotonic()]
        return base64.urlsafe_b64encode(msgspec.json.encode(told)).decode().rstrip("=")

    def _opened(self, cursor: str | None, mark: str) -> str | None:
        if cursor is None:
            return None
        try:
            padded = cursor + "=" * (-len(cursor) % 4)
            last, of, at = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=tuple[str, str, float])
        except (ValueError, msgspec.DecodeError):
            raise Turned(400, "invalid cursor") from None
        life = self._switches.cursor_life_s
        if of != mark or (life is not None and self._clock.monotonic() - at > life):
            raise Turned(400, "the cursor has expired")
        return last


def _matches(
    body: bytes,
    wanted: Mapping[str, str],
    since: str | None,
    search: str | None,
    visible: Callable[[Mapping[str, Any]], bool] | None,
) -> bool:
    try:
        row = decode(body)
    except msgspec.DecodeError:
        return not wanted and since is None and search is None
    if visible is not None and not visible(row):
        return False
    if any(str(row.get(key)) != value for key, value in wanted.items()):
        return False
    if search is not None and search.lower() not in str(row.get("name", "")).lower():
        return False
    return since is None or str(row.get("updated_at", "")).removesuffix("Z") >= since.removesuffix("Z")


def _whole(text: str | None, default: int) -> int:
    """A parameter as a whole number; what is none counts as not given."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and int(text) > 0 else default
