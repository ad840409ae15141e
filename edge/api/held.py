"""Held over HTTP: the events of runs that deleted too much, to be released or discarded."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from edge.api.answers import DEFAULT_LIMIT, document, page, stream
from edge.api.asking import After, Because, Limit, Number, OfConnection, Opened, operator, there
from edge.api.shapes import Discarded, Held, HeldEvents, Released, ok
from pipeline.held import discard_held, list_held, release_held, show_held
from pipeline.wiring import App

router = APIRouter(tags=["held"])


@router.get("/held", responses=ok(Held))
def held(
    request: Request,
    opened: Opened,
    connection: OfConnection = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = 0,
) -> Response:
    """The change sets that wait for a person, and why."""
    found = list_held(opened, connection=connection, limit=limit, after=after)
    return page(request, "held", found, ("after", "id"))


@router.get("/held/{number}", responses=ok(HeldEvents))
def change_set(opened: Opened, number: Number) -> Response:
    """One change set with every event that still waits in it."""
    found = show_held(opened, number)
    return stream(next(found), "waiting", found)


@router.post("/held/{number}/release", responses=ok(Released))
def release(request: Request, opened: Opened, number: Number, because: Because) -> Response:
    """Let the events go to the ledger with the next publish."""
    _there(opened, number)
    return document({"released": release_held(opened, number, operator(request, because))})


@router.post("/held/{number}/discard", responses=ok(Discarded))
def discard(request: Request, opened: Opened, number: Number, because: Because) -> Response:
    """Never send the events; the deals stay as the ledger has them until a read shows them anew."""
    _there(opened, number)
    summary = discard_held(opened, number, operator(request, because))
    return document({"discarded": summary.applied, "let_go": summary.unchanged, "put_back": summary.events})


def _there(opened: App, number: int) -> None:
    with there():
        next(show_held(opened, number))
