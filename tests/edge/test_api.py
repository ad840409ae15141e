"""The operations API over real HTTP, on both databases: the command line's documents, its verbs, and its faults."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from deals.events import Event
from edge import api
from edge.operations import MAX_BODY
from ledger.port import Answer, Rejected
from pipeline import observe, schedule
from pipeline.audit import list_audits
from pipeline.publish import publish
from pipeline.schedule import Due
from pipeline.store import leases
from tests import servers
from tests.edge.conftest import TOKEN, Cli
from tests.edge.operated import ANN, FINANCE, HOOK, NAME, SECRETS, Lived, Operated, copied, live, opened, operated
from tests.waiting import eventually

WHY = {"reason": "a test"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, lived: Lived) -> Iterator[Operated]:
    """Everything that can be looked at; nothing in this module takes any of it away."""
    folder = tmp_path_factory.mktemp("operated")
    if request.param == "sqlite":
        with copied(folder, lived) as made:
            yield made
    else:
        server, crm = request.getfixturevalue("postgres_server"), PlanhatSimulator(seed=7, deals=130, token=TOKEN)
        with servers.database(server) as url, opened(folder, url, crm) as app, operated(app, crm) as made:
            live(app, crm)
            yield made


@pytest.fixture
def here(tmp_path: Path, lived: Lived) -> Iterator[Operated]:
    """A store of the test's own, in which it may do what it likes."""
    with copied(tmp_path, lived) as made:
        yield made


@pytest.fixture
def ann(world: Operated) -> Iterator[httpx.Client]:
    with world.api() as client:
        yield client


def get(client: httpx.Client, path: str, **asked: object) -> Any:
    answer = client.get(f"{api.PREFIX}{path}", params={name: str(value) for name, value in asked.items()})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def post(client: httpx.Client, path: str, **body: object) -> httpx.Response:
    return client.post(f"{api.PREFIX}{path}", json=body)


def acted(world: Operated) -> list[tuple[object, ...]]:
    return [(one["who"], one["action"], one["reason"], one["outcome"]) for one in list_audits(world.app)]


def calls(client: httpx.Client) -> Iterator[tuple[str, str]]:
    """Every method and path that the document names, with something in the place of each parameter."""
    for path, methods in get(client, "/openapi.json")["paths"].items():
        for method in methods:
            filled = path.replace("{connection}", NAME).replace("{number}", "1").replace("{verb}", "resume")
            yield method.upper(), filled.replace("{external_id}", f"{NAME}:x")


def test_nobody_gets_anything_without_a_token_of_ours(world: Operated, ann: httpx.Client):
    before, known = acted(world), list(calls(ann))
    assert len(known) >= 20
    wrong: list[dict[str, str]] = [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {ANN}x"},
        {"Authorization": f"Bearer {ANN[:-1]}"},
        {"Authorization": f"Basic {ANN}"},
        {"Authorization": ANN},
        {"Cookie": f"dealsync_session={ANN}"},
    ]
    with world.api(None) as client:
        for method, path in [
            *known,
            ("GET", f"{api.PREFIX}/openapi.json"),
            ("GET", "/api/%0a"),
            ("PUT", "/api/"),
        ]:
            for headers in wrong:
                answer = client.request(method, path, headers=headers, params={"token": ANN})
                assert answer.status_code == 401, (method, path, headers)
                assert answer.headers["www-authenticate"] == "Bearer"
                assert answer.json()["error"]["code"] == 4
        twice = client.get(f"{api.PREFIX}/status", headers=[("Authorization", f"Bearer {ANN}")] * 2)
        assert twice.status_code == 401
    assert acted(world) == before


def test_a_token_that_may_only_look_acts_nowhere(world: Operated, ann: httpx.Client):
    before = acted(world)
    with world.api(FINANCE) as client:
        for method, path in calls(ann):
            answer = client.request(method, path, json=WHY if method == "POST" else None)
            expected = (403,) if method == "POST" else (200, 404)
            assert answer.status_code in expected, (method, path, answer.text)
        assert "'finance' is read_only" in post(client, f"/connections/{NAME}/pause", **WHY).text
    assert acted(world) == before


