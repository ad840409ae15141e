"""Backfills: looked at before they are begun, watched meanwhile, stopped at any time."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.bounds import bound
from edge.pages.forms import Form, acting, chosen, done, identified, number, opened, operator
from edge.pages.rendering import page
from edge.pages.rows import a_page
from pipeline import backfill
from pipeline.ask import ask_on
from pipeline.backfill_report import Standing, standing
from pipeline.past import latest_backfills
from pipeline.previews import Previews

_ROWS = 50
_CHUNKS = 500

FITS = {
    "planned": ("resume", "cancel"),
    "running": ("pause", "cancel"),
    "paused": ("resume", "cancel"),
    "cancelled": ("resume",),
    "failed": ("retry", "cancel"),
    "done": ("retry",),
}
"""What can be done with a backfill in each of its states; with one that is done only where chunks of it failed."""


def listed(request: Request) -> Response:
    """Every backfill, the newest first, and the form that plans one."""
    app = opened(request)
    found = latest_backfills(app, connection=chosen(request), limit=_ROWS + 1, before=number(request, "before"))
    rows, following = a_page(found, attrgetter("id"), _ROWS)
    return page(
        request,
        "backfills.html",
        title="Backfills",
        rows=rows,
        following=following,
        connections=sorted(app.settings.connections),
        chosen=chosen(request),
    )


def show(request: Request) -> Response:
    """One backfill with its chunks."""
    app = opened(request)
    one = standing(app, identified(request))
    fits = FITS[one.state] if one.state != "done" or one.failed else ()
    plan = one.plan_as_json()
    return page(
        request,
        "backfill.html",
        title=f"Backfill {one.id}",
        one=one,
        fits=fits,
        plan=sorted(plan, key=lambda chunk: (chunk["state"] != "failed", chunk["number"]))[:_CHUNKS],
        more=len(plan) - _CHUNKS,
        currency=app.settings.ledger.currency,
    )


def plan(request: Request, form: Form) -> Response:
    """Plan one, and find out what it would do. It is carried out from its own page, by whoever has seen that."""
    previews: Previews = request.app.state.previews
    connection, window = form.get("connection", ""), (_bound(form, "since"), _bound(form, "until"))
    opened(request).settings.connection(connection)
    planned = previews.begin(connection, window, operator(request, form))
    return done(f"/backfills/{planned.id}", "planned")


def _carry_on(verb: str) -> Callable[[Request, Form], Response]:
    def handler(request: Request, form: Form) -> Response:
        found = ask_on(opened(request), identified(request), verb, operator(request, form))
        return done(f"/backfills/{found.id}", "started")

    return handler


def _stop(verb: Callable[..., Standing]) -> Callable[[Request, Form], Response]:
    def handler(request: Request, form: Form) -> Response:
        found = verb(opened(request), identified(request), operator=operator(request, form))
        return done(f"/backfills/{found.id}", "stopped")

    return handler


def _bound(form: Form, name: str) -> str | None:
    try:
        return bound(form.get(name, "").strip() or None)
    except ValueError as error:
        raise HTTPException(422, f"{name}: {error}") from None


ROUTES = (
    Route("/backfills", listed, methods=["GET"]),
    Route("/backfills", acting(plan), methods=["POST"]),
    Route("/backfills/{id:int}", show, methods=["GET"]),
    Route("/backfills/{id:int}/resume", acting(_carry_on("resume")), methods=["POST"]),
    Route("/backfills/{id:int}/retry", acting(_carry_on("retry")), methods=["POST"]),
    Route("/backfills/{id:int}/pause", acting(_stop(backfill.pause)), methods=["POST"]),
    Route("/backfills/{id:int}/cancel", acting(_stop(backfill.cancel)), methods=["POST"]),
)
