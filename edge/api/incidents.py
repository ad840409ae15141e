"""Incidents over HTTP: what the ledger answered that is no retry of ours, to be acknowledged by a person."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from edge.api.answers import DEFAULT_LIMIT, document, page, stream
from edge.api.asking import After, Because, Limit, Number, Opened, operator, there
from edge.api.shapes import Acknowledged, IncidentEvents, Incidents, ok
from pipeline.incidents import acknowledge_incident, list_incidents, show_incident

router = APIRouter(tags=["incidents"])


@router.get("/incidents", responses=ok(Incidents))
def incidents(
    request: Request,
    opened: Opened,
    acknowledged: Annotated[bool, Query(alias="all", description="Also those that were acknowledged.")] = False,
    limit: Limit = DEFAULT_LIMIT,
    after: After = 0,
) -> Response:
    """The incidents that nobody has acknowledged."""
    found = list_incidents(opened, acknowledged=acknowledged, limit=limit, after=after)
    return page(request, "incidents", found, ("after", "id"))


@router.get("/incidents/{number}", responses=ok(IncidentEvents))
def incident(opened: Opened, number: Number) -> Response:
    """One incident with its events, and what the ledger holds for each."""
    found = show_incident(opened, number)
    return stream(next(found), "met", found)


@router.post("/incidents/{number}/acknowledge", responses=ok(Acknowledged))
def acknowledge(request: Request, opened: Opened, number: Number, because: Because) -> Response:
    """Say that store and ledger were compared, and what was found; nothing is changed in either."""
    with there():
        next(show_incident(opened, number))
    return document({"acknowledged": acknowledge_incident(opened, number, operator(request, because))})
