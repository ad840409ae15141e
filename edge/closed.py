"""Closed: what stands in the place of the API and the pages where nobody is named who may use them."""

from __future__ import annotations

from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from edge.encoding import encoded
from edge.telling import plainly

WHY = (
    "the pages and the operations API are closed: name who may use them in [serve] api_tokens of the configuration, "
    'like api_tokens = [{ env = "OPERATOR_TOKEN", name = "ann" }]'
)


def refusal(status: int, message: str, *, for_machines: bool) -> Response:
    """An answer to a request that is not looked at any further: in the envelope for machines, a line for people."""
    told = plainly(status, message)
    answer: Response = PlainTextResponse(f"{message}\n", status, told.headers)
    if for_machines:
        answer = Response(encoded(told.as_json()), status, told.headers, "application/json")
    answer.headers.update({"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"})
    return answer


async def closed(scope: Scope, receive: Receive, send: Send) -> None:
    """Nobody gets anything, on loopback neither: any page in a browser on this machine could ask there."""
    await refusal(403, WHY, for_machines=is_for_machines(scope))(scope, receive, send)


def is_for_machines(scope: Scope) -> bool:
    """Whether a request is for the API, and not for a page."""
    return str(scope["path"]).startswith("/api/")
