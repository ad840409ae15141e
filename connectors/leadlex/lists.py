"""LeadLex's read requests: a page of deals, one deal, exports, deletions, and what deals refer to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec.structs import replace

from connectors.faults import Fault, RateLimited, Unintelligible
from connectors.leadlex.envelope import Meta, listed, single
from connectors.leadlex.options import LeadlexOptions
from connectors.leadlex.quota import Quota
from connectors.pacing import Timing
from connectors.single_reads import GONE, askable, shown
from connectors.slicing import Sliced, Slicer
from connectors.source import Absent, Account, Entry, Found, Record
from connectors.times import instant
from connectors.transport import Answer, Ask, Transport, base_url, header_value

T = TypeVar("T")

KIND = "deals"
UNEDITED = "0"
"""The version of a deal whose `updated_date` is null.

It is null until the first edit and never again (section 6), so any edit must outrank it, whatever that says. The
creation date would not do: a caller may set it up to a day ahead, and then it outranks the edits of that day.
"""

_AUDITED = 200
_NEIGHBOURS = 100


class _Dates(msgspec.Struct):
    created_date: Any = None
    updated_date: Any = msgspec.UNSET


class Listed(NamedTuple):
    """One page of deals. `created` has each record's creation date as an instant, None where it has none.

    `requested_at` is the time just before the request was sent, by the database's clock; `source_time` LeadLex's own.
    """

    rows: Sliced
    created: list[str | None]
    meta: Meta
    requested_at: str
    source_time: str | None


class _User(msgspec.Struct):
    id: str
    full_name: str | None = None
    email: str | None = None


class _Company(msgspec.Struct):
    id: str
    name: str | None = None
    industry: str | None = None
    country: str | None = None


class Lists:
    """The requests of one account, over a transport that already knows its key."""

    def __init__(self, account: Account, options: LeadlexOptions, timing: Timing | None = None) -> None:
        self.options = options
        self.quota = Quota(options)
        self.transport = _connect(account, self.quota, timing)
        self.claimed = account.fields.get(KIND, frozenset())
        self.known = account.known
        self._slicer = Slicer(KIND, id_key="id", version_key="updated_date")

    def ask(self, what: Ask, read: Callable[[Answer], T]) -> T:
        """Ask; a fault bears the vendor's name for the request, and a day that is used up says when it resumes."""
        self.quota.request_id = ""
        try:
            return self.transport.ask(what, read)
        except RateLimited as fault:
            if self.quota.resumes_at is None:
                raise
            until = self.quota.resumes_at
            message = f"LeadLex's requests of today are used up but for the reserve; reading goes on at {until}"
            raise RateLimited(message, retry_after_s=fault.retry_after_s) from None
        except Fault as fault:
            if self.quota.request_id:
                fault.args = (f"{fault} (X-Request-ID {self.quota.request_id})",)
            raise

    def page(self, params: Mapping[str, str], number: int) -> Listed:
        """One page of the deals that the parameters leave (section 3)."""

        def read(answer: Answer) -> Listed:
            raw, meta = listed(answer.body, "deals")
            rows = self._slicer.page(raw, not_after=answer.trusted_until)
            dates = [_dates(record.raw) for record in rows.records]
            records = list(map(_versioned, rows.records, dates))
            created = [instant(date.created_date) for date in dates]
            return Listed(rows._replace(records=records), created, meta, answer.requested_at, answer.source_time)

        wanted: dict[str, str | int] = {"page": number, "per_page": self.options.page_size, **params}
        return self.ask(Ask(path="/v1/deals", params=wanted), read)

    def one(self, deal_id: str) -> Found | Absent:
        """One deal; only 404 and 410 prove absence, whatever their code says (section 5)."""
        asked = Ask(path=f"/v1/deals/{askable(deal_id)}", accept=GONE | {400})
        answer = self.ask(asked, lambda answer: shown(answer, self._slicer, asked=deal_id, raw=single))
        if isinstance(answer, Absent):
            return answer
        return Found(_versioned(answer.record, _dates(answer.record.raw)), answer.requested_at)

    def users(self) -> Iterator[Sequence[Entry]]:
        """Everyone in the workspace; the list has no pages. Whoever has left is missing (section 9)."""
        rows = self.ask(Ask(path="/v1/users"), lambda answer: _rows(answer.body, "users", list[_User]))
        yield [Entry(user.id, _encode({"name": user.full_name or None, "email": user.email or None})) for user in rows]

    def companies(self) -> Iterator[Sequence[Entry]]:
        """Every company, a page at a time, to an empty page."""
        number = 0
        before: frozenset[str] = frozenset()
        while True:
            number += 1
            params = {"page": number, "per_page": _NEIGHBOURS}
            rows = self.ask(
                Ask(path="/v1/companies", params=params),
                lambda answer: _rows(answer.body, "companies", list[_Company]),
            )
            here = frozenset(company.id for company in rows)
            if not rows or here == before:
                return
            before = here
            yield [
                Entry(one.id, _encode({"name": one.name, "industry": one.industry, "country": one.country}))
                for one in rows
            ]

    def deletions(self, since: str, number: int) -> list[dict[str, Any]] | None:
        """A page of the audit log's deletions of deals, newest first; None where the key is no admin's (section 14)."""
        params: dict[str, str | int] = {
            "page": number, "per_page": _AUDITED, "action": "delete", "resource_type": "deals", "from_date": since,
        }  # fmt: skip

        def read(answer: Answer) -> list[dict[str, Any]] | None:
            return None if answer.status == 403 else _rows(answer.body, "audit_logs", list[dict[str, Any]])

        return self.ask(Ask(path="/v1/audit-logs", params=params, accept=frozenset({403})), read)

    def webhooks(self) -> list[dict[str, Any]] | None:
        """The registered webhooks; None where the key may not see them."""

        def read(answer: Answer) -> list[dict[str, Any]] | None:
            return None if answer.status == 403 else _rows(answer.body, "webhooks", list[dict[str, Any]])

        return self.ask(Ask(path="/v1/webhooks", accept=frozenset({403})), read)

    def export(self, params: Mapping[str, str | int]) -> Answer:
        """A CSV export, or the refusal in its place: 400, 403, or 429 when ten were taken within the hour."""
        self.quota.exporting = True
        try:
            asked = Ask(
                path="/v1/deals/export",
                params=params,
                headers={"Accept": "text/csv"},
                accept=frozenset({400, 403, 429}),
            )
            return self.ask(asked, lambda answer: answer)
        finally:
            self.quota.exporting = False


