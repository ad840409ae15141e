"""The operations API's whole OpenAPI document, fuzzed: nothing breaks, and every refusal has its envelope."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from edge import api
from tests.edge.operated import ANN, Lived, Operated, copied

BEARER = {"Authorization": f"Bearer {ANN}"}
DOCUMENTED = {200, 202, 400, 404, 405, 409, 413, 422}
CALLS = sorted(
    (method, api.PREFIX + route.path.replace(":path", ""))  # type: ignore[attr-defined]
    for noun in api.NOUNS
    for route in noun.router.routes
    for method in route.methods  # type: ignore[attr-defined]
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, lived: Lived) -> Iterator[Operated]:
    with copied(tmp_path_factory.mktemp("fuzz"), lived) as made:
        yield made


@pytest.mark.long
@pytest.mark.parametrize(
    "mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["as written", "not as written"]
)
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_the_document_is_kept_to_whatever_is_sent(world: Operated, method: str, path: str, mode: GenerationMode):
    schema = schemathesis.openapi.from_url(f"{world.url}{api.PREFIX}/openapi.json", headers=BEARER)
    operation = schema[path][method]

    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def each(case: schemathesis.Case) -> None:
        answer = case.call(headers=BEARER)
        assert answer.status_code in DOCUMENTED, (answer.status_code, answer.content[:300])
        if answer.status_code >= 400:
            if answer.content == b"Invalid HTTP request received.":
                return  # it was no request at all, and never came to us
            assert answer.headers["content-type"] == ["application/json"], (
                answer.status_code,
                answer.request.url,
                answer.content[:200],
            )
            said = answer.json()["error"]
            assert isinstance(said["code"], int)
            assert all(isinstance(line, str) for line in said["messages"])
        case.validate_response(answer, checks=[not_a_server_error, response_schema_conformance])

    try:
        each()
    except Unsatisfiable:
        pytest.skip("nothing can be sent to it that is not as written")


@pytest.mark.long
def test_any_text_may_be_looked_for_on_a_page(world: Operated):
    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    @given(text=st.text(max_size=80))
    def each(text: str) -> None:
        for path, name in (("/deals/show", "id"), ("/deals", "after"), ("/deals", "connection"), ("/runs", "before")):
            answer = ann.get(path, params={name: text})
            assert answer.status_code in (200, 404), (path, text)

    with world.browser() as ann:
        each()
