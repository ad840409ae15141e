"""The whole OpenAPI document, fuzzed: whatever is sent, nothing breaks and every refusal has its envelope."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from ledger import keys
from ledger.service import create_app
from ledger.verify import verify
from tests.ledger.serving import served
from tests.ledger.subjects import engine_at

CALLS = [
    ("GET", "/v1/"),
    ("GET", "/v1/deals"),
    ("GET", "/v1/deals/{external_id}/events"),
    ("POST", "/v1/deals/events"),
    ("POST", "/v1/deals/events/batch"),
]
DOCUMENTED = {200, 201, 400, 401, 403, 404, 405, 409, 413, 415, 429}


class World:
    """The service really served, with a key that may do everything."""

    def __init__(self, address: str, key: str) -> None:
        self.client = httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=20)
        self.schema = schemathesis.openapi.from_url(f"{address}/v1/openapi.json")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    file = tmp_path_factory.mktemp("fuzz") / "store.db"
    with engine_at(f"sqlite:///{file}") as engine, served(create_app(engine)) as address:
        key = keys.create(engine, name="fuzz", scopes=["deals:write", "deals:read"], rpm=1_000_000)["key"]
        world = World(address, key)
        yield world
        world.client.close()
        assert verify(engine, "org_default").ok


def fit(answer: httpx.Response) -> None:
    """An answer as the contract has them."""
    assert answer.status_code in DOCUMENTED, (answer.status_code, answer.text[:200])
    said = answer.json()
    if answer.status_code >= 400:
        assert isinstance(said["error"], str)
    if answer.status_code != 401:
        assert "x-ratelimit-remaining" in answer.headers


@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as written", "not as written"]
)
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_the_document_is_kept_to_whatever_is_sent(world: World, method: str, path: str, mode: GenerationMode):
    operation = world.schema[path][method]
    cases = operation.as_strategy(generation_mode=mode)

    @settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def each(case: schemathesis.Case) -> None:
        answer = case.call(headers={"Authorization": world.client.headers["Authorization"]})
        told = {name: values[0] for name, values in answer.headers.items()}
        fit(httpx.Response(answer.status_code, content=answer.content, headers=told))
        case.validate_response(answer, checks=[not_a_server_error, response_schema_conformance])
        if mode is GenerationMode.POSITIVE and method == "POST":
            wanted = (400,) if written_as_a_decimal(case.body) else (200, 201)
            assert answer.status_code in wanted, answer.text

    each()


def written_as_a_decimal(body: Any) -> bool:
    """Whether an event's amount is written like 7.0: an integer to JSON Schema, and no amount to the ledger."""
    return isinstance(body.get("state", {}).get("amount_cents"), float)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(text=st.text(min_size=1, max_size=300))
def test_any_id_is_taken_or_refused_and_one_that_is_taken_has_a_history(world: World, text: str):
    answer = world.client.post("/v1/deals/events", content=json.dumps({"external_id": text, "state": {}}), headers=JSON)
    fit(answer)
    assert answer.status_code == (201 if len(text) <= 255 and "\0" not in text else 400)


JSON = {"Content-Type": "application/json"}
AMOUNTS = {
    "0": 201, "-1": 201, str(2**63): 201, str(-(2**63) - 1): 201, "null": 201, "1.0": 400, "1e2": 400, '"100"': 400,
    "true": 400, "[]": 400, "{}": 400, "9" * 400: 400, "NaN": 400, "1" * 10_000: 400, "-0": 201,
}  # fmt: skip


@pytest.mark.parametrize("amount", AMOUNTS)
def test_an_amount_is_whole_or_refused(world: World, amount: str):
    body = b'{"external_id":"amount","state":{"amount_cents":%b}}' % amount.encode()
    answer = world.client.post("/v1/deals/events", content=body, headers=JSON)
    fit(answer)
    assert answer.status_code == AMOUNTS[amount], answer.text


BODIES = [
    b"",
    b"\0",
    b"\xff\xfe",
    b"null",
    b'"x"',
    b"[" * 10_000 + b"]" * 10_000,
    b'{"external_id":"a","state":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    b'{"external_id":"' + b"x" * 256 + b'","state":{}}',
    b'{"external_id":"\\u0000","state":{}}',
    b'{"external_id":"\\ud800","state":{}}',
    b'{"external_id":"a","state":{"\\ud800":1}}',
    b'{"external_id":"a","state":[]}',
    b'{"external_id":"a","event_type":"exploded","state":{}}',
    b'{"external_id":"a","state":{"x":"' + b"x" * 300 * 1024 + b'"}}',
    b'{"events":[{"external_id":"\\ud800","state":{}},{"external_id":"a","state":{"x":1e999}}]}',
]


@pytest.mark.parametrize("path", ["/v1/deals/events", "/v1/deals/events/batch"])
@pytest.mark.parametrize("number", range(len(BODIES)))
def test_a_body_that_is_none_is_refused_in_the_envelope(world: World, path: str, number: int):
    answer = world.client.post(path, content=BODIES[number], headers=JSON)
    fit(answer)
    assert answer.status_code in (400, 413) or path.endswith("batch")


@pytest.mark.parametrize(
    "token",
    [
        "oqp_",
        "oqp_" + "0" * 64,
        "oqp_" + "f" * 63,
        "OQP_" + "0" * 64,
        "a b",
        "é",
        "x" * 5000,
        "' OR 1=1 --",
    ],
)
def test_a_key_that_is_none_is_401(world: World, token: str):
    headers = {"Authorization": f"Bearer {token}".encode("latin-1")}
    answer = httpx.get(world.client.base_url.join("/v1/deals"), headers=headers)
    assert (answer.status_code, answer.json()["error"]) in [(401, "invalid_key"), (401, "unauthenticated")]
