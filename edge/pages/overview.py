"""The overview: what needs a person first, then how everything is doing."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edge.pages.attention import Sight, needs
from edge.pages.forms import opened
from edge.pages.rendering import page
from pipeline import schedule
from pipeline.past import differing, latest_backfills
from pipeline.status import status

UNSETTLED = ("running", "paused", "failed")
_MOST = 50


def overview(request: Request) -> Response:
    """Every connection, the ledger, the backfills that are not done, and what a person has to do about them."""
    app = opened(request)
    found, unsettled = status(app), latest_backfills(app, states=UNSETTLED, limit=_MOST)
    intervals = {name: schedule.least_interval(one) for name, one in app.settings.connections.items()}
    sight = Sight(found, intervals, differing(app), unsettled, app.store.now())
    return page(
        request, "overview.html", title="Overview", needs=needs(sight), found=found, backfills=unsettled, at=sight.at
    )


ROUTES = (Route("/", overview, methods=["GET"]),)
