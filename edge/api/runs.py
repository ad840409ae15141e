"""Runs over HTTP: what was read and sent, and what became of it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from edge.api.answers import DEFAULT_LIMIT, page
from edge.api.asking import Before, Limit, OfConnection, Opened
from edge.api.shapes import Runs, ok
from pipeline.past import list_runs

router = APIRouter(tags=["runs"])


@router.get("/runs", responses=ok(Runs))
def runs(
    request: Request,
    opened: Opened,
    connection: OfConnection = None,
    kind: Annotated[str | None, Query(max_length=40, description="pull, sweep, publish ...")] = None,
    limit: Limit = DEFAULT_LIMIT,
    before: Before = None,
) -> Response:
    """Runs with their counts, the newest first."""
    found = list_runs(opened, connection=connection, kind=kind, limit=limit, before=before)
    return page(request, "runs", found, ("before", "run"))