def test_without_a_configured_token_everything_but_the_receiver_and_the_monitors_is_closed(tmp_path: Path):
    crm = PlanhatSimulator(seed=7, deals=3, token=TOKEN)
    store, closed = f"sqlite:///{tmp_path / 'store.db'}", ("/", "/login", "/style.css", "/deals", "/nothing")
    with opened(tmp_path, store, crm, more="") as app, operated(app, crm) as world, world.api() as client:
        for path in (*closed, f"{api.PREFIX}/status", f"{api.PREFIX}/openapi.json"):
            for method in ("GET", "POST"):
                answer = client.request(method, path)
                assert answer.status_code == 403
                assert "[serve] api_tokens" in answer.text
                assert len(answer.text.splitlines()) == 1
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
        assert client.get("/metrics").status_code == 200
        assert client.post(f"/webhooks/{NAME}", json={}).status_code == 401


def test_what_is_read_is_what_the_command_line_prints(world: Operated, ann: httpx.Client, cli: Cli):
    def printed(*arguments: object) -> Any:
        return cli("--config", world.file, *arguments, "--json").document

    deals = printed("deals", "list")["deals"]
    parked, held, backfill = (printed(noun, "list")[key] for noun, key in (
        ("parked", "parked"), ("held", "held"), ("backfill", "backfills"),
    ))  # fmt: skip
    assert (len(deals), len(parked), len(held), len(backfill)) == (128, 2, 1, 1)
    fifth = deals[4]["external_id"]
    same = [
        ("/deals", {"limit": 1000}, ("deals", "list")),
        ("/deals", {"limit": 2, "after": fifth}, ("deals", "list", "--limit", 2, "--after", fifth)),
        ("/parked", {}, ("parked", "list")),
        ("/parked", {"connection": NAME, "after": parked[0]["id"]}, ("parked", "list", "--after", parked[0]["id"])),
        ("/incidents", {}, ("incidents", "list")),
        ("/incidents/1", {}, ("incidents", "show", 1)),
        ("/deliveries", {}, ("deliveries", "list")),
        ("/backfills", {}, ("backfill", "list")),
        (f"/backfills/{backfill[0]['id']}", {}, ("backfill", "show", backfill[0]["id"])),
        (f"/connections/{NAME}/drift", {}, ("mapping", "drift", NAME)),
        (f"/connections/{NAME}/checkpoint", {}, ("checkpoint", "show", NAME)),
        ("/audit", {}, ("audit",)),
        ("/audit", {"limit": 1}, ("audit", "--limit", 1)),
    ]  # fmt: skip
    for one in (deals[0], deals[20], next(one for one in deals if one["deleted"])):
        same += [(f"/deals/{one['external_id']}", {}, ("deals", "show", one["external_id"]))]
        same += [(f"/explain/{one['external_id']}", {}, ("explain", one["external_id"]))]
    for path, asked, arguments in same:
        assert get(ann, path, **asked) == printed(*arguments), path
    for path, arguments in (
        (f"/parked/{parked[1]['id']}", ("parked", "show", parked[1]["id"])),
        ("/held", ("held", "list")),
        (f"/held/{held[0]['id']}", ("held", "show", held[0]["id"])),
        ("/status", ("status",)),
    ):
        assert still(get(ann, path)) == still(printed(*arguments)), path


def still(document: Any) -> Any:
    """A document without what moves while one looks."""
    text_of_it = re.sub(r'"age_seconds": \d+', "", json.dumps(document, sort_keys=True))
    return re.sub(r'"at": "[^"]+"', "", text_of_it)


def test_a_list_is_walked_by_its_links_each_row_once(ann: httpx.Client):
    def walked(path: str, key: str, field: str) -> tuple[list[Any], int]:
        seen, pages, following = [], 0, f"{api.PREFIX}{path}"
        while following:
            answer = ann.get(following)
            seen += [row[field] for row in answer.json()[key]]
            pages += 1
            following = answer.links.get("next", {}).get("url", "")
        return seen, pages

    deals, pages = walked("/deals?connection=planhat&limit=30", "deals", "external_id")
    assert (deals, pages) == ([one["external_id"] for one in get(ann, "/deals", limit=1000)["deals"]], 5)
    runs, _ = walked("/runs?limit=2", "runs", "run")
    assert runs == sorted(runs, reverse=True)
    assert len(set(runs)) == len(runs) == len(get(ann, "/runs")["runs"])
    assert {run["kind"] for run in get(ann, "/runs", kind="sweep")["runs"]} == {"sweep"}
    assert get(ann, "/runs", connection=NAME, before=1) == {"runs": []}


def test_the_months_of_the_latest_reconcile_are_told(ann: httpx.Client):
    found = get(ann, f"/connections/{NAME}/windows")
    assert len(found["windows"]) > 10
    assert {one["run"] for one in found["windows"]} == {get(ann, "/runs", kind="reconcile")["runs"][0]["run"]}
    months = [one["month"] for one in found["windows"] if one["month"]]
    assert months == sorted(months)


