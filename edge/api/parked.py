"""Parked over HTTP: look at what is held back, send it on, or put it aside for good."""

from __future__ import annotations

from typing import Annotated, Any, Self

from fastapi import APIRouter, Request, Response
from pydantic import Field, model_validator

from edge.api.answers import DEFAULT_LIMIT, document, page
from edge.api.asking import After, Because, Limit, Number, Numbered, OfConnection, Opened, operator
from edge.api.shapes import Discarded, Parked, ParkedEntry, Retried, ok
from pipeline.redrive import (
    Part,
    Which,
    discard_parked,
    list_parked,
    parked_bytes,
    retry_parked,
    retry_some,
    show_parked,
)

router = APIRouter(tags=["parked"])

Some = Annotated[list[Numbered], Field(min_length=1, max_length=1000)]
_BYTES: dict[int | str, dict[str, Any]] = {200: {"content": {"application/octet-stream": {}}}}


class Retry(Because):
    """Which entries to try again: some by their ids, or those parked for a reason or field, or `all` of them."""

    ids: Some | None = None
    connection: str | None = None
    code: str | None = None
    field: str | None = None
    all: bool = False
    after: Numbered | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        filtered = any(one is not None for one in (self.connection, self.code, self.field))
        if sum((self.ids is not None, filtered, self.all)) != 1:
            raise ValueError("say which entries: their ids, or connection, code or field, or all")
        return self


class Discard(Because):
    """Which records to put aside for good, by their ids."""

    ids: Some


@router.get("/parked", responses=ok(Parked))
def parked(
    request: Request,
    opened: Opened,
    connection: OfConnection = None,
    limit: Limit = DEFAULT_LIMIT,
    after: After = 0,
) -> Response:
    """What is parked, and why."""
    found = list(list_parked(opened, connection=connection, limit=limit, after=after))
    return page(request, "parked", found, ("after", "id"))


@router.get("/parked/{number}", responses=ok(ParkedEntry))
def entry(opened: Opened, number: Number) -> Response:
    """One entry with the bytes it was parked with, as text."""
    return document(show_parked(opened, number))


@router.get("/parked/{number}/bytes", responses=_BYTES)
def raw(opened: Opened, number: Number) -> Response:
    """The very bytes an entry was parked with; none for a refused event."""
    headers = {"Content-Disposition": f'attachment; filename="parked-{number}"'}
    return Response(parked_bytes(opened, number), headers=headers, media_type="application/octet-stream")


@router.post("/parked/retry", responses=ok(Retried))
def retry(request: Request, opened: Opened, which: Retry) -> Response:
    """Try entries again: records under today's mapping, refused events with the next publish.

    Where no ids are given, the first 1,000 of them. The answer's `after` is to be sent along for those that follow; it
    is null when there are none.
    """
    person = operator(request, which)
    if which.ids is not None:
        part = Part(retry_parked(opened, which.ids, None, operator=person), None)
    else:
        part = retry_some(opened, which.connection, Which(which.code, which.field), which.after or 0, person)
    return document({"retried": [summary.as_json() for summary in part.summaries], "after": part.after})


@router.post("/parked/discard", responses=ok(Discarded))
def discard(request: Request, opened: Opened, which: Discard) -> Response:
    """Put records aside for good, with the reason."""
    return document({"discarded": discard_parked(opened, which.ids, operator(request, which))})
