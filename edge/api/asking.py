"""Asking: what every request to the operations API may bring along: who asks, where a page begins, and why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from edge.access import Visitor
from edge.api.answers import LARGEST_LIMIT
from pipeline.audit import Operator
from pipeline.faults import Unknown
from pipeline.previews import Previews
from pipeline.wiring import App

_LARGEST_ID = 2**53


def _opened(request: Request) -> App:
    opened: App = request.app.state.opened
    return opened


def _previews(request: Request) -> Previews:
    previews: Previews = request.app.state.previews
    return previews


def _known_connection(request: Request, connection: Annotated[str, Path(description="As configured.")]) -> str:
    try:
        _opened(request).settings.connection(connection)
    except Unknown as fault:
        raise HTTPException(404, str(fault)) from None
    return connection


Opened = Annotated[App, Depends(_opened)]
PreviewsHere = Annotated[Previews, Depends(_previews)]
KnownConnection = Annotated[str, Depends(_known_connection)]
OfConnection = Annotated[str | None, Query(description="Of this connection only.")]
Limit = Annotated[int, Query(ge=1, le=LARGEST_LIMIT, description="At most so many.")]
After = Annotated[int, Query(ge=0, le=_LARGEST_ID, description="Those beyond this id: the last one of a page.")]
Before = Annotated[int | None, Query(ge=1, le=_LARGEST_ID, description="Those before this one: the last of a page.")]
Number = Annotated[int, Path(ge=1, le=_LARGEST_ID, description="Its id.")]
Numbered = Annotated[int, Field(ge=1, le=_LARGEST_ID)]


class Because(BaseModel):
    """Why something is done: the audit keeps it, with the name of the token it was asked with."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


def operator(request: Request, because: Because) -> Operator:
    """Who acts, and why, as the audit keeps it."""
    visitor: Visitor = request.state.visitor
    return Operator(visitor.name, because.reason)


@contextmanager
def there() -> Iterator[None]:
    """A block that looks something up by its id: where there is none, the answer is 404."""
    try:
        yield
    except Unknown as fault:
        raise HTTPException(404, str(fault)) from None
