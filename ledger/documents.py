"""Documents: what the service's OpenAPI document says of its requests and answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from deals.events import EventType


class State(BaseModel):
    """The current canonical state of the deal, complete; every other key is kept under `custom`."""

    model_config = ConfigDict(extra="allow")
    amount_cents: int | None = Field(None, description="Minor units; may be negative.")
    stage: str | None = None
    close_date: str | None = None
    owner_external_id: str | None = None


class DealEvent(BaseModel):
    """An event of a deal."""

    external_id: str = Field(min_length=1, max_length=255)
    state: State
    event_type: EventType = EventType.UPSERT
    dedup_key: str | None = Field(None, min_length=1, max_length=255, description="Always send one.")


class Ids(BaseModel):
    """The ids of the event; of its first acceptance, when it was there already."""

    source_event_id: str
    domain_event_id: str
    deal_id: str
    conflict: bool = Field(False, description="This key was used with another payload before, which is what counts.")


class KeptDeal(BaseModel):
    """A deal as its last event left it."""

    id: str
    source: str
    external_id: str
    state: dict[str, Any]
    last_event_at: str
    updated_at: str


class Pagination(BaseModel):
    """`next_offset` is null on the last page."""

    limit: int
    offset: int
    next_offset: int | None


class DealList(BaseModel):
    """A page of deals."""

    deals: list[KeptDeal]
    pagination: Pagination


class AuthenticatedAs(BaseModel):
    """The key of this request."""

    key_id: str
    key_prefix: str
    scopes: list[str]


class Introspection(BaseModel):
    """Who this key is, and what there is."""

    api_version: str
    authenticated_as: AuthenticatedAs
    endpoints: list[str]


class Problem(BaseModel):
    """An error: a code for machines, and what else there is to say."""

    model_config = ConfigDict(extra="allow")
    error: str
    reason: str | None = None


Answers = dict[int | str, dict[str, Any]]


def _problems(*statuses: int) -> Answers:
    return {status: {"model": Problem} for status in statuses}


INTROSPECT: Answers = {200: {"model": Introspection}, **_problems(401, 429, 503)}
LIST: Answers = {200: {"model": DealList}, **_problems(400, 401, 403, 429, 503)}
INGEST: Answers = {
    200: {"model": Ids, "description": "The event was there already."},
    201: {"model": Ids, "description": "The event was appended."},
    **_problems(400, 401, 403, 409, 413, 415, 429, 503),
}


def _ingest_body() -> dict[str, Any]:
    """The schema written out in place: a route that reads its own body has nowhere to put shared definitions."""
    schema = DealEvent.model_json_schema()
    shared = schema.pop("$defs")
    schema["properties"]["state"] = shared["State"]
    schema["properties"]["event_type"] = {**shared["EventType"], "default": EventType.UPSERT.value}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


INGEST_BODY = _ingest_body()
