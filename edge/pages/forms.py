"""Forms: what a page asks with, and what a form brings; nothing is done for one that no page of ours has sent."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from edge.access import Session, proven
from pipeline.audit import Operator
from pipeline.wiring import App

Form: TypeAlias = Mapping[str, str]
_MOST_FIELDS = 50
_LARGEST_ID = 2**53


def acting(handler: Callable[[Request, Form], Response]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """An endpoint for a form that does something: it must carry the session's own proof."""

    async def endpoint(request: Request) -> Response:
        form = await read(request)
        if not proven(signed_in(request), form.get("proof", "")):
            raise HTTPException(403, "this form is older than your session: go back, load the page again, and repeat")
        return await run_in_threadpool(handler, request, form)

    return endpoint


async def read(request: Request) -> Form:
    """The fields of a form, each once. Raises `HTTPException` for what no browser sends from a form of ours."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415, "send a form")
    try:
        return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError:
        raise HTTPException(422, "the form cannot be read") from None


def opened(request: Request) -> App:
    """The store and the ledger."""
    app: App = request.app.state.opened
    return app


def signed_in(request: Request) -> Session:
    """Whose page it is."""
    session: Session = request.state.session
    return session


def operator(request: Request, form: Form) -> Operator:
    """Who acts and why, as the audit keeps it. Raises `HTTPException` where no reason is given."""
    reason = form.get("reason", "").strip()
    if not reason or len(reason) > 1000:
        raise HTTPException(422, "a reason is needed, of at most 1,000 characters: the audit keeps it")
    return Operator(signed_in(request).visitor.name, reason)


def number(request: Request, name: str) -> int | None:
    """A number in the address's query; None where there is none. Raises `HTTPException` for what is no number."""
    text = request.query_params.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 15:
        raise HTTPException(404, f"{name} is no number")
    return int(text)


def identified(request: Request) -> int:
    """The id in the address's path. Raises `HTTPException` for one that nothing can bear."""
    found: int = request.path_params["id"]
    if not 0 < found <= _LARGEST_ID:
        raise HTTPException(404, "nothing bears that id")
    return found


def chosen(request: Request) -> str | None:
    """The connection that a list is narrowed to."""
    return request.query_params.get("connection") or None


def done(where: str, what: str) -> Response:
    """Back to a page, which says what was done."""
    return RedirectResponse(f"{where}?done={what}", 303)
