"""The pages: what operators and finance see and decide in a browser, without a script or anything from elsewhere."""

from __future__ import annotations

from starlette.applications import Starlette

from edge.access import Access
from edge.pages import backfills, connections, deals, door, held, incidents, overview, parked, past
from edge.pages.door import let_in
from edge.pages.rendering import FAULTS
from pipeline.previews import Previews
from pipeline.wiring import App

__all__ = ["create", "let_in"]

NOUNS = (overview, connections, deals, parked, held, incidents, backfills, past, door)


def create(app: App, access: Access, previews: Previews) -> Starlette:
    """The pages as an ASGI application. Whoever serves it asks `let_in` first."""
    pages = Starlette(routes=[route for noun in NOUNS for route in noun.ROUTES], exception_handlers=FAULTS)
    pages.router.redirect_slashes = False
    pages.state.opened, pages.state.access, pages.state.previews = app, access, previews
    return pages
