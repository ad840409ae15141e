"""Sandbox control: a small HTTP API in which one plays the people who work in the simulated CRMs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import Any, TypeAlias

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from connectors.simulated_crm import SimulatedCrm
from connectors.simulated_sender import Outgoing
from connectors.times import duration

_MOST = 1000
_PATIENCE_S = 10.0
_encode = msgspec.json.Encoder(decimal_format="number").encode

Body: TypeAlias = dict[str, Any]
Verb: TypeAlias = Callable[[Any, str, Body], Body | None]


class Wrong(Exception):
    """The request cannot be carried out; `status` and the message say why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def control(tenants: Mapping[str, Any]) -> Starlette:
    """The ASGI application over these tenants, by source.

    `GET /` every tenant: stages, number of deals, clock · `GET /{source}/deals?limit=&after=` deals as a get-one shows
    them · `POST /{source}/deals` `{"amount", "stage"}` · `PATCH` and `DELETE /{source}/deals/{id}` ·
    `POST /{source}/deals/{id}/touch|spoil|restore` · `POST /{source}/clock` `{"advance": "2h"}` ·
    `POST /{source}/webhooks` `{"url"}`, answered with the secret that signs. Errors are `{"error"}`.
    """

    def answering(verb: Verb, status: int = 200) -> Callable[[Request], Any]:
        async def endpoint(request: Request) -> Response:
            try:
                body = _body(await request.body())
                tenant = _tenant(tenants, request.path_params["source"])
                body |= {key: value for key, value in request.query_params.items() if key not in body}
                answer = await run_in_threadpool(_carried_out, verb, tenant, request.path_params.get("id", ""), body)
            except Wrong as wrong:
                return _said({"error": str(wrong)}, wrong.status)
            return _said(answer or {"ok": True}, status)

        return endpoint

    async def overview(_: Request) -> Response:
        return _said({"sources": {name: _shown(tenant) for name, tenant in tenants.items()}}, 200)

    one = "/{source}/deals/{id}"
    return Starlette(
        routes=[
            Route("/", overview),
            Route("/{source}/deals", answering(_list)),
            Route("/{source}/deals", answering(_new, 201), methods=["POST"]),
            Route(one, answering(_change), methods=["PATCH"]),
            Route(one, answering(lambda crm, deal, _: crm.delete(deal)), methods=["DELETE"]),
            Route(f"{one}/touch", answering(lambda crm, deal, _: crm.touch(deal)), methods=["POST"]),
            Route(f"{one}/spoil", answering(lambda crm, deal, _: crm.spoil(deal)), methods=["POST"]),
            Route(f"{one}/restore", answering(lambda crm, deal, _: crm.restore(deal)), methods=["POST"]),
            Route("/{source}/clock", answering(_clock), methods=["POST"]),
            Route("/{source}/webhooks", answering(_webhook, 201), methods=["POST"]),
        ]
    )


def _carried_out(verb: Verb, tenant: Any, deal: str, body: Body) -> Body | None:
    try:
        return verb(tenant, deal, body)
    except KeyError:
        raise Wrong(404, f"there is no deal {deal[:80]!r} that this could be done to") from None
    except NotImplementedError:
        raise Wrong(409, "this vendor has no such thing") from None


def _tenant(tenants: Mapping[str, Any], name: str) -> Any:
    if name not in tenants:
        raise Wrong(404, f"there is no source {name[:80]!r}; there are {', '.join(tenants)}")
    return tenants[name]


def _shown(tenant: SimulatedCrm) -> Body:
    return {"stages": tenant.stages, "deals": len(tenant.ids()), "now": tenant.clock.text()}


def _list(tenant: Any, _: str, body: Body) -> Body:
    """Deals in the order of the tenant's own list, those beyond `after` where it is given."""
    limit = str(body.get("limit", 100))
    if not (limit.isdecimal() and 0 < int(limit) <= _MOST):
        raise Wrong(400, f"limit must be a whole number from 1 to {_MOST}")
    after = body.get("after")
    with tenant.exclusive():
        ids = set(tenant.ids())
        rows = iter(tenant.truth())
        if after is not None and after not in ids:
            raise Wrong(404, f"there is no deal {str(after)[:80]!r} to go on after")
        while after is not None and after not in _texts(next(rows)):
            continue
        return {"deals": list(islice(rows, int(limit)))}


def _texts(record: Body) -> list[str]:
    return [str(value) for value in record.values() if isinstance(value, str | int)]


def _new(tenant: Any, _: str, body: Body) -> Body:
    _only(body, {"amount", "stage"})
    return {"id": tenant.new_deal(amount=_amount(body.get("amount")), stage=_stage(tenant, body, tenant.stages[0]))}


def _change(tenant: Any, deal: str, body: Body) -> None:
    _only(body, {"amount", "stage"})
    if not body:
        raise Wrong(400, 'nothing to change: give "amount", "stage" or both')
    if deal not in tenant.ids():
        raise KeyError(deal)
    if "amount" in body:
        tenant.set_amount(deal, _amount(body["amount"]))
    if "stage" in body:
        tenant.set_stage(deal, _stage(tenant, body, ""))


def _clock(tenant: Any, _: str, body: Body) -> Body:
    _only(body, {"advance"})
    try:
        tenant.clock.advance(duration(str(body.get("advance", ""))))
    except ValueError as error:
        raise Wrong(400, str(error)) from None
    return {"now": tenant.clock.text()}


def _webhook(tenant: Any, _: str, body: Body) -> Body:
    _only(body, {"url"})
    url = str(body.get("url", ""))
    if not url.startswith(("http://", "https://")):
        raise Wrong(400, '"url" must be the receiver\'s, such as http://127.0.0.1:8700/webhooks/planhat')

    def post(delivery: Outgoing) -> int:
        headers = {"content-type": "application/json", **delivery.headers}
        sent = httpx.post(url, content=delivery.body, headers=headers, timeout=_PATIENCE_S, trust_env=False)
        return sent.status_code

    tenant.notify(post)
    return {"url": url, "secret": tenant.webhook_secret, "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _stage(tenant: Any, body: Body, default: str) -> str:
    stage = body.get("stage", default)
    if not isinstance(stage, str) or not stage:
        raise Wrong(400, f'"stage" must be text, one of the tenant\'s being {", ".join(tenant.stages)}')
    return stage


def _amount(value: Any) -> Decimal | None:
    if value is None:
        return None
    try:
        amount = Decimal(str(value)) if not isinstance(value, bool) else Decimal("NaN")
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite():
        raise Wrong(400, '"amount" must be a number, a number as text, or null')
    return amount


def _only(body: Body, known: set[str]) -> None:
    if unknown := body.keys() - known:
        raise Wrong(400, f"unknown key {min(unknown)[:80]!r}; known are {', '.join(sorted(known))}")


def _body(data: bytes) -> Body:
    try:
        said = json.loads(data, parse_float=Decimal) if data.strip() else {}
    except (ValueError, RecursionError):
        raise Wrong(400, "the body is not JSON") from None
    if not isinstance(said, dict):
        raise Wrong(400, "the body must be a JSON object")
    return said


def _said(answer: Body, status: int) -> Response:
    return Response(_encode(answer), status, media_type="application/json")
