"""Parked: records and events that need a person, each with its bytes, and what can be done about it."""

from __future__ import annotations

from operator import itemgetter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.forms import Form, acting, chosen, done, identified, number, opened, operator
from edge.pages.rendering import page
from edge.pages.rows import ROWS, a_page
from pipeline.redrive import discard_parked, list_parked, parked_bytes, retry_parked, show_parked

_SHOWN = 20_000
"""Characters of a record that its page shows; the file has all of them."""


def listed(request: Request) -> Response:
    """What is parked, a page at a time."""
    app = opened(request)
    found = list_parked(app, connection=chosen(request), limit=ROWS + 1, after=number(request, "after"))
    rows, following = a_page(found, itemgetter("id"))
    names = sorted(app.settings.connections)
    return page(
        request,
        "parked.html",
        title="Parked",
        rows=rows,
        following=following,
        connections=names,
        chosen=chosen(request),
    )


def show(request: Request) -> Response:
    """One entry with the bytes it was parked with."""
    entry = show_parked(opened(request), identified(request))
    raw = entry.pop("raw", None)
    cut = raw is not None and len(raw) > _SHOWN
    title = f"Parked {entry['id']}"
    return page(request, "parked_one.html", title=title, entry=entry, raw=raw[:_SHOWN] if cut else raw, cut=cut)


def raw(request: Request) -> Response:
    """The very bytes, as a file: no browser is asked to make something of them."""
    entry_id = identified(request)
    headers = {"Content-Disposition": f'attachment; filename="parked-{entry_id}"'}
    return Response(parked_bytes(opened(request), entry_id), headers=headers, media_type="application/octet-stream")


def retry(request: Request, form: Form) -> Response:
    """Try it again."""
    app, entry_id = opened(request), identified(request)
    stage = show_parked(app, entry_id)["stage"]
    retry_parked(app, [entry_id], None, operator=operator(request, form))
    return done(f"/parked/{entry_id}", "reopened" if stage == "event" else "retried")


def discard(request: Request, form: Form) -> Response:
    """Put it aside for good."""
    entry_id = identified(request)
    discard_parked(opened(request), [entry_id], operator(request, form))
    return done(f"/parked/{entry_id}", "discarded")


ROUTES = (
    Route("/parked", listed, methods=["GET"]),
    Route("/parked/{id:int}", show, methods=["GET"]),
    Route("/parked/{id:int}/bytes", raw, methods=["GET"]),
    Route("/parked/{id:int}/retry", acting(retry), methods=["POST"]),
    Route("/parked/{id:int}/discard", acting(discard), methods=["POST"]),
)
