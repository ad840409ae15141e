"""The ledger's HTTP service: the paths and shapes of contracts/openquota.md over the embedded ledger."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from deals.events import Event, EventType
from deals.identity import canonical
from ledger import documents
from ledger.admission import MAX_BODY, Refusal, admit, read_json
from ledger.clock import utc_now
from ledger.embedded import EmbeddedLedger
from ledger.gate import Gate, problem
from ledger.gathering import Gathering
from ledger.keys import ApiKey
from ledger.port import LedgerFault, Receipt
from ledger.schema import ready

_STATUSES = {"invalid_request": 400, "too_large": 413}
_CODES = {404: "not_found", 405: "method_not_allowed"}
_LARGEST_PAGE = 500
_FARTHEST = 2**53


class _Refused(Exception):
    def __init__(self, status: int, code: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason


class _Ledgers:
    """The ledger of each org, made when it is first asked for."""

    def __init__(self, engine: Engine, now: Callable[[], str]) -> None:
        self._engine, self._now = engine, now
        self._known: dict[str, tuple[EmbeddedLedger, Gathering]] = {}

    def of(self, org: str) -> tuple[EmbeddedLedger, Gathering]:
        if org not in self._known:
            ledger = EmbeddedLedger(self._engine, org=org, now=self._now)
            self._known[org] = ledger, Gathering(ledger)
        return self._known[org]


def create_app(
    engine: Engine,
    *,
    now: Callable[[], str] = utc_now,
    epoch: Callable[[], float] = time.time,
    conflict_status: Literal[200, 409] = 200,
) -> FastAPI:
    """The service as an ASGI application; the engine stays the caller's and must be migrated.

    `now` is the time of receipt, `epoch` the limiter's clock in seconds. `conflict_status` is what a repeated key with
    another payload is answered with; either way with the ids of its first acceptance.
    """
    app = FastAPI(title="dealsync ledger", version="v1", openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None)
    ledgers = _Ledgers(engine, now)
    _add_writing(app, ledgers, conflict_status)
    _add_reading(app, ledgers)
    _add_probes(app, engine)
    _add_errors(app)
    app.add_middleware(Gate, engine=engine, epoch=epoch)
    return app


def _needs(scope: str) -> Callable[[Request], ApiKey]:
    def check(request: Request) -> ApiKey:
        key: ApiKey = request.state.key
        if scope not in key.scopes:
            raise _Refused(403, "forbidden", f"missing scope: {scope}")
        return key

    return check


_BEARER = [Security(HTTPBearer(auto_error=False, description="A key made with `dealsync ledger keys create`."))]


def _add_writing(app: FastAPI, ledgers: _Ledgers, conflict_status: int) -> None:
    @app.post(
        "/v1/deals/events",
        status_code=201,
        dependencies=_BEARER,
        responses=documents.INGEST,
        openapi_extra=documents.INGEST_BODY,
        summary="Append an event of a deal",
    )
    async def ingest(request: Request, key: Annotated[ApiKey, Depends(_needs("deals:write"))]) -> Response:
        raw = await _body(request)
        event = _event(raw)
        answer = await ledgers.of(key.org)[1].append(event, raw)
        if not isinstance(answer, Receipt):
            raise LedgerFault(answer.message)
        ids: dict[str, Any] = {
            "source_event_id": answer.source_event_id,
            "domain_event_id": answer.domain_event_id,
            "deal_id": answer.deal_id,
        }
        if answer.conflict:
            shown = {"error": "conflict", **ids} if conflict_status == 409 else ids
            return _json(shown | {"conflict": True}, conflict_status)
        return _json(ids, 201 if answer.outcome == "appended" else 200)


def _add_reading(app: FastAPI, ledgers: _Ledgers) -> None:
    @app.get("/v1/deals", dependencies=_BEARER, responses=documents.LIST, summary="List deals, newest first")
    def list_deals(
        key: Annotated[ApiKey, Depends(_needs("deals:read"))],
        limit: Annotated[int, Query(ge=1, description="Above 500 it counts as 500.")] = 50,
        offset: Annotated[int | None, Query(ge=0, le=_FARTHEST)] = 0,
    ) -> Response:
        limit, offset = min(limit, _LARGEST_PAGE), offset or 0
        page = ledgers.of(key.org)[0].newest(limit, offset)
        return _json(
            {
                "deals": [
                    {
                        "id": deal.id,
                        "source": "api",
                        "external_id": deal.external_id,
                        "state": deal.state,
                        "last_event_at": deal.last_event_at,
                        "updated_at": deal.updated_at,
                    }
                    for deal in page
                ],
                "pagination": {
                    "limit": limit,
                    "offset": offset,
                    "next_offset": offset + limit if len(page) == limit else None,
                },
            }
        )

    @app.get("/v1", include_in_schema=False)
    @app.get("/v1/", dependencies=_BEARER, responses=documents.INTROSPECT, summary="Who this key is, and what it may")
    def introspect(request: Request) -> Response:
        key: ApiKey = request.state.key
        return _json(
            {
                "api_version": "v1",
                "authenticated_as": {"key_id": key.key_id, "key_prefix": key.prefix, "scopes": list(key.scopes)},
                "endpoints": ["GET  /v1/deals", "POST /v1/deals/events"],
            }
        )


def _add_probes(app: FastAPI, engine: Engine) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return _json({"alive": True})

    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        try:
            well = await run_in_threadpool(ready, engine)
        except Exception:
            well = False
        return _json({"ready": well}, 200 if well else 503)


def _add_errors(app: FastAPI) -> None:
    Handler = Callable[[Request, Exception], Awaitable[Response]]

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, _Refused)
        return _envelope(error.status, error.code, error.reason)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return _envelope(400, "invalid_request", f"{first['loc'][-1]}: {first['msg']}")

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _envelope(error.status_code, _CODES.get(error.status_code, "invalid_request"), None)

    async def unavailable(_: Request, __: Exception) -> Response:
        answer = _envelope(503, "unavailable", "send the same event again, under the same key")
        answer.headers["Retry-After"] = "1"
        return answer

    handlers: dict[type[Exception], Handler] = {
        _Refused: refused,
        RequestValidationError: invalid,
        HTTPException: http,
        LedgerFault: unavailable,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


async def _body(request: Request) -> bytes:
    """The request's body, read no further than the ledger would take it."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise _Refused(415, "unsupported_media_type", "send Content-Type: application/json")
    parts, size = [], 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY:
            raise _Refused(413, "too_large", f"the body has more than {MAX_BODY} bytes")
    return b"".join(parts)


