"""Held: the events of runs that deleted too much, to be released or discarded."""

from __future__ import annotations

from itertools import islice
from operator import itemgetter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.forms import Form, acting, chosen, done, identified, number, opened, operator
from edge.pages.rendering import page
from edge.pages.rows import ROWS, a_page
from pipeline.held import discard_held, list_held, release_held, show_held


def listed(request: Request) -> Response:
    """The change sets that wait, a page at a time."""
    after = number(request, "after") or 0
    found = list_held(opened(request), connection=chosen(request), limit=ROWS + 1, after=after)
    rows, following = a_page(found, itemgetter("id"))
    return page(request, "held.html", title="Held", rows=rows, following=following, chosen=chosen(request))


def show(request: Request) -> Response:
    """One change set with the first of the events that wait in it."""
    app = opened(request)
    found = show_held(app, identified(request))
    one = next(found)
    waiting = list(islice(found, ROWS))
    title = f"Held change set {one['id']}"
    return page(request, "held_one.html", title=title, one=one, waiting=waiting, currency=app.settings.ledger.currency)


def release(request: Request, form: Form) -> Response:
    """Let its events go to the ledger."""
    set_id = identified(request)
    release_held(opened(request), set_id, operator(request, form))
    return done(f"/held/{set_id}", "released")


def discard(request: Request, form: Form) -> Response:
    """Never send its events."""
    set_id = identified(request)
    discard_held(opened(request), set_id, operator(request, form))
    return done(f"/held/{set_id}", "discarded")


ROUTES = (
    Route("/held", listed, methods=["GET"]),
    Route("/held/{id:int}", show, methods=["GET"]),
    Route("/held/{id:int}/release", acting(release), methods=["POST"]),
    Route("/held/{id:int}/discard", acting(discard), methods=["POST"]),
)
