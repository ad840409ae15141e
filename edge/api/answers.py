"""Answers: documents as the command line prints them, the next page of a list, and every fault in one envelope."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import StreamingResponse

from connectors.faults import Fault
from edge.encoding import encoded
from edge.telling import Told, plainly, telling_of
from ledger.port import LedgerFault
from mappings.language import MappingError
from pipeline.faults import PipelineFault

JSON = "application/json"
_TOGETHER = 200


def document(value: Mapping[str, Any], status: int = 200) -> Response:
    """One JSON document."""
    return Response(encoded(value), status, media_type=JSON)


def page(request: Request, key: str, rows: Sequence[Mapping[str, Any]], place: tuple[str, str]) -> Response:
    """A page of a list as `{key: [rows]}`. Where it is full, `Link` names the one that follows.

    `place` is the parameter that says where a page begins, and the field of a row that it takes.
    """
    answer = document({key: rows})
    if rows and len(rows) == int(request.query_params.get("limit", DEFAULT_LIMIT)):
        parameter, field = place
        others = [(name, value) for name, value in request.query_params.multi_items() if name != parameter]
        following = urlencode([*others, (parameter, rows[-1][field])])
        answer.headers["Link"] = f'<{request.url.path}?{following}>; rel="next"'
    return answer


DEFAULT_LIMIT, LARGEST_LIMIT = 100, 1000
"""Rows of a page where nobody says how many, and at most."""


def stream(head: Mapping[str, Any], key: str, rows: Iterator[Mapping[str, Any]]) -> Response:
    """`{**head, key: [rows]}`, sent while the rows are read. A fault before the first of them is still told."""
    first = list(islice(rows, _TOGETHER))
    return StreamingResponse(_parts(head, key, first, rows), media_type=JSON)


def _parts(
    head: Mapping[str, Any], key: str, some: list[Mapping[str, Any]], rows: Iterator[Mapping[str, Any]]
) -> Iterator[bytes]:
    lead = encoded(head).removesuffix(b"}") + b"," + encoded(key) + b":["
    while some:
        yield lead + b",".join(map(encoded, some))
        lead, some = b",", list(islice(rows, _TOGETHER))
    yield b"]}" if lead == b"," else lead + b"]}"


def envelope(told: Told) -> Response:
    """A fault as JSON."""
    return Response(encoded(told.as_json()), told.status, told.headers, JSON)


def add_faults(api: FastAPI) -> None:
    """Have whatever an endpoint raises told in the envelope: never a traceback, never what was sent to us."""
    Handler = Callable[[Request, Exception], Awaitable[Response]]

    async def fault(request: Request, error: Exception) -> Response:
        return envelope(telling_of(error, acting=request.method == "POST"))

    async def invalid(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        messages = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return envelope(Told(422, plainly(422, "").code, messages))

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = envelope(plainly(error.status_code, str(error.detail)))
        answer.headers.update(error.headers or {})
        return answer

    handlers: dict[type[Exception], Handler] = {RequestValidationError: invalid, HTTPException: refused}
    handlers |= dict.fromkeys((PipelineFault, Fault, LedgerFault, MappingError, Exception), fault)
    for kind, handler in handlers.items():
        api.add_exception_handler(kind, handler)
