"""The past: every run, and what people did, the newest first."""

from __future__ import annotations

from operator import itemgetter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.forms import chosen, number, opened
from edge.pages.rendering import page
from edge.pages.rows import ROWS, a_page
from pipeline.audit import latest_audits
from pipeline.past import list_runs


def runs(request: Request) -> Response:
    """What was read and sent, and what became of it."""
    found = list_runs(opened(request), connection=chosen(request), limit=ROWS + 1, before=number(request, "before"))
    rows, following = a_page(found, itemgetter("run"))
    return page(request, "runs.html", title="Runs", rows=rows, following=following, chosen=chosen(request))


def audit(request: Request) -> Response:
    """What people did, who and why."""
    found = latest_audits(opened(request), connection=chosen(request), limit=ROWS + 1, before=number(request, "before"))
    rows, following = a_page(found, itemgetter("id"))
    return page(request, "audit.html", title="Audit", rows=rows, following=following, chosen=chosen(request))


ROUTES = (
    Route("/runs", runs, methods=["GET"]),
    Route("/audit", audit, methods=["GET"]),
)
