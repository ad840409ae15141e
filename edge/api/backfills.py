"""Backfills over HTTP: planned, looked at before, watched meanwhile, stopped at any time, done by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AfterValidator

from edge.api.answers import DEFAULT_LIMIT, document, page
from edge.api.asking import After, Because, Limit, Number, OfConnection, Opened, PreviewsHere, operator, there
from edge.api.shapes import Backfills, ok
from edge.bounds import bound
from pipeline import backfill
from pipeline.ask import ask_backfill, ask_on
from pipeline.backfill_report import Standing, listed, standing

router = APIRouter(tags=["backfills"])

Bound = Annotated[str | None, AfterValidator(bound)]


class Start(Because):
    """A range of creation times to read again: days (midnight UTC) or times with their zone; `until` is left out of it.

    A dry run lands nothing. It says what the backfill would do, which waits as `planned` for somebody to resume it.
    """

    connection: str
    since: Bound = None
    until: Bound = None
    dry_run: bool = True


@router.get("/backfills", responses=ok(Backfills))
def backfills(
    request: Request,
    opened: Opened,
    connection: OfConnection = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = 0,
) -> Response:
    """Every backfill: its state, its chunks, its rate, the time that is left."""
    found = [one.as_json() for one in listed(opened, connection, after=after, limit=limit)]
    return page(request, "backfills", found, ("after", "id"))


@router.get("/backfills/{number}", responses=ok(Backfills))
def one_backfill(opened: Opened, number: Number) -> Response:
    """One backfill with each of its chunks."""
    found = standing(opened, number)
    return document({"backfills": [{**found.as_json(), "plan": found.plan_as_json()}]})


@router.post("/backfills", status_code=202, responses=ok(Backfills, 202))
def start(request: Request, opened: Opened, previews: PreviewsHere, wanted: Start) -> Response:
    """Plan a backfill; unless this is no dry run, only to find out what it would do."""
    window, person = (wanted.since, wanted.until), operator(request, wanted)
    opened.settings.connection(wanted.connection)
    if wanted.dry_run:
        return _told(previews.begin(wanted.connection, window, person), 202)
    return _told(ask_backfill(opened, wanted.connection, window, person), 202)


@router.post("/backfills/{number}/pause", responses=ok(Backfills))
def pause(request: Request, opened: Opened, number: Number, because: Because) -> Response:
    """Let nothing more land until it is resumed."""
    return _stopped(backfill.pause, opened, number, operator(request, because))


@router.post("/backfills/{number}/cancel", responses=ok(Backfills))
def cancel(request: Request, opened: Opened, number: Number, because: Because) -> Response:
    """Let nothing more land, and free its range."""
    return _stopped(backfill.cancel, opened, number, operator(request, because))


@router.post("/backfills/{number}/{verb}", status_code=202, responses=ok(Backfills, 202))
def carry_on(
    request: Request, opened: Opened, number: Number, verb: Literal["resume", "retry"], because: Because
) -> Response:
    """Have what is left of it carried out (resume), or the chunks that failed too (retry)."""
    with there():
        standing(opened, number)
    return _told(ask_on(opened, number, verb, operator(request, because)), 202)


def _stopped(verb: Callable[..., Standing], opened: Opened, number: int, person: object) -> Response:
    with there():
        standing(opened, number)
    return _told(verb(opened, number, operator=person))


def _told(stands: Standing, status: int = 200) -> Response:
    return document({"backfills": [stands.as_json()]}, status)
