"""The simulated cPod API: tokens, deals and their neighbours, webhooks and logs, served over a simulated tenant."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from email.utils import format_datetime
from typing import Any, Final

from connectors.cpod.simulated_data import STAGES
from connectors.cpod.simulated_lists import Lister, Rows, Turned
from connectors.cpod.simulated_switches import Switches
from connectors.cpod.simulated_tenant import NEIGHBOURS
from connectors.cpod.simulated_tokens import CLIENT_ID, CLIENT_SECRET, Desk
from connectors.cpod.simulated_writes import WriteApi
from connectors.simulated_records import Fields, decode, encode
from connectors.simulated_wire import Answer, Request, bytes_answer, json_answer
from connectors.simulation import SimClock

_TOKEN: Final = ("api", "v1", "auth", "token")


class CpodSimulator(WriteApi):
    """A cPod tenant behind its API. The same seed and calls give the same bytes.

    `deals` deals exist at first; `clock`, `switches` and the stage words of the tenant may be given, the last two of
    which are won and lost.
    """

    credentials: Mapping[str, str] = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    options: Mapping[str, Any] = {}

    def __init__(
        self,
        seed: int = 0,
        deals: int = 200,
        clock: SimClock | None = None,
        *,
        switches: Switches | None = None,
        stages: tuple[str, ...] = STAGES,
    ) -> None:
        super().__init__(seed, deals, clock, switches=switches, stages=stages)
        self.desk = Desk(self.clock, self.switches, seed)
        self._lister = Lister(self.clock, self.switches)
        self._minute = (-1, 0)

    def handle(self, request: Request) -> Answer:
        """Token, then the right to ask, then the rate limit, then the route (section 2)."""
        try:
            if request.segments == ("health",):
                return json_answer({"status": "ok"})
            if request.segments == _TOKEN:
                return self._limited() or self._issue(request)
            if not self.desk.accepts(request):
                raise Turned(401, "the token is missing, wrong or expired")
            return self._limited() or self._route(request)
        except Turned as no:
            return self._error(no.status, no.message)
        except KeyError:
            return self._error(404, "not found")

    # -- before the route

    def _issue(self, request: Request) -> Answer:
        issued = self.desk.issue(request) if request.method == "POST" else None
        if issued is None:
            raise Turned(401, "invalid client")
        return json_answer(issued)

    def _limited(self) -> Answer | None:
        quota = self.switches.requests_per_minute
        if quota is None:
            return None
        now = self.clock.monotonic()
        minute, used = int(now // 60), self._minute[1]
        self._minute = (minute, used + 1 if minute == self._minute[0] else 1)
        if self._minute[1] <= quota:
            return None
        left_s = 60 - int(now % 60)
        back = self.clock.now + timedelta(seconds=left_s)
        headers = {
            "none": {},
            "retry-after": {"Retry-After": str(left_s)},
            "date": {
                "Retry-After": format_datetime(back, usegmt=True),
                "Date": format_datetime(self.clock.now, usegmt=True),
            },
            "x-ratelimit": {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(left_s)},
        }[self.switches.rate_headers]
        answer = self._error(429, "rate limited")
        return Answer(status=429, body=answer.body, headers={**answer.headers, **headers})

    def _error(self, status: int, message: str) -> Answer:
        match self.switches.errors:
            case "list":
                return json_answer({"detail": [{"loc": ["query"], "msg": message, "type": "value_error"}]}, status)
            case "error":
                return json_answer({"error": {"code": "E", "message": message}}, status)
            case "message":
                return json_answer({"message": message, "details": None}, status)
            case "text":
                return bytes_answer(message.encode(), status, "text/plain")
            case "html":
                return bytes_answer(b"<html><body>Something went wrong</body></html>", status, "text/html")
        return json_answer({"detail": message}, status)

    # -- routes

    def _route(self, request: Request) -> Answer:
        match request.segments:
            case ("api", "v1", "crm", "deals", *rest) if len(rest) < 2:
                return self._deals(rest[0] if rest else None, request)
            case ("api", "v1", "crm", table, *rest) if table in NEIGHBOURS and len(rest) < 2:
                return self._neighbour(table, rest[0] if rest else None, request)
            case ("api", "v1", "users", *rest) if self.switches.users_listed or rest:
                return self._people("users", rest, request)
            case ("api", "v1", "people", "persons", *rest):
                return self._people("persons", rest, request)
            case ("api", "v1", "integration", "webhooks", *rest) if len(rest) < 2:
                return self._webhooks(rest[0] if rest else None, request)
            case ("api", "v1", "audit-events", *rest) if len(rest) < 2:
                return self._audited(rest[0] if rest else None, request)
            case ("api", "v1", "events"):
                return json_answer({"data": self.hooks.events(request.query)})
        raise Turned(404, "not found")

    def _deals(self, deal_id: str | None, request: Request) -> Answer:
        if self.switches.forbidden:
            raise Turned(403, "no permission to read deals")
        match request.method, deal_id:
            case "GET", None:
                return self._list(request)
            case "GET", str():
                return self._one(deal_id)
            case "POST", None:
                return self.create_one(request)
            case "PATCH", str():
                return self.patch_one(deal_id, request)
            case "DELETE", str():
                return self.delete_one(deal_id)
        raise Turned(405, "method not allowed")

    def _list(self, request: Request) -> Answer:
        if self.before_list is not None:
            self.before_list(request)
        switches = self.switches
        narrowed = bool(switches.hidden or switches.own_records or switches.app_id is not None)
        settled = None if switches.late_commit_s else self.writes
        counts = None if narrowed or settled is None else (len(self.order) - len(self.gone), len(self.gone))
        rows = Rows(self.order, self.deals.served, self.visible if narrowed else None, settled, counts)
        return self._lister.answer("deals", request.query, rows)

    def _one(self, deal_id: str) -> Answer:
        body = self.deals.served(deal_id)
        if body is None or not self._may_see(deal_id):
            raise Turned(404, "deal not found")
        if self.get(deal_id)["is_deleted"] and self.switches.deleted_one == "404":
            raise Turned(404, "deal not found")
        return bytes_answer(b'{"data":%s}' % body if self.switches.wrapped_one else body)

    def _may_see(self, deal_id: str) -> bool:
        return self.visible(self.get(deal_id))

    def _neighbour(self, table: str, record_id: str | None, request: Request) -> Answer:
        records = self.tables[table]
        if request.method != "GET":
            raise Turned(405, "this simulator writes deals only")
        if record_id is None:
            return self._lister.answer(table, request.query, Rows(records.ids(), records.served, None, None))
        body = records.served(record_id)
        if body is None:
            raise Turned(404, "not found")
        return bytes_answer(body)

    def _people(self, name: str, rest: list[str], request: Request) -> Answer:
        by_id: dict[str, Fields] = {person["id"]: person for person in self.people[name]}
        if rest:
            return json_answer(by_id[rest[0]])
        served = {person_id: encode(person) for person_id, person in by_id.items()}
        return self._lister.answer(name, request.query, Rows(sorted(served), served.get, None, None))

    def _audited(self, sequence: str | None, request: Request) -> Answer:
        if not self.switches.audit_scope:
            raise Turned(403, "reading audit events needs an admin scope")
        if sequence is None:
            return json_answer({"data": self.hooks.audited(request.query), "total": len(self.hooks.audit)})
        return json_answer({str(entry["sequence_id"]): entry for entry in self.hooks.audit}[sequence])

    def _webhooks(self, hook_id: str | None, request: Request) -> Answer:
        registered, now = self.hooks.registered, self.clock.text()
        match request.method, hook_id:
            case "GET", None:
                return json_answer({"data": [hook.shown(now) for hook in registered.values()]})
            case "GET", str():
                return json_answer(registered[hook_id].shown(now))
            case "POST", None:
                return json_answer(self.hooks.add(decode(request.body)), 201)
            case "PATCH", str():
                hook = registered[hook_id]
                hook.record |= decode(request.body)
                if hook.record["enabled"] and hook.sender is not None:
                    hook.sender.enable()
                return json_answer(hook.shown(now))
            case "DELETE", str():
                del registered[hook_id]
                return bytes_answer(b"", 204)
        raise Turned(405, "method not allowed")
