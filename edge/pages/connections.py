"""A connection: how it is doing, its latest runs, what reconciling found, and what can be done with it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.forms import Form, acting, done, opened, operator
from edge.pages.rendering import page
from pipeline import pause as pausing
from pipeline.ask import ask_run
from pipeline.mapping_tools import drift as unclaimed
from pipeline.past import list_runs, list_windows
from pipeline.status import status

_RUNS = 20
_KEYS = 500
"""So many keys are shown, the most frequent; a source may invent them without end."""


def show(request: Request) -> Response:
    """One connection."""
    app, name = opened(request), request.path_params["name"]
    settings = app.settings.connection(name)
    (one,) = (one for one in status(app)["connections"] if one["name"] == name)
    runs = list_runs(app, connection=name, limit=_RUNS)
    return page(request, "connection.html", title=name, one=one, runs=runs, settings=settings, at=app.store.now())


def windows(request: Request) -> Response:
    """What reconciling a connection found in each close month."""
    app = opened(request)
    found = list_windows(app, request.path_params["name"])
    title = f"Close months of {found['connection']}"
    return page(request, "windows.html", title=title, found=found, currency=app.settings.ledger.currency)


def drift(request: Request) -> Response:
    """The keys of its records that the mapping neither claims nor ignores."""
    name = request.path_params["name"]
    found = unclaimed(opened(request), name, limit=_KEYS)
    return page(request, "drift.html", title=f"Unclaimed keys of {name}", name=name, found=found)


def ask(request: Request, form: Form) -> Response:
    """Have it read now."""
    name = request.path_params["name"]
    ask_run(opened(request), form.get("verb", ""), name, operator(request, form))
    return done(f"/connections/{name}", "asked")


def pause(request: Request, form: Form) -> Response:
    """Read it no more by schedule and by webhook."""
    name = request.path_params["name"]
    pausing.pause(opened(request), name, operator(request, form))
    return done(f"/connections/{name}", "paused")


def resume(request: Request, form: Form) -> Response:
    """Let it be read again."""
    name = request.path_params["name"]
    pausing.resume(opened(request), name, operator(request, form))
    return done(f"/connections/{name}", "resumed")


ROUTES = (
    Route("/connections/{name}", show, methods=["GET"]),
    Route("/connections/{name}/windows", windows, methods=["GET"]),
    Route("/connections/{name}/drift", drift, methods=["GET"]),
    Route("/connections/{name}/ask", acting(ask), methods=["POST"]),
    Route("/connections/{name}/pause", acting(pause), methods=["POST"]),
    Route("/connections/{name}/resume", acting(resume), methods=["POST"]),
)
