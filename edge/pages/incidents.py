"""Incidents: what the ledger answered that is no retry of ours, until a person says what was found."""

from __future__ import annotations

from itertools import islice
from operator import itemgetter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.forms import Form, acting, done, identified, number, opened, operator
from edge.pages.rendering import page
from edge.pages.rows import ROWS, a_page
from pipeline.incidents import acknowledge_incident, list_incidents, show_incident


def listed(request: Request) -> Response:
    """The incidents that nobody has acknowledged, a page at a time."""
    found = list_incidents(opened(request), limit=ROWS + 1, after=number(request, "after") or 0)
    rows, following = a_page(found, itemgetter("id"))
    return page(request, "incidents.html", title="Incidents", rows=rows, following=following)


def show(request: Request) -> Response:
    """One incident with the first of its events."""
    found = show_incident(opened(request), identified(request))
    one = next(found)
    return page(request, "incident.html", title=f"Incident {one['id']}", one=one, met=list(islice(found, ROWS)))


def acknowledge(request: Request, form: Form) -> Response:
    """Say that store and ledger were compared, and what was found."""
    incident_id = identified(request)
    acknowledge_incident(opened(request), incident_id, operator(request, form))
    return done(f"/incidents/{incident_id}", "acknowledged")


ROUTES = (
    Route("/incidents", listed, methods=["GET"]),
    Route("/incidents/{id:int}", show, methods=["GET"]),
    Route("/incidents/{id:int}/acknowledge", acting(acknowledge), methods=["POST"]),
)
