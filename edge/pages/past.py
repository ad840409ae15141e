"""The past: every run, and what people did, the newest first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.forms import chosen, number, opened
from edge.pages.rendering import page
from pipeline.past import latest_audits, list_runs

_ROWS = 100


def runs(request: Request) -> Response:
    """What was read and sent, and what became of it."""
    rows = list_runs(opened(request), connection=chosen(request), limit=_ROWS + 1, before=number(request, "before"))
    following = rows[_ROWS - 1]["run"] if len(rows) > _ROWS else None
    return page(request, "runs.html", title="Runs", rows=rows[:_ROWS], following=following, chosen=chosen(request))


def audit(request: Request) -> Response:
    """What people did, who and why."""
    rows = latest_audits(opened(request), connection=chosen(request), limit=_ROWS + 1, before=number(request, "before"))
    following = rows[_ROWS - 1]["id"] if len(rows) > _ROWS else None
    return page(request, "audit.html", title="Audit", rows=rows[:_ROWS], following=following, chosen=chosen(request))


ROUTES = (
    Route("/runs", runs, methods=["GET"]),
    Route("/audit", audit, methods=["GET"]),
)
