"""The simulated LeadLex API: `/v1/deals` and its neighbours, served over a simulated workspace."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from email.utils import format_datetime
from math import ceil
from typing import Any, Final

from connectors.leadlex.simulated_data import STAGES
from connectors.leadlex.simulated_exports import COLUMNS, EXTRA, exported
from connectors.leadlex.simulated_index import Filter
from connectors.leadlex.simulated_switches import Switches
from connectors.leadlex.simulated_writes import Rejected, WriteApi
from connectors.simulated_records import Fields, Query, decode, encode
from connectors.simulated_wire import JSON, Answer, Request, json_answer
from connectors.simulation import SimClock
from connectors.times import instant

TOKEN: Final = "sandbox"  # noqa: S105 - opens simulated doors only
"""The key that a simulator takes when none is given."""

PREFIX: Final = ("functions", "v1", "api-gateway")
"""The gateway's own path before `/v1`; a request may leave it out."""

_THIN: Final = frozenset(
    {"related_company_id", "fee_model", "closed_date", "high_level_description", "next_follow_up_date"}
)
_EQUALITIES: Final = {"status": "status", "pipeline": "pipeline", "stage": "stage", "contact_id": "main_contact_id",
                      "owner_user_id": "owner_user_id", "tags": "tags"}  # fmt: skip
_EXPORT_MAX: Final = 50_000
_EXPORT_DEFAULT: Final = 10_000


