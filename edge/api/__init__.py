"""The operations API: what the command line tells and does, over HTTP under `/api/v1`, in the same documents."""

from __future__ import annotations

from fastapi import FastAPI

from edge.api import audit, backfills, connections, deals, deliveries, held, incidents, parked, runs
from edge.api.answers import add_faults
from edge.api.shapes import Problem
from pipeline.previews import Previews
from pipeline.wiring import App

PREFIX = "/api/v1"
"""Every path begins with it; another version would stand beside this one."""

NOUNS = (connections, runs, deals, parked, held, incidents, backfills, deliveries, audit)


def create(app: App, previews: Previews) -> FastAPI:
    """The API as an ASGI application. Whoever serves it lets nobody in without a token, and says who they are in
    `request.state.visitor`.
    """
    api = FastAPI(
        title="dealsync operations",
        version="v1",
        description="The documents are those that `dealsync ... --json` prints. Lists give the next page in `Link`.",
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses={"default": {"model": Problem, "description": "A fault: the code is the exit code of a command."}},
    )
    api.state.opened, api.state.previews = app, previews
    for noun in NOUNS:
        api.include_router(noun.router, prefix=PREFIX)
    add_faults(api)
    return api