def _event(raw: bytes) -> Event:
    """The event a body speaks of, admitted (contracts/openquota.md section 3); without a key it gets one of ours."""
    try:
        fields = read_json(raw, "the body")
        if type(fields) is not dict:
            raise Refusal("the body: an object is expected")
        external_id = _text(fields, "external_id")
        if type(fields.get("state")) is not dict:
            raise Refusal("state: an object is expected")
        kind = _text(fields, "event_type") if "event_type" in fields else EventType.UPSERT.value
        key = _text(fields, "dedup_key") if fields.get("dedup_key") is not None else _own_key(external_id)
        event = Event(external_id, kind, key, canonical(fields["state"]))
        admit(event, raw)
    except Refusal as refusal:
        raise _Refused(_STATUSES[refusal.reason], refusal.reason, str(refusal)) from None
    return event


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise Refusal(f"{name}: a text is expected")
    return value


def _own_key(external_id: str) -> str:
    """A key from the external id and the time: a retry is then a new event, as the contract says."""
    return f"auto:{hashlib.sha256(external_id.encode()).hexdigest()[:32]}:{time.time_ns()}"


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(canonical(value), status, media_type="application/json")


def _envelope(status: int, code: str, reason: str | None) -> Response:
    more = {} if reason is None else {"reason": reason}
    return Response(problem(code, **more), status, media_type="application/json")
