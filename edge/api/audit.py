"""Audit over HTTP: what people did, who and why."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from edge.api.answers import DEFAULT_LIMIT, page
from edge.api.asking import After, Limit, OfConnection, Opened
from edge.api.shapes import Audit, ok
from pipeline.audit import list_audits

router = APIRouter(tags=["audit"])


@router.get("/audit", responses=ok(Audit))
def audit(
    request: Request,
    opened: Opened,
    connection: OfConnection = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = 0,
) -> Response:
    """What people did, the oldest first."""
    found = list(list_audits(opened, connection=connection, limit=limit, after=after))
    return page(request, "audit", found, ("after", "id"))