def test_the_bytes_of_a_parked_record_are_the_very_bytes(world: Operated, ann: httpx.Client):
    entry = get(ann, "/parked")["parked"][0]
    answer = ann.get(f"{api.PREFIX}/parked/{entry['id']}/bytes")
    assert (answer.headers["content-type"], answer.headers["x-content-type-options"]) == (
        "application/octet-stream", "nosniff",
    )  # fmt: skip
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.content.decode() == get(ann, f"/parked/{entry['id']}")["raw"]
    assert json.loads(answer.content)["_id"] == entry["source_id"]


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("/deals/planhat:nobody", {}, 404),
        ("/explain/planhat:nobody", {}, 404),
        ("/explain/%2e%2e%2f%00", {}, 404),
        ("/parked/999", {}, 404),
        ("/parked/999/bytes", {}, 404),
        ("/held/999", {}, 404),
        ("/incidents/999", {}, 404),
        ("/deliveries", {"after": "nothing"}, 404),
        ("/deliveries", {"state": "lost"}, 422),
        ("/backfills/999", {}, 404),
        ("/connections/planhut/windows", {}, 404),
        ("/deals", {"connection": "planhut"}, 404),
        ("/deals", {"after": "planhat:nobody"}, 404),
        ("/nothing", {}, 404),
        ("/parked/0", {}, 422),
        ("/parked/one", {}, 422),
        (f"/parked/{10**30}", {}, 422),
        ("/deals", {"limit": 0}, 422),
        ("/deals", {"limit": 1001}, 422),
        ("/deals", {"limit": "many"}, 422),
        ("/runs", {"before": -1}, 422),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_told_in_the_envelope(
    ann: httpx.Client, path: str, asked: dict[str, Any], status: int
):
    answer = ann.get(f"{api.PREFIX}{path}", params=asked)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == 2
    assert all(line.strip() and "\n" not in line for line in answer.json()["error"]["messages"])


def test_every_answer_is_as_the_openapi_document_says(world: Operated, ann: httpx.Client):
    document = get(ann, "/openapi.json")
    routes = [getattr(route, "path", "") for noun in api.NOUNS for route in noun.router.routes]
    assert set(document["paths"]) == {api.PREFIX + path.replace(":path", "") for path in routes}
    deal, parked = get(ann, "/deals", limit=1)["deals"][0], get(ann, "/parked")["parked"][0]
    number = {"parked": parked["id"], "backfills": get(ann, "/backfills")["backfills"][0]["id"]}
    for path, methods in document["paths"].items():
        if "get" not in methods or path.endswith("/bytes"):
            continue
        filled = {"external_id": deal["external_id"], "connection": NAME, "number": number.get(path.split("/")[3], 1)}
        answer = ann.get(path.format(**filled))
        assert answer.status_code == 200, path
        for response, told in (("200", answer), ("default", ann.get(f"{api.PREFIX}/nothing"))):
            schema = methods["get"]["responses"][response]["content"]["application/json"]["schema"]
            jsonschema.validate(told.json(), {**schema, "components": document["components"]})


def test_no_secret_is_told_by_anything(world: Operated, ann: httpx.Client):
    for method, path in calls(ann):
        answer = ann.request(method, path, json={} if method == "POST" else None)
        assert not [one for one in SECRETS if one in answer.text or one in str(answer.headers)], path


def test_whoever_acts_says_why_and_is_written_down_by_the_name_of_their_token(here: Operated):
    before = len(acted(here))
    with here.api() as ann:
        for body in ({}, {"reason": ""}, {"reason": "  "}, {"reason": 3}, {"reason": "x" * 1001}, {**WHY, "more": 1}):
            assert post(ann, f"/connections/{NAME}/pause", **body).status_code == 422, body
        assert ann.post(f"{api.PREFIX}/connections/{NAME}/pause", content=b"{").status_code == 422
        assert len(acted(here)) == before
        paused = post(ann, f"/connections/{NAME}/pause", reason=" a migration ").json()
        assert (paused["connection"], set(paused["paused"])) == (NAME, {"since", "who", "reason"})
        assert get(ann, "/status")["connections"][0]["paused"] == paused["paused"]
        assert post(ann, f"/connections/{NAME}/resume", **WHY).json() == {
            "connection": NAME, "paused": None, "was_paused": True,
        }  # fmt: skip
        assert post(ann, "/connections/planhut/pause", **WHY).status_code == 404
    assert acted(here)[before:] == [("ann", "pause", "a migration", "paused"), ("ann", "resume", "a test", "resumed")]


