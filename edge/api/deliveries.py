"""Deliveries over HTTP: what came by webhook and was not simply heeded."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from edge.api.answers import DEFAULT_LIMIT, page
from edge.api.asking import Limit, OfConnection, Opened
from edge.api.shapes import Deliveries, ok
from pipeline.deliveries import list_deliveries

router = APIRouter(tags=["deliveries"])


@router.get("/deliveries", responses=ok(Deliveries))
def deliveries(
    request: Request,
    opened: Opened,
    connection: OfConnection = None,
    state: Literal["waiting", "unknown", "unreadable"] | None = None,
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[str | None, Query(description="Those behind this id: the last one of a page.")] = None,
) -> Response:
    """Deliveries that wait, that tell of an unknown event, or that cannot be read; never what they said."""
    found = list(list_deliveries(opened, connection=connection, state=state, limit=limit, after=after))
    return page(request, "deliveries", found, ("after", "id"))
