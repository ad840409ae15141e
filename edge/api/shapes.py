"""Shapes: the documents of the operations API, as its OpenAPI document describes them.

The command line prints the same. They describe, and nothing passes through them: an answer is encoded as it is.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Shape(BaseModel):
    """A document, or a part of one. Keys may be added to it later."""

    model_config = ConfigDict(extra="allow")


def ok(shape: type[Shape], status: int = 200) -> dict[int | str, dict[str, Any]]:
    """How an endpoint says what it answers when all is well."""
    return {status: {"model": shape}}


class Fault(Shape):
    """What went wrong: the exit code that a command ends with, and lines for a person."""

    code: int
    messages: list[str]


class Problem(Shape):
    """Every answer that is no document."""

    error: Fault


class Connection(Shape):
    """How a connection is doing."""

    name: str
    source: str
    state: str
    reason: str | None
    last_success: str | None
    deals: int
    parked: int
    outbox: int
    held: int
    paused: dict[str, Any] | None
    next: dict[str, Any]
    verified_through: str | None


class Status(Shape):
    """`dealsync status --json`."""

    connections: list[Connection]
    ledger: dict[str, Any]


class Rung(Shape):
    """`dealsync pull NAME --no-wait --json`: whoever does such work has been told."""

    rung: str


class Paused(Shape):
    """`dealsync pause NAME --json`, and `resume`."""

    connection: str
    paused: dict[str, Any] | None


class Tally(Shape):
    """Living deals of one side in a month: their number, and sums by currency in minor units."""

    count: int
    sums: dict[str, int]


class Window(Shape):
    """What a reconcile found in one close month; null is for deals without a close date."""

    run: int
    month: str | None
    source: Tally
    projection: Tally
    ledger: Tally
    ok: bool
    differing: int
    pending: int
    delta_cents: int
    checked_at: str


class Checkpoint(Shape):
    """How far a stream was read, by which run."""

    stream: str
    cursor: dict[str, Any]
    run: int
    moved_at: str


class Checkpoints(Shape):
    """`dealsync checkpoint show NAME --json`."""

    connection: str
    checkpoints: list[Checkpoint]


class UnclaimedKey(Shape):
    """A key that the mapping neither claims nor ignores, and how many records bore it."""

    key: str
    records: int
    first_seen: str
    last_seen: str


class Drift(Shape):
    """`dealsync mapping drift NAME --json`."""

    connection: str
    drift: list[UnclaimedKey]


class Windows(Shape):
    """What reconciling a connection found."""

    connection: str
    verified_through: str | None
    checked_at: str | None
    windows: list[Window]
    failed_before: list[Window]


class Run(Shape):
    """One run with its counts."""

    run: int
    connection: str | None
    kind: str
    state: str
    reason: str | None
    started_at: str
    ended_at: str | None
    read: int
    applied: int
    unchanged: int
    superseded: int
    parked: int
    out_of_scope: int
    events: int
    published: int


class Runs(Shape):
    """Runs, the newest first."""

    runs: list[Run]


class Deal(Shape):
    """A deal with its latest state."""

    external_id: str
    connection: str
    source_id: str
    revision: int
    deleted: bool
    state: dict[str, Any]


class Deals(Shape):
    """`dealsync deals list --json`."""

    deals: list[Deal]


class DealHistory(Deal):
    """`dealsync deals show --json`."""

    history: list[dict[str, Any]]


class Explained(Shape):
    """`dealsync explain --json`: why each field of a deal has its value."""

    external_id: str
    revision: int
    fields: dict[str, dict[str, Any]]
    event: dict[str, Any]
    receipt: dict[str, Any]


class ParkedEntry(Shape):
    """A record or an event that needs a person."""

    id: int
    connection: str
    source_id: str | None
    reason: str
    field: str | None
    message: str
    since: str


class Parked(Shape):
    """`dealsync parked list --json`."""

    parked: list[ParkedEntry]


class Retried(Shape):
    """`dealsync parked retry --json`: one summary a connection. Those beyond the entry `after` are yet to be tried."""

    retried: list[dict[str, Any]]
    after: int | None = None


class Discarded(Shape):
    """How many were discarded; `let_go` and `put_back` of a change set, as `dealsync held discard --json` says."""

    discarded: int


class HeldSet(Shape):
    """A change set that waits for a person, or did."""

    id: int
    connection: str
    run: int
    reason: str
    since: str
    state: str
    events: int
    by_type: dict[str, int]


class Held(Shape):
    """`dealsync held list --json`."""

    held: list[HeldSet]


class HeldEvents(HeldSet):
    """`dealsync held show --json`: the set, and every event that still waits in it."""

    waiting: list[dict[str, Any]]


class Incident(Shape):
    """What the ledger answered that is no retry of ours; `events` of a run met it."""

    id: int
    run: int
    outcome: str
    meaning: str
    events: int
    since: str
    latest: str
    connection: str
    source_id: str
    domain_event_id: str
    state: str


class Incidents(Shape):
    """`dealsync incidents list --json`."""

    incidents: list[Incident]


class IncidentEvents(Incident):
    """`dealsync incidents show --json`: the incident, and each of its events."""

    met: list[dict[str, Any]]


class Acknowledged(Shape):
    """How many events an incident had that is closed now."""

    acknowledged: int


class Delivery(Shape):
    """A delivery that was not simply heeded."""

    id: str
    connection: str
    received_at: str
    state: str
    event: str | None
    why: str | None


class Deliveries(Shape):
    """`dealsync deliveries list --json`."""

    deliveries: list[Delivery]


class Released(Shape):
    """How many events go to the ledger with the next publish."""

    released: int


class Chunks(Shape):
    """How many chunks of a backfill are read, failed, or left."""

    done: int
    failed: int
    pending: int
    total: int


class Backfill(Shape):
    """A backfill. `expected` is what its dry run has found so far; `plan`, of one alone, is each of its chunks."""

    id: int
    connection: str
    state: Literal["planned", "running", "paused", "cancelled", "failed", "done"]
    since: str | None
    until: str | None
    chunks: Chunks
    records: int
    rate: float | None
    eta_seconds: int | None
    percent: int
    reason: str | None
    expected: dict[str, Any] | None


class Backfills(Shape):
    """`dealsync backfill list --json`."""

    backfills: list[Backfill]


class Action(Shape):
    """What one person did, when and why."""

    id: int
    at: str
    who: str
    action: str
    connection: str | None
    target: str | None
    reason: str | None
    outcome: str


class Audit(Shape):
    """`dealsync audit --json`."""

    audit: list[Action]