def test_a_run_is_asked_for_and_left_to_whoever_does_the_schedule(here: Operated):
    assert Due("sweep", NAME) not in schedule.due(here.app)
    with here.api() as ann:
        runs = get(ann, "/runs")
        answer = post(ann, f"/connections/{NAME}/sweep", **WHY)
        assert (answer.status_code, answer.json()) == (202, {"rung": "sweep planhat"})
        assert get(ann, "/runs") == runs, "nothing has run yet"
        assert post(ann, f"/connections/{NAME}/publish", **WHY).status_code == 422
        assert post(ann, "/connections/planhut/sweep", **WHY).status_code == 404
    assert Due("sweep", NAME) in schedule.due(here.app)


def test_parked_entries_are_retried_and_discarded(here: Operated):
    with here.api() as ann:
        first, second = (one["id"] for one in get(ann, "/parked")["parked"])
        for body in ({}, {"ids": []}, {"ids": [first], "all": True}, {"ids": [first], "code": "X"}, {"all": False}):
            assert post(ann, "/parked/retry", **WHY, **body).status_code == 422, body
        (retried,) = post(ann, "/parked/retry", **WHY, ids=[first]).json()["retried"]
        assert (retried["connection"], retried["read"], retried["parked"]) == (NAME, 1, 1)
        (retried,) = post(ann, "/parked/retry", **WHY, code="UNKNOWN_STAGE").json()["retried"]
        assert retried["read"] == 2
        rest = post(ann, "/parked/retry", **WHY, all=True, after=first).json()
        assert ([one["read"] for one in rest["retried"]], rest["after"]) == ([1], None)
        assert post(ann, "/parked/retry", **WHY, ids=[999]).status_code == 409
        assert post(ann, "/parked/retry", **WHY, connection="planhut").status_code == 409
        assert post(ann, "/parked/discard", **WHY, ids=[second]).json() == {"discarded": 1}
        assert post(ann, "/parked/discard", **WHY, ids=[second]).json() == {"discarded": 0}
        assert [one["id"] for one in get(ann, "/parked")["parked"]] == [first]


def test_a_refused_event_is_never_discarded_and_has_no_bytes(here: Operated):
    deal = f"{NAME}:{here.crm.ids()[7]}"
    append = here.app.ledger.append

    def refusing(events: Sequence[Event]) -> list[Answer]:
        answers = iter(append([one for one in events if one.external_id != deal]))
        return [Rejected("REFUSED", "not today") if one.external_id == deal else next(answers) for one in events]

    here.app.ledger.append = refusing  # type: ignore[method-assign]
    publish(here.app)
    with here.api() as ann:
        (entry,) = (one for one in get(ann, "/parked")["parked"] if one["source_id"] == deal.partition(":")[2])
        answer = post(ann, "/parked/discard", **WHY, ids=[entry["id"]])
        assert (answer.status_code, "cannot be discarded" in answer.text) == (409, True)
        assert ann.get(f"{api.PREFIX}/parked/{entry['id']}/bytes").status_code == 404


def test_a_held_set_is_released_once_or_discarded_once(here: Operated):
    with here.api() as ann:
        (one,) = get(ann, "/held")["held"]
        count = one["events"]
        assert len(get(ann, f"/held/{one['id']}")["waiting"]) == count
        with leases.hold(here.app.store, "publish"):
            busy = post(ann, f"/held/{one['id']}/discard", **WHY)
        assert (busy.status_code, busy.json()["error"]["code"]) == (409, 7)
        done = post(ann, f"/held/{one['id']}/discard", **WHY)
        assert done.json() == {"discarded": count, "let_go": 0, "put_back": count}
        assert post(ann, f"/held/{one['id']}/release", **WHY).status_code == 409
        assert post(ann, "/held/999/release", **WHY).status_code == 404
        assert get(ann, "/held") == {"held": []}
        assert get(ann, f"/held/{one['id']}")["decided_by"] == "ann"


def test_an_incident_is_acknowledged_once(here: Operated):
    with here.api() as ann:
        (one,) = get(ann, "/incidents")["incidents"]
        assert (one["events"], get(ann, "/status")["ledger"]["incidents"]) == (1, 1)
        assert len(get(ann, f"/incidents/{one['id']}")["met"]) == 1
        assert post(ann, f"/incidents/{one['id']}/acknowledge", **WHY).json() == {"acknowledged": 1}
        assert post(ann, f"/incidents/{one['id']}/acknowledge", **WHY).status_code == 409
        assert post(ann, "/incidents/999/acknowledge", **WHY).status_code == 404
        assert get(ann, "/incidents") == {"incidents": []}
        assert [row["decided_by"] for row in get(ann, "/incidents", all=True)["incidents"]] == ["ann"]


