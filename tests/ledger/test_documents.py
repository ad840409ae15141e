"""The OpenAPI document and the endpoint that is written by hand say the same of every field."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from deals.events import EventType
from deals.state import MAX_DIGITS, STANDARD
from ledger import keys
from ledger.service import create_app
from tests.ledger.serving import served
from tests.ledger.subjects import engine_at

VALUES: list[Any] = [
    None, True, False, 0, -1, 10**MAX_DIGITS - 1, 10**MAX_DIGITS, -(10**MAX_DIGITS), 1.5, "", "x", "x" * 255, "x" * 256,
    "é" * 255, "\0", "a\0b", *EventType, "UPSERT", [], [1], {}, {"custom": {}}, {"x": [None, {"y": 1.25}]},
]  # fmt: skip
"""Enough of each JSON type to fall on either side of every bound that a field may have."""

FIELDS = ["external_id", "state", "event_type", "dedup_key"]
_numbers = itertools.count(1)


class Endpoint:
    """The path as the document has it and as it answers."""

    def __init__(self, address: str, key: str) -> None:
        self.client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        self.paths: dict[str, Any] = self.client.get("/v1/openapi.json").json()["paths"]
        self.schema = self._of("/v1/deals/events")
        self.batch = self._of("/v1/deals/events/batch")

    def _of(self, path: str) -> dict[str, Any]:
        schema: dict[str, Any] = self.paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        Draft202012Validator.check_schema(schema)
        return schema

    def agree(self, event: Any) -> bool:
        """Whether the event is taken; the document must say so as well, alone and in a batch."""
        wanted = Draft202012Validator(self.schema).is_valid(event)
        answer = self.client.post("/v1/deals/events", json=event)
        assert (answer.status_code in (200, 201)) is wanted, (event, answer.text)
        assert Draft202012Validator(self.batch).is_valid({"events": [event]}) is wanted
        [result] = self.client.post("/v1/deals/events/batch", json={"events": [event]}).json()["results"]
        assert (result["status"] in (200, 201)) is wanted, (event, result)
        return wanted


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    file = tmp_path_factory.mktemp("documents") / "ledger.db"
    with engine_at(f"sqlite:///{file}") as engine, served(create_app(engine)) as address:
        key = keys.create(engine, name="test", scopes=["deals:write"], rpm=1_000_000)["key"]
        endpoint = Endpoint(address, key)
        yield endpoint
        endpoint.client.close()


def fresh(**fields: Any) -> dict[str, Any]:
    number = next(_numbers)
    return {"external_id": f"d:{number}", "dedup_key": f"k{number}", "state": {}, **fields}


def test_the_document_names_the_fields_that_there_are(endpoint: Endpoint):
    assert set(endpoint.schema["properties"]) == set(FIELDS)
    assert set(endpoint.schema["properties"]["state"]["properties"]) == set(STANDARD)


@pytest.mark.parametrize("name", FIELDS)
def test_each_value_of_a_field_is_taken_if_the_document_allows_it_and_refused_if_not(endpoint: Endpoint, name: str):
    verdicts = {endpoint.agree(fresh(**{name: value})) for value in VALUES}
    assert verdicts == {True, False}


@pytest.mark.parametrize("name", STANDARD)
def test_each_value_in_the_state_is_taken_if_the_document_allows_it_and_refused_if_not(endpoint: Endpoint, name: str):
    verdicts = {endpoint.agree(fresh(state={name: value})) for value in VALUES}
    assert verdicts == {True, False}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_may_be_left_out_if_the_document_says_so(endpoint: Endpoint, name: str):
    event = fresh()
    event.pop(name, None)
    assert endpoint.agree(event) is (name not in endpoint.schema["required"])


def test_what_no_field_names_is_taken_at_either_level(endpoint: Endpoint):
    assert all(endpoint.agree(fresh(other=value)) for value in VALUES)
    assert all(endpoint.agree(fresh(state={"other": value})) for value in VALUES)


@pytest.mark.parametrize("body", [None, True, 1, "x", []])
def test_what_is_no_object_is_no_event(endpoint: Endpoint, body: Any):
    assert endpoint.agree(body) is False


@pytest.mark.parametrize("number", [0, 1, 500, 501])
def test_a_batch_has_as_many_events_as_the_document_says(endpoint: Endpoint, number: int):
    body = {"events": [fresh() for _ in range(number)]}
    answer = endpoint.client.post("/v1/deals/events/batch", json=body)
    assert (answer.status_code == 200) is Draft202012Validator(endpoint.batch).is_valid(body)


def test_an_integer_is_written_without_a_fraction(endpoint: Endpoint):
    """The one thing that a schema cannot say: to it 5.0 is an integer, to a ledger it is a sum that passed a float."""
    assert Draft202012Validator(endpoint.schema).is_valid(fresh(state={"amount_cents": 5.0}))
    body = json.dumps(fresh(state={"amount_cents": 5.0})).encode()
    answer = endpoint.client.post("/v1/deals/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400


def test_every_answer_is_of_the_shape_that_the_document_gives_its_status(endpoint: Endpoint):
    sent = fresh()
    for path, body in [
        ("/v1/deals/events", sent),
        ("/v1/deals/events", sent),
        ("/v1/deals/events", {**sent, "state": {"x": 1}}),
        ("/v1/deals/events", {}),
        ("/v1/deals/events/batch", {"events": [sent, {}, fresh()]}),
        ("/v1/deals/events/batch", {}),
    ]:
        answer = endpoint.client.post(path, json=body)
        told = endpoint.paths[path]["post"]["responses"][str(answer.status_code)]
        schema = told["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "additionalProperties": schema.get("additionalProperties", False)}).validate(
            answer.json()
        )
