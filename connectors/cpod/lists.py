"""cPod's read requests: a page of a list, and one record by its id."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import httpx
import msgspec

from connectors.cpod.cursor import Place
from connectors.cpod.envelope import Shape, read
from connectors.cpod.options import CpodOptions
from connectors.cpod.tokens import Tokens
from connectors.envelopes import opened
from connectors.pacing import News, Timing
from connectors.single_reads import GONE, askable, shown
from connectors.slicing import Sliced, Slicer
from connectors.source import Absent, Account, Found, Record
from connectors.transport import Answer, Ask, Transport, base_url

DEALS = "deals"
TURNED_DOWN = frozenset({400, 410, 422})
"""What a cursor that has died, or a parameter that is not known, may be answered with (sections 3 and 12)."""

_DIGITS = re.compile(r"\d{1,12}", re.ASCII)
_LONGEST_RESET_S = 3600.0
_HIDDEN = frozenset({400, 403, 422})
_DELETED = re.compile(rb'"is_deleted"\s*:\s*true')


class TurnedDown(Exception):
    """The list does not take the cursor or the parameters that were sent."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Sheet(NamedTuple):
    """One page of a list, as it came. `next`, `more`, `total` and `told` are those of the envelope."""

    rows: Sliced
    requested_at: str
    source_time: str | None
    took_ms: float
    shape: Shape
    next: str | None
    more: bool | None
    total: int | None
    told: bool


class _Marked(msgspec.Struct):
    is_deleted: bool | None = None


class Lists:
    """The requests of one account."""

    def __init__(self, account: Account, options: CpodOptions, timing: Timing | None = None) -> None:
        self.options = options
        self.timing = timing or Timing()
        self.transport = connect(account, self.timing)
        self.tokens = Tokens(self.transport, account, options, self.timing)
        self._slicer = Slicer(DEALS, id_key="id", version_key="version", counted=True)

    def page(self, path: str, params: Mapping[str, str | int], known: Shape | None, place: Place) -> Sheet:
        """One page of the list at `path`, at a place; raises `TurnedDown` for a refusal of what was sent along."""

        def sheet(answer: Answer) -> Sheet | TurnedDown:
            if answer.status != 200:
                return TurnedDown(answer.status)
            page = read(answer.body, known, self.options)
            rows = self._slicer.page(page.rows, not_after=answer.trusted_until)
            marked = rows._replace(records=_with_deleted(rows.records, page.rows))
            head = (marked, answer.requested_at, answer.source_time, answer.took_ms)
            return Sheet(*head, page.shape, page.next, page.more, page.total, page.told)

        sent = {**params, **self.paging(known, place)}
        outcome = self.tokens.ask(Ask(path=path, params=sent, accept=TURNED_DOWN), sheet)
        if isinstance(outcome, TurnedDown):
            raise outcome
        return outcome

    def one(self, source_id: str) -> Found | Absent:
        """One deal. A 404 or 410 says that there is none; a 400, 403 or 422 says nothing (section 4)."""
        asked = Ask(path=f"{self.options.crm_path}/{DEALS}/{askable(source_id)}", accept=_HIDDEN | GONE)
        answer = self.tokens.ask(asked, lambda answer: shown(answer, self._slicer, asked=source_id, raw=bare))
        if isinstance(answer, Absent):
            return answer
        return Found(_with_deleted([answer.record], answer.record.raw)[0], answer.requested_at)

    def paging(self, known: Shape | None, place: Place) -> dict[str, str | int]:
        """The parameters that ask for a place, by what is known of the pages."""
        size = self.options.page_size
        style = known.style if known is not None else None
        if self.options.pagination_style != "auto":
            style = self.options.pagination_style
        if style != "page":
            return {"limit": size} if place.cursor is None else {"limit": size, "cursor": place.cursor}
        camel = known is not None and known.camel
        name = self.options.page_size_param or ("pageSize" if camel else "page_size")
        alone = known is None or known.more is None
        numbered: dict[str, str | int] = {"page": place.page, name: size}
        return numbered | {"limit": size} if alone else numbered


def connect(account: Account, timing: Timing) -> Transport:
    """The transport of an account, with what cPod's refusals may mean. Raises `Misconfigured` for a bad base URL."""
    host = base_url(account.base_url).host
    hints = {
        401: f"{host} does not accept the token; check the credentials and auth_mode",
        403: "the client lacks the right to read this; give it read access to the CRM and its people in cPod",
        404: f"{host} has no such list; check base_url and crm_path",
    }
    return Transport(account, {}, hints=hints, timing=timing, told=told)


def told(status: int, headers: httpx.Headers, requested_at: str) -> News | None:
    """What `X-RateLimit-Remaining` and `-Reset` leave us, where cPod sends them (section 11).

    The reset is taken for a moment when it is too large to be a number of seconds.
    """
    remaining, reset = headers.get("x-ratelimit-remaining", ""), headers.get("x-ratelimit-reset", "")
    if not _DIGITS.fullmatch(reset) or not (_DIGITS.fullmatch(remaining) or status == 429):
        return None
    seconds = float(reset)
    if seconds > _LONGEST_RESET_S:
        seconds -= datetime.fromisoformat(requested_at).timestamp()
    return News(0 if status == 429 else int(remaining), min(max(seconds, 0.0), _LONGEST_RESET_S))


def bare(body: bytes) -> bytes:
    """The bytes of the one object of a get-one, which may lie under `data` (section 4)."""
    parts = opened(body).parts
    inner = parts.get("data", b"")
    return inner if "id" not in parts and inner.startswith(b"{") else body


def _with_deleted(records: list[Record], within: bytes) -> list[Record]:
    """The same records, those that say `is_deleted` at their top level as the source's own tombstones."""
    if not _DELETED.search(within):
        return records
    return [msgspec.structs.replace(record, deleted=True) if _is_deleted(record.raw) else record for record in records]


def _is_deleted(raw: bytes) -> bool:
    if not _DELETED.search(raw):
        return False
    try:
        return msgspec.json.decode(raw, type=_Marked).is_deleted is True
    except (msgspec.DecodeError, RecursionError):
        return False
