"""Deals over HTTP: what we hold of each deal, and why it has the values it has."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from edge.api.answers import DEFAULT_LIMIT, document, page
from edge.api.asking import Limit, OfConnection, Opened
from edge.api.shapes import DealHistory, Deals, Explained, ok
from pipeline.browse import list_deals, show_deal
from pipeline.explain import explain as explained

router = APIRouter(tags=["deals"])


@router.get("/deals", responses=ok(Deals))
def deals(
    request: Request,
    opened: Opened,
    connection: OfConnection = None,
    limit: Limit = DEFAULT_LIMIT,
    after: Annotated[str | None, Query(description="Those beyond this external id: the last one of a page.")] = None,
) -> Response:
    """Every deal with its latest state."""
    found = list(list_deals(opened, connection=connection, limit=limit, after=after))
    return page(request, "deals", found, ("after", "external_id"))


@router.get("/deals/{external_id:path}", responses=ok(DealHistory))
def deal(opened: Opened, external_id: str) -> Response:
    """One deal with its history: each event with its cause and the ledger's receipt."""
    return document(show_deal(opened, external_id))


@router.get("/explain/{external_id:path}", responses=ok(Explained))
def explain(opened: Opened, external_id: str) -> Response:
    """Why each field of a deal has its value, from the source's own bytes to the ledger's receipt."""
    return document(explained(opened, external_id))
