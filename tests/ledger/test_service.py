"""The service answers as contracts/openquota.md says, check by check, over a real connection."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest
from sqlalchemy import Engine, text

from ledger import keys
from ledger.choices import Choices
from ledger.ids import deal_id
from ledger.service import create_app
from ledger.verify import verify
from tests.ledger.serving import served
from tests.ledger.subjects import engine_at, history, now
from tests.waiting import eventually

EVENT = {"external_id": "monaco:1", "dedup_key": "k1", "state": {"amount_cents": 5, "currency": "USD"}}
NOON = 1_800_000_000.0
_numbers = itertools.count(1)
BOTH = ["deals:write", "deals:read"]


@dataclass
class Service:
    """The service, served, and an org of its own in it."""

    engine: Engine
    address: str
    org: str = "org_default"
    clock: list[float] = field(default_factory=lambda: [NOON])

    def client(self, scopes: list[str] = BOTH, rpm: int = 1000, org: str | None = None) -> httpx.Client:
        return self.with_key(keys.create(self.engine, name="test", scopes=scopes, rpm=rpm, org=org or self.org)["key"])

    def with_key(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {key}"}, timeout=20)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    clock = [NOON]
    file = tmp_path_factory.mktemp("service") / "store.db"
    with (
        engine_at(f"sqlite:///{file}") as engine,
        served(create_app(engine, now=now, epoch=lambda: clock[0])) as address,
    ):
        yield Service(engine, address, clock=clock)


@pytest.fixture
def service(running: Service) -> Service:
    running.clock[0] = NOON
    return Service(running.engine, running.address, f"org_{next(_numbers)}", running.clock)


def test_an_event_is_201_and_its_retry_200_with_the_same_three_ids(service: Service):
    with service.client() as client:
        first, again = client.post("/v1/deals/events", json=EVENT), client.post("/v1/deals/events", json=EVENT)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert set(first.json()) == {"source_event_id", "domain_event_id", "deal_id"}


def test_a_key_with_another_state_is_200_with_the_first_ids_and_says_conflict(service: Service):
    with service.client() as client:
        first = client.post("/v1/deals/events", json=EVENT).json()
        other = client.post("/v1/deals/events", json=EVENT | {"state": {}})
    assert other.status_code == 200
    assert other.json() == first | {"conflict": True}


def test_a_conflict_is_409_where_that_is_set(sqlite_url: str):
    with (
        engine_at(sqlite_url) as engine,
        served(create_app(engine, choices=Choices(conflict_status=409))) as address,
        Service(engine, address).client() as client,
    ):
        first = client.post("/v1/deals/events", json=EVENT).json()
        other = client.post("/v1/deals/events", json=EVENT | {"state": {}})
    assert other.status_code == 409
    assert other.json() == first | {"conflict": True, "error": "conflict"}


def test_without_a_key_of_its_own_each_post_is_an_event(service: Service):
    bare = {"external_id": "a", "state": {}}
    with service.client() as client:
        answers = [client.post("/v1/deals/events", json=bare) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert len({answer.json()["domain_event_id"] for answer in answers}) == 3


def test_the_body_is_kept_byte_for_byte(service: Service):
    sent = b'{ "state" : {"x": 1.50, "x2":"\xc3\xa9"},\n "external_id":"a", "dedup_key":"k", "more": [1e2] }'
    with service.client() as client:
        json_type = {"Content-Type": "application/json; charset=utf-8"}
        assert client.post("/v1/deals/events", content=sent, headers=json_type).status_code == 201
        assert client.get("/v1/deals").content.count(b'"x":1.50') == 1
    with service.engine.connect() as tx:
        query = text("SELECT raw_body FROM ledger_source_events WHERE org_id = :org")
        assert tx.execute(query, {"org": service.org}).scalar_one() == sent
    assert verify(service.engine, service.org).ok


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "unauthenticated"),
        ("Basic abc", "unauthenticated"),
        ("Bearer", "unauthenticated"),
        ("Bearer oqp_" + "0" * 64, "invalid_key"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/", "/v1/deals", "/v1/nowhere"])
def test_a_bad_key_is_401_whatever_is_asked(service: Service, header: str | None, code: str, path: str):
    answer = httpx.get(service.address + path, headers={} if header is None else {"Authorization": header})
    assert (answer.status_code, answer.json()["error"]) == (401, code)
    assert "x-ratelimit-limit" not in answer.headers


def test_a_revoked_key_is_refused_at_once(service: Service):
    made = keys.create(service.engine, name="test", scopes=BOTH)
    with service.with_key(made["key"]) as client:
        assert client.get("/v1/").status_code == 200
        assert keys.revoke(service.engine, made["key_id"])
        assert client.get("/v1/").json()["error"] == "invalid_key"


def test_a_missing_scope_is_403_and_named_before_the_body_is_looked_at(service: Service):
    with service.client(["deals:read"]) as client:
        answer = client.post("/v1/deals/events", content=b"{")
        assert (answer.status_code, answer.json()) == (
            403,
            {"error": "forbidden", "reason": "missing scope: deals:write"},
        )
        assert answer.headers["x-ratelimit-limit"] == "1000"
    with service.client(["deals:write"]) as client:
        assert client.get("/v1/deals?limit=x").json() == {"error": "forbidden", "reason": "missing scope: deals:read"}


def test_the_limit_comes_before_the_scope_and_the_window_rolls_on_the_minute(service: Service):
    service.clock[0] = 1_800_000_023.0
    end = 1_800_000_060
    with service.client(["deals:read"], rpm=2) as client:
        seen = [client.post("/v1/deals/events", json=EVENT) for _ in range(3)]
        assert [one.status_code for one in seen] == [403, 403, 429]
        assert [one.headers["x-ratelimit-remaining"] for one in seen] == ["1", "0", "0"]
        assert {one.headers["x-ratelimit-reset"] for one in seen} == {str(end)}
        assert seen[2].json() == {"error": "rate_limited", "retry_after_seconds": 37}
        assert seen[2].headers["retry-after"] == "37"
        service.clock[0] = end - 0.5
        assert client.get("/v1/").headers["retry-after"] == "1"
        service.clock[0] = end
        assert client.get("/v1/").status_code == 200


def test_each_key_has_its_own_limit(service: Service):
    with service.client(rpm=1) as one, service.client(rpm=1) as other:
        assert [one.get("/v1/").status_code, other.get("/v1/").status_code] == [200, 200]
        assert one.get("/v1/").status_code == 429


BODIES = {
    "no JSON": (b"{", "body"),
    "a list": (b"[]", "body"),
    "not unicode": (b'{"external_id":"\xff"}', "body"),
    "NaN": (b'{"external_id":"a","state":{"x":NaN}}', "body"),
    "no external id": (b'{"state":{}}', "external_id"),
    "empty external id": (b'{"external_id":"","state":{}}', "external_id"),
    "external id is a number": (b'{"external_id":5,"state":{}}', "external_id"),
    "no state": (b'{"external_id":"a"}', "state"),
    "state is a list": (b'{"external_id":"a","state":[]}', "state"),
    "a decimal amount": (b'{"external_id":"a","state":{"amount_cents":1.0}}', "amount_cents"),
    "unknown type": (b'{"external_id":"a","state":{},"event_type":"insert"}', "event_type"),
    "type is null": (b'{"external_id":"a","state":{},"event_type":null}', "event_type"),
    "empty key": (b'{"external_id":"a","state":{},"dedup_key":""}', "dedup_key"),
    "key is a number": (b'{"external_id":"a","state":{},"dedup_key":7}', "dedup_key"),
    "nested ten thousand deep": (b'{"external_id":"a","state":{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}}", "body"),
    "a number of 5000 digits": (b'{"external_id":"a","state":{"x":' + b"9" * 5000 + b"}}", ""),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_cannot_be_is_400_and_says_where(service: Service, name: str):
    content, place = BODIES[name]
    with service.client() as client:
        answer = client.post("/v1/deals/events", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"] == "invalid_request"
        assert place in answer.json()["reason"]
        assert client.get("/v1/deals").json()["deals"] == []


def test_what_is_too_large_or_no_json_is_413_and_415(service: Service):
    with service.client() as client:
        large = client.post("/v1/deals/events", json=EVENT | {"note": "x" * 262_144})
        assert (large.status_code, large.json()["error"]) == (413, "too_large")
        form = client.post("/v1/deals/events", data={"external_id": "a"})
        assert (form.status_code, form.json()["error"]) == (415, "unsupported_media_type")
        assert client.get("/v1/deals").json()["deals"] == []


def test_deals_are_listed_newest_first_in_pages(service: Service):
    with service.client() as client:
        for n in range(4):
            client.post("/v1/deals/events", json=EVENT | {"external_id": f"d:{n}", "dedup_key": f"k{n}"})
        first = client.get("/v1/deals?limit=2").json()
        assert [deal["external_id"] for deal in first["deals"]] == ["d:3", "d:2"]
        assert first["pagination"] == {"limit": 2, "offset": 0, "next_offset": 2}
        assert first["deals"][0]["source"] == "api"
        assert first["deals"][0]["state"] == {"amount_cents": 5, "custom": {"currency": "USD"}}
        assert client.get("/v1/deals?limit=2&offset=2").json()["pagination"]["next_offset"] == 4
        last = client.get("/v1/deals?limit=2&offset=4").json()
        assert (last["deals"], last["pagination"]["next_offset"]) == ([], None)
        assert client.get("/v1/deals?limit=9999").json()["pagination"]["limit"] == 500
        assert client.get("/v1/deals").json()["pagination"]["limit"] == 50


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=", "offset=-1", "offset=1.5", f"offset={10**30}"])
def test_a_page_that_cannot_be_is_400_in_the_documented_envelope(service: Service, query: str):
    with service.client() as client:
        answer = client.get(f"/v1/deals?{query}")
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert answer.json()["reason"].startswith(query.split("=")[0])


def test_an_org_sees_its_own_deals_only(service: Service):
    with service.client(org="org_x") as one, service.client(org="org_y") as other:
        one.post("/v1/deals/events", json=EVENT)
        assert other.get("/v1/deals").json()["deals"] == []
        assert other.post("/v1/deals/events", json=EVENT).status_code == 201


def test_introspection_shows_the_key_but_not_its_text(service: Service):
    made = keys.create(service.engine, name="test", scopes=["deals:read"])
    with service.with_key(made["key"]) as client:
        shown = client.get("/v1/")
    assert made["key"] not in shown.text
    assert shown.json()["authenticated_as"] == {
        "key_id": made["key_id"],
        "key_prefix": made["key"][:8],
        "scopes": ["deals:read"],
    }


def test_the_openapi_document_needs_no_key_and_describes_the_paths(service: Service):
    document = httpx.get(f"{service.address}/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/",
        "/v1/deals",
        "/v1/deals/events",
        "/v1/deals/events/batch",
        "/v1/deals/{external_id}/events",
    }
    ingest = document["paths"]["/v1/deals/events"]["post"]
    assert "$defs" not in json.dumps(document)
    assert ingest["requestBody"]["content"]["application/json"]["schema"]["required"] == ["external_id", "state"]
    assert "422" not in ingest["responses"]


def test_unknown_paths_and_methods_have_the_envelope_and_the_headers(service: Service):
    with service.client() as client:
        nowhere, wrong = client.get("/v1/nowhere"), client.delete("/v1/deals")
    assert (nowhere.status_code, nowhere.json()) == (404, {"error": "not_found"})
    assert (wrong.status_code, wrong.json()) == (405, {"error": "method_not_allowed"})
    assert "x-ratelimit-remaining" in nowhere.headers


def test_the_probes_need_no_key(service: Service):
    assert httpx.get(f"{service.address}/livez").status_code == 200
    assert httpx.get(f"{service.address}/readyz").status_code == 200


def test_a_ledger_that_cannot_be_written_is_503_and_asks_to_come_back(service: Service):
    with service.client() as client:
        assert client.get("/v1/").status_code == 200
        with service.engine.begin() as tx:
            tx.execute(text("ALTER TABLE ledger_deals RENAME TO elsewhere"))
        answer = client.post("/v1/deals/events", json=EVENT)
        with service.engine.begin() as tx:
            tx.execute(text("ALTER TABLE elsewhere RENAME TO ledger_deals"))
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert "x-ratelimit-limit" in answer.headers


def test_a_bug_is_500_with_the_envelope_and_the_headers_and_tells_nothing(sqlite_url: str):
    def broken() -> str:
        raise RuntimeError("a secret detail")

    with (
        engine_at(sqlite_url) as engine,
        served(create_app(engine, now=broken)) as address,
        Service(engine, address).client() as client,
    ):
        answer = client.post("/v1/deals/events", json=EVENT)
    assert (answer.status_code, answer.json()) == (500, {"error": "internal_error"})
    assert "x-ratelimit-limit" in answer.headers


def test_many_posts_at_once_share_commits_and_the_same_key_gets_the_same_ids(service: Service):
    with service.client() as client:

        def post(n: int) -> tuple[int, str, str]:
            key = f"k{n % 20}"
            answer = client.post("/v1/deals/events", json=EVENT | {"dedup_key": key, "external_id": f"d:{n % 20}"})
            assert answer.json()["deal_id"] == deal_id(service.org, f"d:{n % 20}")
            return answer.status_code, key, answer.json()["domain_event_id"]

        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(post, range(100)))
    assert sorted(status for status, _, _ in answers) == [200] * 80 + [201] * 20
    assert len({(key, one) for _, key, one in answers}) == len({one for _, _, one in answers}) == 20
    assert len(history(service.engine, service.org)) == 20
    assert verify(service.engine, service.org).ok


def test_a_deal_tells_its_history_in_pages(service: Service):
    with service.client() as client:
        for n in range(3):
            client.post(
                "/v1/deals/events", json=EVENT | {"external_id": "a/b ü", "dedup_key": f"k{n}", "state": {"n": n}}
            )
        first = client.get("/v1/deals/a%2Fb%20%C3%BC/events?limit=2").json()
        assert [(one["dedup_key"], one["state"]["custom"]["n"]) for one in first["events"]] == [("k0", 0), ("k1", 1)]
        after = first["pagination"]["next_after"]
        last = client.get(f"/v1/deals/a/b ü/events?limit=2&after={after}").json()
        assert [one["dedup_key"] for one in last["events"]] == ["k2"]
        assert last["pagination"]["next_after"] is None
        assert client.get("/v1/deals/nobody/events").json()["error"] == "not_found"
    with service.client(org="org_other") as stranger:
        assert stranger.get("/v1/deals/a%2Fb%20%C3%BC/events").status_code == 404
    with service.client(["deals:write"]) as writer:
        assert writer.get("/v1/deals/a/events").status_code == 403


def test_a_batch_is_answered_event_by_event_and_a_refused_one_stops_its_deal(service: Service):
    def one(deal: str, key: str, **state: object) -> dict[str, object]:
        return {"external_id": deal, "dedup_key": key, "state": state}

    sent = [
        one("a", "1"),
        one("b", "2", amount_cents=1.5),
        one("b", "3"),
        one("a", "1"),
        one("a", "1", x=1),
        one("c", "4"),
    ]
    with service.client() as client:
        answer = client.post("/v1/deals/events/batch", json={"events": sent})
        results = answer.json()["results"]
        assert [result["status"] for result in results] == [201, 400, 424, 200, 200, 201]
        assert results[3]["domain_event_id"] == results[0]["domain_event_id"]
        assert "conflict" not in results[3]
        assert results[4]["conflict"] is True
        assert "amount_cents" in results[1]["reason"]
        assert answer.headers["x-ratelimit-remaining"] == "999"
        assert client.get("/v1/").json()["capabilities"] == ["batch", "history"]
    assert history(service.engine, service.org) == [("a", "1"), ("c", "4")]
    assert verify(service.engine, service.org).ok


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"{}", b'{"events":[]}', b'{"events":{}}', b'{"events":[' + b"1," * 500 + b"1]}"]
)
def test_a_batch_that_is_none_is_400(service: Service, body: bytes):
    with service.client() as client:
        answer = client.post("/v1/deals/events/batch", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_page_over_the_limit_is_400_where_that_is_set(sqlite_url: str):
    with (
        engine_at(sqlite_url) as engine,
        served(create_app(engine, choices=Choices(limit_over_max="400"))) as address,
        Service(engine, address).client() as client,
    ):
        assert client.get("/v1/deals?limit=501").json() == {"error": "invalid_request", "reason": "limit: at most 500"}
        assert client.get("/v1/deals?limit=500").status_code == 200


def test_the_metrics_count_requests_and_what_became_of_events(service: Service):
    with service.client() as client:
        for state in ({}, {}, {"x": 1}):
            client.post("/v1/deals/events", json={"external_id": "m", "dedup_key": "m", "state": state})
        client.get("/v1/deals/m/events")
    told = httpx.get(f"{service.address}/metrics").text
    assert 'dealsync_ledger_events_total{outcome="conflict"}' in told
    assert 'dealsync_ledger_requests_total{path="/v1/deals/events",status="201"}' in told
    assert 'path="/v1/deals/{external_id}/events"' in told or 'path="/v1/deals/{external_id:path}/events"' in told


def test_the_metrics_tell_who_waits_and_why_others_were_sent_away(sqlite_url: str):
    with (
        engine_at(sqlite_url) as engine,
        served(create_app(engine, now=now, max_waiting=1)) as address,
        Service(engine, address).client() as client,
    ):

        def told(sample: str) -> float:
            found = re.search(rf"^{re.escape(sample)} (\S+)$", httpx.get(f"{address}/metrics").text, re.MULTILINE)
            return float(found[1]) if found else 0.0

        assert told('dealsync_ledger_waiting{kind="events"}') == 0
        with ThreadPoolExecutor(1) as beside:
            with engine.begin():  # SQLite's one writer
                first = beside.submit(client.post, "/v1/deals/events", json=EVENT)
                eventually(lambda: told('dealsync_ledger_waiting{kind="events"}') == 1, "it waits")
                assert told("dealsync_ledger_oldest_waiting_seconds") > 0
                assert client.post("/v1/deals/events", json=EVENT).status_code == 503
            assert first.result().status_code == 201
        assert told('dealsync_ledger_sent_away_total{reason="full"}') == 1
        assert told('dealsync_ledger_waiting{kind="events"}') == told("dealsync_ledger_oldest_waiting_seconds") == 0
        with engine.begin() as tx:
            tx.execute(text("ALTER TABLE ledger_deals RENAME TO elsewhere"))
        assert [client.post("/v1/deals/events", json=EVENT | {"dedup_key": "k2"}).status_code,
                client.get("/v1/deals").status_code] == [503, 503]  # fmt: skip
        assert told('dealsync_ledger_sent_away_total{reason="failed"}') == 2


def test_a_conflict_is_logged_with_its_key(service: Service, caplog: pytest.LogCaptureFixture):
    with service.client() as client:
        for state in ({}, {"x": 1}):
            client.post("/v1/deals/events", json={"external_id": "m", "dedup_key": "the-key", "state": state})
    assert any("the-key" in record.getMessage() for record in caplog.records)


def test_each_call_of_a_key_is_audited(service: Service):
    made = keys.create(service.engine, name="test", scopes=["deals:read"], org=service.org)
    with service.with_key(made["key"]) as client:
        client.get("/v1/deals")
        client.get("/v1/deals")
        client.post("/v1/deals/events", json=EVENT)
    wanted = {("created", 0): 1, ("GET /v1/deals", 200): 2, ("POST /v1/deals/events", 403): 1}

    def told() -> Counter[tuple[str, int]]:
        found: Counter[tuple[str, int]] = Counter()
        for row in keys.audited(service.engine, made["key_id"]):
            found[row["action"], row["status"]] += row["calls"]
        return found

    eventually(lambda: told() == wanted, "it is written, a moment after the answer", told=lambda: repr(told()))


def test_the_use_of_a_key_is_noted(service: Service):
    with service.client() as client:
        client.get("/v1/")

    def used() -> bool:
        [listed] = [key for key in keys.listed(service.engine) if key["org"] == service.org]
        return listed["last_used_at"] is not None

    eventually(used, "the use of the key is noted: beside the answer, not before it")
