"""The simulated Planhat API: `/deals`, `/opportunities` and their neighbours, served over a simulated tenant."""

from __future__ import annotations

import base64
from typing import Any, Final

from connectors.planhat.simulated_switches import Switches
from connectors.planhat.simulated_tenant import STAGES
from connectors.planhat.simulated_writes import Rejected, WriteApi, find
from connectors.simulated_records import Query, Records, decode
from connectors.simulated_wire import Answer, Request, bytes_answer, json_answer
from connectors.simulation import SimClock

TOKEN: Final = "sandbox"  # noqa: S105 - opens simulated doors only
"""The token that a simulator takes when none is given."""

_PARAMS: Final = frozenset({"limit", "offset", "sort", "select", "companyId"})
_LIMITS: Final = {
    "users": (10_000, 10_000),
    "companies": (100, 5_000),
    "endusers": (100, 2_000),
    "customfields": (100, 2_000),
    "lineitems": (100, 2_000),
}
"""Default and maximum `limit` of the neighbours (contract section 4)."""

_LEAN: Final = ("_id", "name", "externalId", "sourceId")


class PlanhatSimulator(WriteApi):
    """A Planhat tenant behind its API. The same seed and calls give the same bytes.

    `deals` records exist at first; `clock`, `switches` and the stage words of the tenant may be given. `token` is the
    only one accepted, as bearer or basic. `before_list` is called before each page of deals is answered: a test
    changes the tenant there, and rows move between pages.
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
        basic = base64.b64encode(f"{token}:".encode()).decode()
        self._accepted = frozenset({f"Bearer {token}", f"Basic {basic}"})
        self._minute = (-1, 0)

    def handle(self, request: Request) -> Answer:
        """Address and token first, then the quota, then the route."""
        try:
            self._authenticate(request)
            limited = self._limited()
            return limited or self._route(request)
        except Rejected as no:
            return self._error(no.status, no.message)

    # -- before the route

    def _authenticate(self, request: Request) -> None:
        """A token that another cluster would take is simply unknown here: the two cannot be told apart."""
        elsewhere = self.switches.host not in (None, request.host)
        if elsewhere or request.headers.get("authorization") not in self._accepted:
            raise Rejected(401, "Unauthorized")

    def _limited(self) -> Answer | None:
        quota = self.switches.requests_per_minute
        if quota is None:
            return None
        minute, used = int(self.clock.monotonic() // 60), self._minute[1]
        self._minute = (minute, used + 1 if minute == self._minute[0] else 1)
        if self._minute[1] <= quota:
            return None
        left_s = 60 - int(self.clock.monotonic() % 60)
        headers = {
            "none": {},
            "x-rate-limit": {"X-Rate-Limit-Limit": str(quota), "X-Rate-Limit-Remaining": "0"},
            "retry-after": {"Retry-After": str(left_s)},
        }[self.switches.rate_headers]
        answer = self._error(429, "Too many requests")
        return Answer(status=429, body=answer.body, headers={**answer.headers, **headers})

    def _error(self, status: int, message: str) -> Answer:
        if self.switches.string_errors:
            return bytes_answer(message.encode(), status, "text/plain; charset=utf-8")
        return json_answer({"error": message}, status)

    # -- routes

    def _route(self, request: Request) -> Answer:
        resource, *rest = request.segments
        key = rest[0] if rest else ""
        known = resource in ("deals", "opportunities", "leancompanies") or resource in self.tables
        if not known or len(rest) > 1 or (rest == [""] and not self.switches.empty_id_falls_through):
            raise Rejected(404, "Cannot find this route")
        if resource in ("deals", "opportunities"):
            return self._pipeline(resource, key, request)
        if request.method != "GET":
            raise Rejected(403, "this simulator writes pipeline objects only")
        if resource == "leancompanies":
            return self._lean_companies(request)
        return self._neighbour(resource, key, request)

    def _pipeline(self, resource: str, key: str, request: Request) -> Answer:
        absent = self.switches.no_deal_model if resource == "deals" else None
        if absent is None and resource != self.model.path:
            absent = "404" if resource == "deals" else "empty"
        if absent is not None:
            return self._no_such_model(absent, key, request)
        if request.method == "GET":
            return self._read(key, request)
        answer = self._write(key, request)
        if self.switches.write_504 and answer.status < 400:
            return bytes_answer(b"<html><body>504 Gateway Time-out</body></html>", 504, "text/html")
        return answer

    def _no_such_model(self, absent: str, key: str, request: Request) -> Answer:
        if absent == "empty" and request.method == "GET":
            return self._not_found() if key else json_answer([])
        raise Rejected(403 if absent == "403" else 404, "This model is not available")

    def _read(self, key: str, request: Request) -> Answer:
        if self.switches.forbidden:
            raise Rejected(403, f"no permission to read {self.model.parent}")
        if not key:
            if self.before_list is not None:
                self.before_list(request)
            return bytes_answer(self.records.page(self._query(request)))
        record_id = find(self.records, key)
        if record_id in self.switches.hidden:
            raise Rejected(403, f"no permission to read this {self.model.parent}")
        body = None if record_id is None else self.records.served(record_id)
        return self._not_found() if body is None else bytes_answer(body)

    def _not_found(self) -> Answer:
        if self.switches.not_found in ("null", "{}"):
            return bytes_answer(self.switches.not_found.encode())
        raise Rejected(int(self.switches.not_found), f"{self.model.parent} not found")

    def _write(self, key: str, request: Request) -> Answer:
        match request.method, bool(key):
            case "POST", False:
                return self.create_one(request)
            case "PUT", True:
                return self.update_one(key, request)
            case "PUT", False:
                return self.upsert_many(request)
            case "DELETE", True:
                return self.delete_one(key)
        raise Rejected(404, "Cannot find this route")

    def _query(self, request: Request) -> Query:
        switches, model = self.switches, self.model
        if switches.refuse_unknown_params and (unknown := request.query.keys() - _PARAMS):
            raise Rejected(400, f"unknown parameter {min(unknown)}")
        params = {key: value for key, value in request.query.items() if key not in switches.ignored_params}
        limit = _whole(params.get("limit")) or switches.default_limit
        if limit > switches.max_limit and switches.over_limit == "refuse":
            raise Rejected(400, f"limit must not exceed {switches.max_limit}")
        keys = frozenset(params.get("select", "").split(",")) - {""} or None
        thin = switches.thin_rows == "always" or (switches.thin_rows == "unselected" and keys is None)
        companies = params.get("companyId")
        return Query(
            offset=_whole(params.get("offset")),
            limit=min(limit, switches.max_limit),
            sort=_sort(params, model.keys),
            keys=None if keys is None else keys | {"_id"},
            dropped=model.thin_row if thin else frozenset(),
            where=("companyId", frozenset(companies.split(","))) if companies else None,
            hidden=switches.hidden,
        )

    # -- the neighbours

    def _neighbour(self, resource: str, key: str, request: Request) -> Answer:
        table = self.tables[resource]
        if key:
            return self._one_of(table, key)
        default, maximum = _LIMITS[resource]
        hidden: frozenset[str] = frozenset()
        if resource == "endusers":
            wanted = {name: request.query[name] for name in ("companyId", "email") if name in request.query}
            hidden = frozenset(
                row["_id"]
                for row in table.readable()
                if row["archived"] or any(row.get(name) not in value.split(",") for name, value in wanted.items())
            )
        query = Query(
            offset=_whole(request.query.get("offset")),
            limit=min(_whole(request.query.get("limit")) or default, maximum),
            sort=_sort(request.query, None),
            hidden=hidden,
        )
        return bytes_answer(table.page(query))

    def _one_of(self, table: Records, key: str) -> Answer:
        record_id = find(table, key)
        body = None if record_id is None else table.served(record_id)
        if body is None:
            return self._not_found()
        record: dict[str, Any] = decode(body)
        if isinstance(record.get("owner"), dict):
            record["owner"] = record["owner"]["_id"]  # an object in the list, an id here
        return json_answer(record)

    def _lean_companies(self, request: Request) -> Answer:
        wanted = {name: request.query[name] for name in ("externalId", "sourceId", "status") if name in request.query}
        rows = self.tables["companies"].readable()
        return json_answer(
            [
                {name: row[name] for name in _LEAN if name in row}
                for row in rows
                if all(row.get(name) == value for name, value in wanted.items())
            ]
        )


def _whole(text: str | None) -> int:
    """A parameter as a whole number; what is none counts as not given."""
    return int(text) if text is not None and text.isascii() and text.isdigit() else 0


def _sort(params: Any, keys: frozenset[str] | None) -> str | None:
    """The sort key, if it is one: names are case-sensitive and unknown ones are ignored."""
    sort: str | None = params.get("sort")
    return sort if sort and (keys is None or sort.removeprefix("-") in keys) else None
