"""The ledger's HTTP service: the paths and shapes of contracts/openquota.md over the embedded ledger.

Beyond the contract, and told as `capabilities` by `GET /v1/`: batches of events, and the history of a deal.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Path, Query, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import Engine
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from deals.identity import canonical
from ledger import documents
from ledger.answering import Answering
from ledger.away import Away
from ledger.beside import Beside
from ledger.book import Book
from ledger.choices import CONTRACT, MAX_WAITING, Choices
from ledger.clock import utc_now
from ledger.counting import Counting
from ledger.door import Door, problem
from ledger.embedded import EmbeddedLedger
from ledger.gate import Gate
from ledger.intake import Intake
from ledger.keys import ApiKey
from ledger.port import LedgerFault, LedgerUnavailable
from ledger.posting import Posting
from ledger.schema import ready

_CODES = {404: "not_found", 405: "method_not_allowed"}
_LARGEST_PAGE = 500
_FARTHEST = 2**53
_READY_WITHIN_S = 2.0  # before whoever asks gives up: then it would not know why


class _Refused(Exception):
    def __init__(self, status: int, code: str, reason: str | None) -> None:
        super().__init__(reason)
        self.status, self.code, self.reason = status, code, reason


class _Ledgers:
    """The ledger of each org, made when it is first asked for."""

    def __init__(self, engine: Engine, now: Callable[[], str], choices: Choices) -> None:
        self._engine, self._now, self._choices = engine, now, choices
        self._known: dict[str, EmbeddedLedger] = {}

    def of(self, org: str) -> EmbeddedLedger:
        if org not in self._known:
            self._known[org] = EmbeddedLedger(self._engine, org=org, now=self._now, choices=self._choices)
        return self._known[org]


def create_app(
    engine: Engine,
    *,
    now: Callable[[], str] = utc_now,
    epoch: Callable[[], float] = time.time,
    choices: Choices = CONTRACT,
    max_waiting: int = MAX_WAITING,
) -> ASGIApp:
    """The service as an ASGI application; the engine stays the caller's and must be migrated.

    `now` is the time of receipt, `epoch` the limiter's clock in seconds. So many requests that bring events may wait
    for the database; more of them are told to come back.
    """
    app = FastAPI(title="dealsync ledger", version="v1", openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None)
    ledgers, counting, door, beside = (
        _Ledgers(engine, now, choices),
        Counting(),
        Door(engine, epoch),
        Beside(LedgerUnavailable),
    )
    away = Away(counting, random=Random())  # noqa: S311 - no secret; no two services may send their clients back alike
    intake = Intake(engine, door, ledgers.of, Answering(choices, counting), away, max_waiting)
    counting.watch(events=lambda: intake.waiting, oldest_s=lambda: intake.longest_s, questions=lambda: beside.waiting)
    _add_lists(app, ledgers, choices, beside)
    _add_history(app, ledgers, beside)
    _add_introspection(app)
    _add_readiness(app, engine, intake, beside)
    _add_probes(app, counting)
    _add_errors(app, away)
    _describe(app)
    book = Book(engine, counting, now, beside)
    app.add_middleware(Gate, door=door, book=book, beside=beside, away=away)
    return Posting(app, intake=intake, book=book)


def _describe(app: FastAPI) -> None:
    """The document names the paths that never reach a route beside those of the routes."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(title=app.title, version=app.version, routes=app.routes)
            app.openapi_schema = documents.with_posts(found)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way to extend the document


def _needs(scope: str) -> Callable[[Request], Awaitable[ApiKey]]:
    async def check(request: Request) -> ApiKey:
        key: ApiKey = request.state.key
        if scope not in key.scopes:
            raise _Refused(403, "forbidden", f"missing scope: {scope}")
        return key

    return check


_BEARER = [Security(HTTPBearer(auto_error=False, description="A key made with `dealsync ledger keys create`."))]


def _add_lists(app: FastAPI, ledgers: _Ledgers, choices: Choices, beside: Beside) -> None:
    @app.get("/v1/deals", dependencies=_BEARER, responses=documents.LIST, summary="List deals, newest first")
    async def list_deals(
        key: Annotated[ApiKey, Depends(_needs("deals:read"))],
        limit: Annotated[int, Query(ge=1, description="At most 500.")] = 50,
        offset: Annotated[int | None, Query(ge=0, le=_FARTHEST)] = 0,
    ) -> Response:
        if limit > _LARGEST_PAGE and choices.limit_over_max == "400":
            raise _Refused(400, "invalid_request", f"limit: at most {_LARGEST_PAGE}")
        return await beside.ask(partial(_list, ledgers.of(key.org), min(limit, _LARGEST_PAGE), offset or 0))


