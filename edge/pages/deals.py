"""Deals: the list, and one deal with the reason for each of its values: why this amount?"""

from __future__ import annotations

from operator import itemgetter

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.forms import chosen, opened
from edge.pages.rendering import page
from edge.pages.rows import ROWS, a_page
from pipeline.browse import list_deals, show_deal
from pipeline.explain import explain


def listed(request: Request) -> Response:
    """Deals in the order of their ids, a page at a time."""
    app = opened(request)
    after = request.query_params.get("after") or None
    found = list_deals(app, connection=chosen(request), limit=ROWS + 1, after=after)
    rows, following = a_page(found, itemgetter("external_id"))
    return page(
        request,
        "deals.html",
        title="Deals",
        rows=rows,
        following=following,
        currency=app.settings.ledger.currency,
        connections=sorted(app.settings.connections),
        chosen=chosen(request),
    )


def show(request: Request) -> Response:
    """One deal. Its id is a parameter and no path: a source may put anything into it."""
    app, external_id = opened(request), request.query_params.get("id", "").strip()
    deal = show_deal(app, external_id)
    explained = explain(app, external_id)
    title = f"Deal {deal['external_id']}"
    currency = app.settings.ledger.currency
    return page(request, "deal.html", title=title, deal=deal, explained=explained, currency=currency)


ROUTES = (
    Route("/deals", listed, methods=["GET"]),
    Route("/deals/show", show, methods=["GET"]),
)
