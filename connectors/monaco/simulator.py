"""The simulated Monaco API: lists, single reads, schemas and writes, served over a simulated organization."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

import msgspec

from connectors.monaco.simulated_lists import Asked, Rejected, Rule, asked, checked, keeps, schema
from connectors.monaco.simulated_switches import Switches
from connectors.monaco.simulated_tenant import STAGES
from connectors.monaco.simulated_writes import WriteApi
from connectors.simulated_records import Fields, Query, Records, decode, encode
from connectors.simulated_wire import Answer, Request, json_answer
from connectors.simulation import SimClock

TOKEN: Final = "mks_" + "s" * 48
"""The key that a simulator takes when none is given."""

GENERATIONS: Final = ("/v1/preview", "/v1")
_HOUR_S: Final = 3600
_ENTITIES: Final = ("opportunities", "accounts", "contacts")
_EITHER_FORM: Final = ("/opportunities",)
"""Printed with and without the slash in one and the same page."""

_SINGULAR: Final = {"opportunity": "opportunities", "account": "accounts"}


class MonacoSimulator(WriteApi):
    """A Monaco organization behind its API. The same seed and calls give the same bytes.

    `deals` opportunities exist at first; `clock`, `switches` and the stage keys may be given. `token` is the only key
    accepted, under either of the two headers. `before_list` is called before each page of opportunities is answered: a
    test changes the organization there, and rows move between pages.
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
        self.before_list: Callable[[Request], None] | None = None
        self.credentials: Mapping[str, str] = {"token": token}
        self.options: Mapping[str, Any] = {"amount_unit": self.switches.amount_unit}
        self._hour = (-1, 0)
        self._shuffles = Random(f"{seed}/ties")  # noqa: S311 - reproducible, not secret

    def spend(self, requests: int) -> None:
        """The customer's other integrations use up so many requests of the hour."""
        hour = int(self.clock.monotonic() // _HOUR_S)
        self._hour = (hour, requests + (self._hour[1] if hour == self._hour[0] else 0))

    def handle(self, request: Request) -> Answer:
        """The address, the key, the budget, then the route."""
        try:
            self._authenticate(request)
            self.spend(1)
            quota = self.switches.requests_per_hour
            if quota is not None and self._hour[1] > quota:
                return self._budgeted(json_answer({"detail": "Rate limit exceeded"}, 429), quota)
            moved = self._moved(request)
            return self._budgeted(moved or self._route(request), quota)
        except Rejected as no:
            return self._budgeted(self._refusal(no), self.switches.requests_per_hour)

    # -- before the route

    def _authenticate(self, request: Request) -> None:
        given = {request.headers.get("x-monaco-api-key"), _bearer(request.headers.get("authorization"))} - {None}
        if len(given) != 1 or not given <= {self.credentials["token"], *self.switches.other_keys}:
            raise Rejected(401, "No key found")

    def _budgeted(self, answer: Answer, quota: int | None) -> Answer:
        switches = self.switches
        if (
            quota is None
            or switches.rate_headers == "none"
            or (switches.rate_headers == "429" and answer.status != 429)
        ):
            return answer
        hour, used = self._hour
        left_s = (hour + 1) * _HOUR_S - self.clock.monotonic()
        resets = self.clock.now.timestamp() + left_s
        headers = {
            "X-RateLimit-Limit": str(quota),
            "X-RateLimit-Remaining": str(max(0, quota - used)),
            "X-RateLimit-Reset": str(int(resets * 1000) if switches.reset_in == "ms" else int(resets)),
        }
        if switches.retry_after and answer.status == 429:
            headers["Retry-After"] = str(int(left_s))
        return Answer(status=answer.status, body=answer.body, headers={**answer.headers, **headers})

    def _refusal(self, no: Rejected) -> Answer:
        if no.status == 422 and self.switches.details == "list":
            return json_answer({"detail": [{"loc": list(no.loc), "msg": no.message, "type": "value_error"}]}, 422)
        return json_answer({"detail": no.message}, no.status)

    def _moved(self, request: Request) -> Answer | None:
        """307 to the other generation's path, or to the other form of the slash."""
        given, rest = _generation(request.path)
        bare = rest.rstrip("/")
        wanted = given if self.switches.generation == "both" else self.switches.generation
        slashed = f"{bare}/" if self.switches.trailing_slash else rest if bare in _EITHER_FORM else bare
        if (given, rest) == (wanted, slashed):
            return None
        host = self.switches.redirect_host
        location = f"{'' if host is None else f'https://{host}'}{wanted}{slashed}"
        return Answer(status=307, headers={"location": location})

    # -- routes

    def _route(self, request: Request) -> Answer:
        _, rest = _generation(request.path)
        match [part for part in Request.to("GET", rest, {}).segments if part], request.method:
            case ["schemas", entity], "GET":
                return self._schema(entity)
            case [entity, "list"], "POST" if entity in _ENTITIES:
                return self._list(entity, request)
            case ["opportunities"], "POST":
                return self.create_one(request)
            case ["opportunities", deal_id], "GET":
                return self._one(deal_id)
            case ["opportunities", deal_id], "PATCH":
                return self.update_one(deal_id, request)
        raise Rejected(404, "Not Found")

    def _schema(self, name: str) -> Answer:
        entity = name if self.switches.schema == "plural" else _SINGULAR.get(name, "")
        if self.switches.schema == "none" or entity not in ("opportunities", "accounts"):
            raise Rejected(404, "Not Found")
        return json_answer({"data": schema(self, entity), "meta": self.meta()})

    def _one(self, deal_id: str) -> Answer:
        if self.switches.forbidden or deal_id in self.switches.hidden:
            raise Rejected(403, "You do not have access to this opportunity")
        body = self.records.served(deal_id)
        if body is None:
            prefix = "-" if self.switches.ids == "uuid" else "opp_"
            malformed = self.switches.malformed_ids and prefix not in deal_id
            raise Rejected(422 if malformed else 404, "Opportunity not found", "path", "opportunity_id")
        if self.switches.thin_get or self.unseen_keys():
            record: Fields = decode(body)
            dropped = self.switches.thin_get | self.unseen_keys()
            body = encode({key: value for key, value in record.items() if key not in dropped})
        return self.enveloped(body)

    def _list(self, entity: str, request: Request) -> Answer:
        if entity == "opportunities":
            if self.switches.forbidden:
                raise Rejected(403, "You do not have access to opportunities")
            if self.before_list is not None:
                self.before_list(request)
        what = checked(self, "opportunities" if entity == "opportunities" else "accounts", asked(request.body))
        size = min(what.page_size, self.switches.max_page_size)
        table = self.records if entity == "opportunities" else self.tables[entity]
        offset = (what.page - 1) * size
        if what.filters or self.switches.ties == "shuffled":
            rows, total = self._filtered(table, what)
            page = b"[" + b",".join(rows[offset : offset + size]) + b"]"
        else:
            query = self._query(what, offset, size)
            page, total = table.page(query), table.count(query)
        pages = max(-(-total // size), self.switches.pages_of_nothing)
        told = {"page": what.page, "page_size": size, "total_count": total, "total_pages": pages}
        return self.enveloped(page, pagination=told)

    def _query(self, what: Asked, offset: int, size: int) -> Query:
        end = self.switches.cut_short_at
        limit = size if end is None else max(0, min(size, end - offset))
        hidden, dropped = self.switches.hidden, self.unseen_keys()
        return Query(offset=offset, limit=limit, sort=what.sort, dropped=dropped, hidden=hidden)

    def _filtered(self, table: Records, what: Asked) -> tuple[list[bytes], int]:
        """The rows that meet the filters, in their order; rows served raw meet none but the empty filter."""
        sort, exclusive = what.sort.removeprefix("-"), self.switches.bound_is_exclusive
        rows = [row for row in self._candidates(table, what.filters) if row["id"] not in self.switches.hidden]
        rows = [row for row in rows if all(keeps(row, rule, exclusive=exclusive) for rule in what.filters)]
        if self.switches.ties == "shuffled":
            self._shuffles.shuffle(rows)
        rows.sort(key=lambda row: str(row.get(sort, "")), reverse=what.sort.startswith("-"))
        dropped = self.unseen_keys()
        return [encode({key: value for key, value in row.items() if key not in dropped}) for row in rows], len(rows)

    def _candidates(self, table: Records, rules: list[Rule]) -> list[Fields]:
        """The rows worth looking at: those changed lately where a rule asks for them, else all."""
        bound = next((str(rule.value) for rule in rules if rule.field == "updated_at" and rule.value), None)
        if bound is None:
            return list(table.readable())
        found: list[Fields] = []
        while True:
            page = table.page(Query(offset=len(found), limit=1000, sort="-updated_at"))
            rows: list[Fields] = [decode(bytes(raw)) for raw in _raws.decode(page)]
            found.extend(rows)
            if len(rows) < 1000 or str(rows[-1].get("updated_at", "")) < bound[:19]:
                return found


def _bearer(header: str | None) -> str | None:
    return None if header is None else header.removeprefix("Bearer ")


def _generation(path: str) -> tuple[str, str]:
    for prefix in GENERATIONS:
        if path.startswith(f"{prefix}/"):
            return prefix, path.removeprefix(prefix)
    raise Rejected(404, "Not Found")


_raws = msgspec.json.Decoder(list[msgspec.Raw])