def test_a_delivery_that_was_not_simply_heeded_is_told_without_what_it_said(here: Operated):
    with here.api(None) as sender, here.api() as ann:
        told = sender.post(f"/webhooks/{NAME}", json={"body": "canary"}, headers={"X-Planhat-Secret": HOOK})
        assert told.status_code == 202
        unreadable = lambda: get(ann, "/deliveries", state="unreadable")["deliveries"]  # noqa: E731
        found = eventually(unreadable, "it was looked at")
        assert (found[0]["id"], found[0]["connection"]) == (told.json()["delivery"], NAME)
        assert "canary" not in json.dumps(found)
        assert get(ann, "/deliveries", after=found[0]["id"]) == {"deliveries": []}


def test_a_backfill_is_looked_at_first_then_carried_out_by_others(here: Operated):
    with here.api() as ann:
        asked = {**WHY, "connection": NAME, "since": "2024-06-01"}
        for wrong in ({"connection": "planhut"}, {"since": "2999-01-01"}, {"until": "2020-01-01"}):
            assert post(ann, "/backfills", **(asked | wrong)).status_code == 409, wrong
        assert "neither a day" in post(ann, "/backfills", **(asked | {"since": "June"})).text
        answer = post(ann, "/backfills", **asked)
        (one,) = answer.json()["backfills"]
        assert (answer.status_code, one["state"], one["since"]) == (202, "planned", "2024-06-01T00:00:00.000Z")
        path = f"/backfills/{one['id']}"
        while not (looked := get(ann, path)["backfills"][0])["plan"] or any(
            chunk["expected"] is None for chunk in looked["plan"]
        ):
            pass
        assert looked["expected"]["no_ops"] > 0
        assert post(ann, f"{path}/pause", **WHY).status_code == 409, "what does not run cannot be paused"
        assert post(ann, f"{path}/resume", **WHY).json()["backfills"][0]["state"] == "running"
        assert post(ann, f"{path}/pause", **WHY).json()["backfills"][0]["state"] == "paused"
        other = post(ann, "/backfills", **asked, dry_run=False)
        assert (other.status_code, other.json()["error"]["code"]) == (409, 7)
        assert post(ann, f"{path}/cancel", **WHY).json()["backfills"][0]["state"] == "cancelled"
        started = post(ann, "/backfills", **asked, dry_run=False)
        assert (started.status_code, started.json()["backfills"][0]["state"]) == (202, "running")
        assert post(ann, "/backfills/999/retry", **WHY).status_code == 404


def test_what_nobody_foresaw_is_told_without_its_text_and_logged_under_a_number(
    here: Operated, capsys: pytest.CaptureFixture[str]
):
    observe.configure("json", "error")
    with here.app.store.write() as tx:
        tx.execute(text("UPDATE reconciliation_windows SET held = 'bug-canary'"))
    with here.api() as ann:
        answer = ann.get(f"{api.PREFIX}/connections/{NAME}/windows")
        (said,) = answer.json()["error"]["messages"]
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, 1)
        assert "this is a bug in dealsync (JSONDecodeError)" in said
        assert "canary" not in answer.text + str(answer.headers)
        assert get(ann, "/status")["connections"], "the next one is answered"
    (number,) = re.findall(r"report=(\w+)$", said)
    (logged,) = [line for line in capsys.readouterr().err.splitlines() if number in line]
    assert "JSONDecodeError" in logged


def test_a_body_that_is_too_large_is_not_read(here: Operated):
    with here.api() as ann:
        answer = post(ann, f"/connections/{NAME}/pause", reason="x" * MAX_BODY)
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, 2)
        chunked = ann.post(f"{api.PREFIX}/parked/retry", content=iter([b"x" * 1000] * 100))
        assert chunked.status_code == 413
    assert not [one for one in acted(here) if one[0] == "ann" and one[1] == "pause" and one[2] != acted(here)[0][2]]


def test_a_store_that_is_away_is_told_with_when_to_come_again(here: Operated):
    with here.app.store.write() as tx:
        tx.execute(text("ALTER TABLE pauses RENAME TO mislaid"))
    with here.api() as ann:
        answer = ann.get(f"{api.PREFIX}/status")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, 3)
        assert "dealsync migrate" in answer.text
