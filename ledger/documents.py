"""Documents: what the service's OpenAPI document says of its requests and answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from deals.events import EventType
from deals.identity import MAX_KEY
from deals.state import MAX_DIGITS
from ledger.reading import MOST_EVENTS

_TOO_LARGE = 10**MAX_DIGITS
_TEXT = r"^[^\x00]*$"
"""What every database can keep of a text."""


class State(BaseModel):
    """The current canonical state of the deal, complete; every other key is kept under `custom`."""

    model_config = ConfigDict(extra="allow")
    amount_cents: int | None = Field(
        None, gt=-_TOO_LARGE, lt=_TOO_LARGE, description="Minor units, written as an integer; may be negative."
    )
    stage: str | None = None
    close_date: str | None = None
    owner_external_id: str | None = None


class DealEvent(BaseModel):
    """An event of a deal."""

    external_id: str = Field(min_length=1, max_length=MAX_KEY, pattern=_TEXT)
    state: State
    event_type: EventType = EventType.UPSERT
    dedup_key: str | None = Field(None, min_length=1, max_length=MAX_KEY, pattern=_TEXT, description="Always send one.")


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
    capabilities: list[str]


class Problem(BaseModel):
    """An error: a code for machines, and what else there is to say."""

    model_config = ConfigDict(extra="allow")
    error: str
    reason: str | None = None


class KeptEvent(BaseModel):
    """An event as the ledger keeps it; `state` is what the deal was then."""

    sequence: int = Field(description="Its place among all events of the organisation.")
    domain_event_id: str
    source_event_id: str
    event_type: EventType
    dedup_key: str
    state: dict[str, Any]
    occurred_at: str


class HistoryPagination(BaseModel):
    """`next_after` is null on the last page."""

    limit: int
    after: int
    next_after: int | None


class History(BaseModel):
    """Events of one deal, in their order."""

    events: list[KeptEvent]
    pagination: HistoryPagination


class Outcome(BaseModel):
    """What became of one event of a batch: the answer it would have had alone. 424: an earlier one was refused."""

    model_config = ConfigDict(extra="allow")
    status: int


class BatchAnswer(BaseModel):
    """An outcome for each event, in their order."""

    results: list[Outcome]


Answers = dict[int | str, dict[str, Any]]


def _problems(*statuses: int) -> Answers:
    return {status: {"model": Problem} for status in statuses}


INTROSPECT: Answers = {200: {"model": Introspection}, **_problems(401, 429, 503)}
LIST: Answers = {200: {"model": DealList}, **_problems(400, 401, 403, 429, 503)}
HISTORY: Answers = {200: {"model": History}, **_problems(400, 401, 403, 404, 429, 503)}

_REFUSED = {
    "400": "The body says nothing the ledger could take.",
    "401": "The key is missing, unknown or revoked.",
    "403": "The key lacks the scope.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
    "429": "The key's requests are used up.",
    "503": "The ledger cannot be written; send the same again.",
}


def with_posts(document: dict[str, Any]) -> dict[str, Any]:
    """The document with the paths that bring events: no route stands for them, so they are written out."""
    event = DealEvent.model_json_schema()
    shared = event.pop("$defs")
    event["properties"]["state"] = shared["State"]
    event["properties"]["event_type"] = {**shared["EventType"], "default": EventType.UPSERT.value}
    batch = {
        "type": "object",
        "required": ["events"],
        "properties": {"events": {"type": "array", "items": event, "minItems": 1, "maxItems": MOST_EVENTS}},
    }
    ids = {"200": "The event was there already.", "201": "The event was appended."}
    posts: dict[str, tuple[str, dict[str, Any], dict[str, type[BaseModel]], dict[str, str]]] = {
        "/v1/deals/events": ("Append an event of a deal", event, dict.fromkeys(ids, Ids), {**ids, **_REFUSED}),
        "/v1/deals/events/batch": (
            "Append up to 500 events",
            batch,
            {"200": BatchAnswer},
            {"200": "An outcome for each event.", **_REFUSED},
        ),
    }
    for path, (summary, schema, models, said) in posts.items():
        document["paths"][path] = {"post": _posting(summary, schema, models, said)}
    conflict = document["paths"]["/v1/deals/events"]["post"]["responses"]
    conflict["409"] = _answer(Problem, "The key holds another payload, where the ledger is set to say so.")
    return document


def _posting(
    summary: str, schema: dict[str, Any], models: dict[str, type[BaseModel]], said: dict[str, str]
) -> dict[str, Any]:
    return {
        "summary": summary,
        "security": [{"HTTPBearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {status: _answer(models.get(status, Problem), text) for status, text in said.items()},
    }


def _answer(model: type[BaseModel], said: str) -> dict[str, Any]:
    schema = model.model_json_schema()
    shared = schema.pop("$defs", {})
    for name, part in schema.get("properties", {}).items():
        if part.get("items", {}).get("$ref"):
            schema["properties"][name]["items"] = shared[part["items"]["$ref"].rpartition("/")[2]]
    return {"description": said, "content": {"application/json": {"schema": schema}}}