def _list(ledger: EmbeddedLedger, limit: int, offset: int) -> Response:
    page = ledger.newest(limit, offset)
    shown = [
        {
            "id": deal.id,
            "source": "api",
            "external_id": deal.external_id,
            "state": deal.state,
            "last_event_at": deal.last_event_at,
            "updated_at": deal.updated_at,
        }
        for deal in page
    ]
    following = offset + limit if len(page) == limit else None
    return _json({"deals": shown, "pagination": {"limit": limit, "offset": offset, "next_offset": following}})


def _add_history(app: FastAPI, ledgers: _Ledgers, beside: Beside) -> None:
    @app.get(
        "/v1/deals/{external_id:path}/events",
        dependencies=_BEARER,
        responses=documents.HISTORY,
        summary="The events of a deal, in their order",
    )
    async def history(
        key: Annotated[ApiKey, Depends(_needs("deals:read"))],
        external_id: Annotated[str, Path(min_length=1)],
        limit: Annotated[int, Query(ge=1, le=_LARGEST_PAGE)] = 50,
        after: Annotated[int, Query(ge=0, le=_FARTHEST, description="The `sequence` of the last one seen.")] = 0,
    ) -> Response:
        return await beside.ask(partial(_tell, ledgers.of(key.org), external_id, limit, after))


def _tell(ledger: EmbeddedLedger, external_id: str, limit: int, after: int) -> Response:
    page = ledger.history(external_id, limit, after)
    if not page and not after:
        raise _Refused(404, "not_found", "no event of this deal was ever taken")
    shown = [{name: getattr(event, name) for name in event.__slots__} for event in page]
    following = page[-1].sequence if len(page) == limit else None
    return _json({"events": shown, "pagination": {"limit": limit, "after": after, "next_after": following}})


def _add_introspection(app: FastAPI) -> None:
    @app.get("/v1", include_in_schema=False)
    @app.get("/v1/", dependencies=_BEARER, responses=documents.INTROSPECT, summary="Who this key is, and what it may")
    async def introspect(request: Request) -> Response:
        key: ApiKey = request.state.key
        return _json(
            {
                "api_version": "v1",
                "authenticated_as": {"key_id": key.key_id, "key_prefix": key.prefix, "scopes": list(key.scopes)},
                "endpoints": [
                    "GET  /v1/deals",
                    "GET  /v1/deals/{external_id}/events",
                    "POST /v1/deals/events",
                    "POST /v1/deals/events/batch",
                ],
                "capabilities": ["batch", "history"],
            }
        )


def _add_readiness(app: FastAPI, engine: Engine, intake: Intake, beside: Beside) -> None:
    @app.get("/readyz", include_in_schema=False)
    async def readyz() -> Response:
        try:
            well = not intake.hangs() and await beside.ask(partial(ready, engine), _READY_WITHIN_S)
        except Exception:
            well = False
        return _json({"ready": well}, 200 if well else 503)


def _add_probes(app: FastAPI, counting: Counting) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        return _json({"alive": True})

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(counting.text(), media_type=CONTENT_TYPE_LATEST)


def _add_errors(app: FastAPI, away: Away) -> None:
    Handler = Callable[[Request, Exception], Awaitable[Response]]

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, _Refused)
        return _envelope(error.status, error.code, error.reason)

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return _envelope(400, "invalid_request", _first(error.errors()))

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _envelope(error.status_code, _CODES.get(error.status_code, "invalid_request"), None, error.headers)

    async def unavailable(_: Request, __: Exception) -> Response:
        reply = away.reply("failed")
        headers = {name.decode(): value.decode() for name, value in reply.headers}
        return Response(reply.body, reply.status, headers=headers, media_type="application/json")

    handlers: dict[type[Exception], Handler] = {
        _Refused: refused,
        RequestValidationError: invalid,
        HTTPException: http,
        LedgerFault: unavailable,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _first(errors: Sequence[Any]) -> str:
    return f"{errors[0]['loc'][-1]}: {errors[0]['msg']}"


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(canonical(value), status, media_type="application/json")


def _envelope(status: int, code: str, reason: str | None, headers: Any = None) -> Response:
    body = problem(status, code).body if reason is None else problem(status, code, reason=reason).body
    return Response(body, status, headers=headers, media_type="application/json")