def _connect(account: Account, quota: Quota, timing: Timing | None) -> Transport:
    """The transport of an account, with its key and with what LeadLex's refusals may mean.

    Raises `Misconfigured` for a base URL or a key that cannot work.
    """
    key = header_value(account.credentials.get("token", ""), "token")
    host = base_url(account.base_url).host
    hints = {
        401: f"the key is not valid at {host}, or has expired; make a new one under Settings, API & Integrations",
        403: "the key lacks the permission to read this; make one with the permission group Read",
        404: f"{host} has no such list; base_url must end before /v1, as in "
        "https://data.leadlex.com/functions/v1/api-gateway",
    }
    return Transport(account, {"Authorization": f"Bearer {key}"}, hints=hints, timing=timing, told=quota.told)


def _rows(body: bytes, name: str, shape: type[list[T]]) -> list[T]:
    raw, _ = listed(body, name)
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.DecodeError as error:
        raise Unintelligible(f"the list of {name} is not as its contract says: {error}") from None


def _dates(raw: bytes) -> _Dates:
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _Dates()


def _versioned(record: Record, dates: _Dates) -> Record:
    return replace(record, version=UNEDITED) if dates.updated_date is None else record


_decoder = msgspec.json.Decoder(_Dates)
_encode = msgspec.json.encode