class LeadlexSimulator(WriteApi):
    """A LeadLex workspace behind its API. The same seed and calls give the same bytes.

    `deals` exist at first; `clock`, `switches` and the stage words may be given. `token` is the only key accepted.
    `before_list` is called before each page of deals is answered: a test changes the workspace there.
    """

    def __init__(
        self,
        seed: int = 0,
        deals: int = 200,
        clock: SimClock | None = None,
        *,
        switches: Switches | None = None,
        stages: tuple[str, ...] = STAGES,
        token: str = TOKEN,
    ) -> None:
        super().__init__(seed, deals, clock, switches=switches, stages=stages)
        self.credentials = {"token": token}
        self._accepted = f"Bearer {token}"
        self._requests = 0
        self._day: tuple[Any, int] = (None, 0)
        self._minute: tuple[Any, int] = (None, 0)
        self._exports: deque[datetime] = deque()

    def handle(self, request: Request) -> Answer:
        """Key first, then the limits, then the route; every answer bears its headers."""
        self._requests += 1
        headers: dict[str, str] = {"X-Request-ID": f"req-{self._requests}"}
        if self.switches.date_header:
            headers["Date"] = format_datetime(self.clock.now.replace(microsecond=0), usegmt=True)
        try:
            self._authenticate(request)
            self._spend(headers)
            answer = self._route(request)
        except Rejected as no:
            answer = self._error(no)
        return Answer(status=answer.status, body=answer.body, headers={**answer.headers, **headers})

    def spend(self, requests: int) -> None:
        """Somebody else's integration uses up so much of the day."""
        with self.exclusive():
            day = self.clock.now.date()
            self._day = (day, requests + (self._day[1] if self._day[0] == day else 0))

    # -- before the route

    def _authenticate(self, request: Request) -> None:
        expired = self.switches.expires_at is not None and self.clock.now >= self.switches.expires_at
        if expired or request.headers.get("authorization") != self._accepted:
            raise Rejected(401, "invalid_key", "the key is invalid or expired")

    def _spend(self, headers: dict[str, str]) -> None:
        """Two clocks: a minute that no header shows, and the day that the headers are about (section 11)."""
        now = self.clock.now
        day, minute = now.date(), now.replace(second=0, microsecond=0)
        self._day = (day, 1 + (self._day[1] if self._day[0] == day else 0))
        self._minute = (minute, 1 + (self._minute[1] if self._minute[0] == minute else 0))
        per_day, per_minute = self.switches.requests_per_day, self.switches.requests_per_minute
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        if per_day is not None:
            left = max(0, per_day - self._day[1])
            headers |= {"X-RateLimit-Limit": str(per_day), "X-RateLimit-Remaining": str(left)}
            headers["X-RateLimit-Reset"] = str(int(midnight.timestamp()))
        over_day = per_day is not None and self._day[1] > per_day
        if over_day or (per_minute is not None and self._minute[1] > per_minute):
            until = midnight if over_day else minute + timedelta(minutes=1)
            if self.switches.retry_after:
                headers["Retry-After"] = str(ceil((until - now).total_seconds()))
            raise Rejected(429, "rate_limited", "too many requests")

    def _error(self, no: Rejected) -> Answer:
        if self.switches.bare_errors:
            return json_answer({"message": no.message}, no.status)
        return json_answer({"error": {"code": no.code, "message": no.message}}, no.status)

    # -- routes

    def _route(self, request: Request) -> Answer:
        segments = request.segments
        if segments[: len(PREFIX)] == PREFIX:
            segments = segments[len(PREFIX) :]
        if len(segments) not in (2, 3) or segments[0] != "v1":
            raise Rejected(404, "not_found", "no such route")
        resource, key = segments[1], segments[2] if len(segments) == 3 else ""
        if resource in self.switches.forbidden:
            raise Rejected(403, "insufficient_permissions", f"the key may not use {resource}")
        if resource == "deals":
            return self._deals(key, request)
        if resource == "contacts" and request.method == "GET":
            return self._contacts(key, request)
        if request.method != "GET" or key:
            raise Rejected(404, "not_found", "no such route")
        match resource:
            case "users":
                return json_answer({"data": {"users": self.make.users}})
            case "companies":
                return self._companies(request)
            case "webhooks":
                return json_answer({"data": {"webhooks": [self._hook(index) for index in range(len(self.hooks))]}})
            case "audit-logs":
                return self._audit_logs(request)
        raise Rejected(404, "not_found", "no such route")

    def _deals(self, key: str, request: Request) -> Answer:
        if request.method != "GET":
            return self.write(key, request)
        if key == "export":
            return self._export(request)
        if key:
            return self._one(key)
        if self.before_list is not None:
            self.before_list(request)
        return self._list(request)

    def _one(self, deal_id: str) -> Answer:
        body = self.records.served(deal_id)
        if body is None:
            raise Rejected(404, self.switches.not_found_code, "deal not found")
        with suppress(ValueError):  # what is served raw on purpose is shown as it is
            body = encode(self.as_one(decode(body)))
        inner = body if self.switches.bare_one else b'{"deal":' + body + b"}"
        return Answer(body=b'{"data":' + inner + b"}", headers={"content-type": JSON})

    def _list(self, request: Request) -> Answer:
        if self.late_now:
            self.index.forget()
        page, per_page = self._paged(request.query, 50, self.switches.max_per_page)
        shuffle = str(self._requests) if self.switches.order == "unstable" else None
        ids = self.index.ids(self._filter(request.query), shuffle)
        rows = [self._row(one) for one in ids[(page - 1) * per_page : page * per_page]]
        meta: Fields = {"page": page, "per_page": per_page, "total": len(ids)}
        if self.switches.total == "absent":
            del meta["total"]
        elif self.switches.total == "stale":
            meta["total"] += 3
        body = b'{"data":{"deals":[' + b",".join(rows) + b']},"meta":' + encode(meta) + b"}"
        return Answer(body=body, headers={"content-type": JSON})

    def _row(self, deal_id: str) -> bytes:
        body = self.records.served(deal_id) or b"null"
        if not self.switches.thin_rows and self.switches.words != "get":
            return body
        deal = decode(body)
        if self.switches.words == "get":
            deal = self.as_one(deal)
        return encode({key: value for key, value in deal.items() if not self.switches.thin_rows or key not in _THIN})

    def _filter(self, query: Mapping[str, str]) -> Filter:
        asked = {key: value for key, value in query.items() if key not in self.switches.ignored_params}
        times = {
            key: self._time(asked[key]) for key in ("created_after", "created_before", "updated_after") if key in asked
        }
        keys = tuple((_EQUALITIES[key], value) for key, value in sorted(asked.items()) if key in _EQUALITIES)
        if not times and not keys:
            return Filter()
        return Filter(
            **times, keys=keys, inclusive=self.switches.inclusive, null_is_updated=self.switches.null_is_updated
        )

    def _time(self, text: str) -> str | None:
        moment = instant(text)
        if moment is None and self.switches.bad_dates == "refuse":
            raise Rejected(400, "validation_error", "a date is not ISO 8601")
        return moment

    def _paged(self, query: Mapping[str, str], default: int, maximum: int) -> tuple[int, int]:
        page, per_page = _whole(query.get("page"), 1), _whole(query.get("per_page"), default)
        if per_page > maximum and self.switches.over_limit == "refuse":
            raise Rejected(400, "validation_error", f"per_page must not exceed {maximum}")
        return page, min(per_page, maximum)

    # -- the neighbours

    def _companies(self, request: Request) -> Answer:
        page, per_page = self._paged(request.query, 50, 100)
        rows = self.companies.page(Query(offset=(page - 1) * per_page, limit=per_page, sort="id"))
        meta = encode({"page": page, "per_page": per_page, "total": len(self.companies.ids())})
        body = b'{"data":{"companies":' + rows + b'},"meta":' + meta + b"}"
        return Answer(body=body, headers={"content-type": JSON})

    def _contacts(self, key: str, request: Request) -> Answer:
        contacts: list[Fields] = self.make.contacts
        if key:
            found = next((one for one in contacts if one["id"] == key), None)
            if found is None:
                raise Rejected(404, "not_found", "contact not found")
            return json_answer({"data": found})
        page, per_page = self._paged(request.query, 50, 100)
        meta = {"page": page, "per_page": per_page, "total": len(contacts)}
        return json_answer({"data": {"contacts": contacts[(page - 1) * per_page : page * per_page]}, "meta": meta})

    def _hook(self, index: int) -> Fields:
        hook = self.hooks[index]
        return {"id": hook.id, "url": "https://hooks.example/leadlex", "events": sorted(hook.events),
                "active": hook.sender.enabled, "last_delivery_status": None, "last_delivery_at": None}  # fmt: skip

    def _audit_logs(self, request: Request) -> Answer:
        if not self.switches.admin:
            raise Rejected(403, "insufficient_permissions", "an admin key is required")
        query = request.query
        page, per_page = self._paged(query, 50, 200)
        first, last = (
            self._time(query.get("from_date", "1970-01-01T00:00:00Z")),
            self._time(query.get("to_date", "2999-01-01T00:00:00Z")),
        )
        wanted = [
            entry for entry in reversed(self.audits)
            if all(entry[key] == query[key] for key in ("action", "resource_type") if key in query)
            and (first or "") <= (instant(entry["timestamp"]) or "") <= (last or "")
        ]  # fmt: skip
        meta = {"page": page, "per_page": per_page, "total": len(wanted)}
        rows = wanted[(page - 1) * per_page : page * per_page]
        return json_answer({"data": {"audit_logs": rows}, "meta": meta})

    def _export(self, request: Request) -> Answer:
        if "export" in self.switches.forbidden:
            raise Rejected(403, "insufficient_permissions", "the key may not export")
        query = request.query
        limit = _whole(query.get("limit"), _EXPORT_DEFAULT)
        columns = query["fields"].split(",") if query.get("fields") else list(COLUMNS)
        known = {*COLUMNS, *(EXTRA if self.switches.csv_extra_fields else ())}
        if limit > _EXPORT_MAX or not known.issuperset(columns):
            raise Rejected(400, "validation_error", "limit or fields are out of bounds")
        self._count_export()
        times = {key: query[key] for key in ("created_after", "created_before") if key in query}
        ids = self.index.ids(self._filter(times))[:limit]
        bodies = [body for one in ids if (body := self.records.served(one)) is not None]
        emails = {user["id"]: user["email"] for user in self.make.users}
        companies = {company["id"]: company["name"] for company in self.make.companies}
        body = exported(map(decode, bodies), self.switches, columns=columns, emails=emails, companies=companies)
        disposition = {"content-disposition": 'attachment; filename="deals-export.csv"'}
        return Answer(body=body, headers={"content-type": "text/csv; charset=utf-8", **disposition})

    def _count_export(self) -> None:
        while self._exports and self._exports[0] <= self.clock.now - timedelta(hours=1):
            self._exports.popleft()
        if len(self._exports) >= self.switches.exports_per_hour:
            raise Rejected(429, "rate_limited", "too many exports")
        self._exports.append(self.clock.now)


def _whole(text: str | None, default: int) -> int:
    """A parameter as a whole number from 1 on; anything else is refused."""
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise Rejected(400, "validation_error", "page and per_page are whole numbers from 1 on")
    return int(text)
