"""Connections over HTTP: how they are doing, what reconciling found, and what a person wants done with one."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response

from edge.api.answers import DEFAULT_LIMIT, document
from edge.api.asking import Because, KnownConnection, Limit, Opened, operator
from edge.api.shapes import Checkpoints, Drift, Paused, Rung, Status, Windows, ok
from pipeline import pause as pausing
from pipeline.ask import ask_run
from pipeline.checkpoint import show_checkpoints
from pipeline.mapping_tools import drift
from pipeline.past import list_windows
from pipeline.status import status

router = APIRouter(tags=["connections"])


@router.get("/status", responses=ok(Status))
def show_status(opened: Opened) -> Response:
    """How every connection and the ledger are doing."""
    return document(status(opened))


@router.get("/connections/{connection}/windows", responses=ok(Windows))
def show_windows(opened: Opened, connection: KnownConnection) -> Response:
    """What the latest reconcile found in each close month, and where earlier ones found differences."""
    return document(list_windows(opened, connection))


@router.get("/connections/{connection}/drift", responses=ok(Drift))
def show_drift(opened: Opened, connection: KnownConnection, limit: Limit = DEFAULT_LIMIT) -> Response:
    """The keys of its records that the mapping neither claims nor ignores, the most frequent first."""
    return document({"connection": connection, "drift": drift(opened, connection, limit=limit)})


@router.get("/connections/{connection}/checkpoint", responses=ok(Checkpoints))
def show_checkpoint(opened: Opened, connection: KnownConnection) -> Response:
    """How far each of its streams has been read."""
    return document({"connection": connection, "checkpoints": show_checkpoints(opened, connection)})


@router.post("/connections/{connection}/pause", responses=ok(Paused))
def pause(request: Request, opened: Opened, connection: KnownConnection, because: Because) -> Response:
    """Stop reading a connection by schedule and by webhook; deliveries are kept, and a run by hand is done as ever."""
    found = pausing.pause(opened, connection, operator(request, because))
    return document({"connection": connection, "paused": found._asdict()})


@router.post("/connections/{connection}/resume", responses=ok(Paused))
def resume(request: Request, opened: Opened, connection: KnownConnection, because: Because) -> Response:
    """Let a paused connection be read again; what fell due meanwhile is done once."""
    was_paused = pausing.resume(opened, connection, operator(request, because))
    return document({"connection": connection, "paused": None, "was_paused": was_paused})


@router.post("/connections/{connection}/{verb}", status_code=202, responses=ok(Rung, 202))
def ask(
    request: Request,
    opened: Opened,
    connection: KnownConnection,
    verb: Literal["pull", "sweep", "reconcile"],
    because: Because,
) -> Response:
    """Have a connection read now, as if by hand, by whoever does the schedule; nothing is read before the answer."""
    ask_run(opened, verb, connection, operator(request, because))
    return document({"rung": f"{verb} {connection}"}, 202)
