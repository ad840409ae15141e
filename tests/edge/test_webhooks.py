"""Webhooks: a real server over real HTTP: what it accepts is kept, what it refuses has cost and changed nothing."""

from __future__ import annotations

import hmac
import json
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_sender import Outgoing
from connectors.simulation import asgi, serve
from ledger.engine import connect
from pipeline import settings
from pipeline.wiring import migrate
from tests.edge.conftest import TOKEN
from tests.edge.served import CONFIG, SECRET, SEGMENTS, Server, serving
from tests.waiting import eventually


def saying(number: int) -> bytes:
    return b'{"v":1,"tenant":"t","model":"Deal","op":"update","id":"%024x","updatedAt":"undefined"}' % number


def in_inbox(store: str) -> dict[str, bytes]:
    """The deliveries that are kept, by the id that their sender was given."""
    engine = connect(store)
    with engine.begin() as tx:
        found = {bytes(row.name).hex(): bytes(row.body) for row in tx.execute(text("SELECT name, body FROM inbox"))}
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def store(folder: Path) -> str:
    return f"sqlite:///{folder / 'store.db'}"


@pytest.fixture(scope="module")
def server(folder: Path, store: str) -> Iterator[Server]:
    with serving(folder, store) as server:
        yield server
        assert SECRET not in server.log()
        assert not any(segment in server.log() for segment in SEGMENTS)
        assert "Traceback" not in server.log()


def test_a_delivery_is_kept_and_told_by_one_id_however_often_it_comes(server: Server, store: str):
    body = saying(1)
    first, second = server.post(body), server.post(body)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json() == second.json()
    assert in_inbox(store)[first.json()["delivery"]] == body
    assert first.headers["content-type"] == "application/json"


def test_a_signature_proves_a_delivery_whatever_its_type_is_called(server: Server, store: str):
    for kind in ("application/json", "application/vnd.crm+json; charset=utf-8", ""):
        body = saying(2) + b" " * len(kind)
        signature = "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()
        answer = server.post(body, "signed", X_Signature=signature, Content_Type=kind)
        assert (answer.status_code, in_inbox(store)[answer.json()["delivery"]]) == (202, body)


def test_proven_nonsense_is_accepted_and_counted(server: Server):
    for body in (b"", b"not JSON", b"[" * 100_000, b'{"id":1,"id":2}', b"\x00\xff"):
        assert server.post(body).status_code == 202
    unreadable = 'dealsync_unreadable{connection="planhat"} 5.0'
    eventually(lambda: unreadable in server.http.get("/metrics").text, "each is counted")


@pytest.mark.parametrize(
    ("status", "send"),
    [
        (401, lambda server: server.post(saying(9), X_Planhat_Secret="guess")),
        (401, lambda server: server.post(saying(9), X_Planhat_Secret=SECRET + "x")),
        (401, lambda server: server.post(saying(9), X_Planhat_Secret="")),
        (401, lambda server: server.post(b"[" * 1_000_000, X_Planhat_Secret="guess")),
        (401, lambda server: server.post(saying(9), "signed", X_Signature="sha256=" + "0" * 64)),
        (401, lambda server: server.post(saying(9), "signed")),
        (404, lambda server: server.post(saying(9), "nobody")),
        (404, lambda server: server.post(saying(9), "deaf")),
        (404, lambda server: server.post(saying(9), "planhat/")),
        (404, lambda server: server.post(saying(9), "")),
        (405, lambda server: server.http.get("/webhooks/planhat")),
        (405, lambda server: server.http.put("/webhooks/planhat", content=saying(9))),
        (413, lambda server: server.post(b"x" * (1024 * 1024 + 1))),
        (413, lambda server: server.http.post("/webhooks/planhat", content=(b"x" * 65536 for _ in range(20)),
                                              headers={"content-type": "application/json"})),
        (415, lambda server: server.post(saying(9), Content_Type="text/plain")),
        (415, lambda server: server.post(saying(9), Content_Type="application/x-www-form-urlencoded")),
        (415, lambda server: server.post(saying(9), Content_Type="")),
        (415, lambda server: server.post(saying(9), Content_Encoding="gzip")),
    ],
)  # fmt: skip
def test_what_is_refused_is_told_why_by_a_number_and_is_kept_nowhere(
    server: Server, store: str, status: int, send: Callable[[Server], object]
):
    before = in_inbox(store)
    answer = send(server)
    assert answer.status_code == status  # type: ignore[attr-defined]
    assert list(answer.json()) == ["error"]  # type: ignore[attr-defined]
    assert in_inbox(store) == before


@pytest.mark.parametrize("segment", SEGMENTS)
def test_an_address_that_a_connection_keeps_to_itself_takes_its_deliveries(server: Server, store: str, segment: str):
    body = saying(21 + SEGMENTS.index(segment))
    answer = server.post(body, f"private/{segment}")
    assert (answer.status_code, in_inbox(store)[answer.json()["delivery"]]) == (202, body)
    assert server.post(body, f"private/{segment}", X_Planhat_Secret="guess").status_code == 401
    assert server.http.get(f"/webhooks/private/{segment}").status_code == 405
    told = server.http.get("/metrics").text
    assert "dealsync_published_total 0.0" in told, "what the store's runs came to is told as well"
    assert 'dealsync_deliveries_total{connection="private",outcome="accepted"}' in told
    assert "canary" not in told


@pytest.mark.parametrize(
    "place",
    [
        "private",
        "private/",
        f"private/{SEGMENTS[0][:-1]}",
        f"private/{SEGMENTS[0]}x",
        f"private/{SEGMENTS[0]}/",
        f"private/{SEGMENTS[0].upper()}",
        f"private//{SEGMENTS[0]}",
        f"private/{SEGMENTS[0]}%00",
        f"private/{SEGMENTS[0]}/{SEGMENTS[1]}",
        f"/private/{SEGMENTS[0]}",
        f"planhat/{SEGMENTS[0]}",
        f"nobody/{SEGMENTS[0]}",
        SEGMENTS[0],
        "private/%FF%FE",
        "private/" + "x" * 5000,
    ],
)
def test_any_other_address_is_answered_as_if_there_were_no_such_connection(server: Server, store: str, place: str):
    """Whatever the request is: with the secret, without it, no POST, too large, no JSON."""
    before = in_inbox(store)
    url, json_type = f"/webhooks/{place}", {"Content-Type": "application/json"}
    for ask in (
        lambda to: server.http.post(to, content=saying(9), headers={"X-Planhat-Secret": SECRET, **json_type}),
        lambda to: server.http.post(to, content=saying(9), headers=json_type),
        lambda to: server.http.get(to),
        lambda to: server.http.post(to, content=b"x", headers={"Content-Type": "text/plain"}),
        lambda to: server.http.post(to, content=b"x", headers={**json_type, "Content-Encoding": "gzip"}),
        lambda to: server.http.post(to, content=b"x" * (1024 * 1024 + 1), headers=json_type),
    ):
        here, nowhere = ask(url), ask("/webhooks/nobody")
        assert (here.status_code, here.content) == (nowhere.status_code, nowhere.content)
        assert here.status_code == 404
        assert [name for name in here.headers if name != "date"] == [name for name in nowhere.headers if name != "date"]
    assert in_inbox(store) == before
    refused = [line for line in server.http.get("/metrics").text.splitlines() if 'reason="unrouted"' in line]
    assert [line.partition("}")[0] for line in refused] == [
        'dealsync_deliveries_refused_total{connection="",reason="unrouted"'
    ]


def test_a_body_that_comes_in_pieces_is_one_body(server: Server, store: str):
    answer = server.http.post(
        "/webhooks/planhat",
        content=iter([saying(31)[:10], saying(31)[10:]]),
        headers={"X-Planhat-Secret": SECRET, "Content-Type": "application/json"},
    )
    assert (answer.status_code, in_inbox(store)[answer.json()["delivery"]]) == (202, saying(31))


def test_senders_that_never_finish_hold_up_nobody(server: Server):
    head = f"POST /webhooks/planhat HTTP/1.1\r\nhost: x\r\nx-planhat-secret: {SECRET}\r\n".encode()
    lines = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for line in lines:
        line.sendall(head + b"content-type: application/json\r\ncontent-length: 100\r\n\r\n{")
    for number in range(40, 60):
        assert server.post(saying(number)).status_code == 202
    lines[0].settimeout(20)
    assert b" 408 " in lines[0].recv(4096)
    for line in lines:
        line.close()


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /webhooks/planhat HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}   ",
        b"POST /webhooks/planhat HTTP/1.1\r\nhost: x\r\ncontent-length: 1e3\r\n\r\n{}",
        b"POST /webhooks/planhat HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n{}",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"POST " + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_and_the_server_lives(server: Server, store: str, request_: bytes):
    before = in_inbox(store)
    with server.line() as line:
        line.sendall(request_)
        line.shutdown(socket.SHUT_WR)
        answer = line.recv(4096)
    assert not answer or answer.split()[1][:1] == b"4"
    assert (server.http.get("/livez").status_code, in_inbox(store)) == (200, before)


def test_monitors_are_told_how_it_is(server: Server):
    assert server.http.get("/livez").json() == {"alive": True}
    assert server.http.get("/readyz").json() == {"ready": True}
    server.post(saying(71))
    server.post(saying(71), X_Planhat_Secret="guess")
    told = server.http.get("/metrics").text
    assert 'dealsync_deliveries_total{connection="planhat",outcome="accepted"}' in told
    assert 'dealsync_deliveries_refused_total{connection="planhat",reason="wrong"}' in told
    assert all(f'dealsync_{level}{{connection="planhat"}}' in told for level in ("waiting", "hinted", "unpublished"))


def test_a_store_that_cannot_commit_is_answered_503_and_never_2xx(server: Server, store: str):
    with sqlite3.connect(store.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = server.post(saying(81))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        other.execute("COMMIT")
    assert server.post(saying(81)).status_code == 202


def test_what_happens_at_the_crm_is_known_without_a_pull_and_without_a_broker(tmp_path: Path):
    crm = PlanhatSimulator(seed=3, deals=5, token=TOKEN)
    with serve(asgi(crm)) as url, serving(tmp_path, f"sqlite:///{tmp_path / 's.db'}", url, TOKEN) as server:

        def post(attempt: Outgoing) -> int:
            headers = {**attempt.headers, "Content-Type": "application/json"}
            return server.http.post("/webhooks/planhat", content=attempt.body, headers=headers).status_code

        sender = crm.automate(post, headers=lambda: {"X-Planhat-Secret": SECRET})
        with crm.exclusive():
            crm.edit(crm.ids()[0], total=4321)
        crm.settle()
        assert sender.statuses == [202]
        state = f"SELECT state FROM events WHERE source_id = '{crm.ids()[0]}'"
        engine = connect(f"sqlite:///{tmp_path / 's.db'}")

        def known() -> bool:
            with engine.begin() as tx:
                return [json.loads(one)["amount_cents"] for one in tx.execute(text(state)).scalars()] == [432_100]

        eventually(known, "it is known", told=server.log)
        engine.dispose()
        begun = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - begun < 15


@pytest.mark.timeout(120)
def test_whatever_was_accepted_is_in_the_inbox_of_a_server_that_was_killed(tmp_path: Path, database_url: str):
    """Many senders at once, and SIGKILL in their midst: every 202 that left is kept, three times over."""
    migrated(tmp_path, database_url)
    accepted: dict[str, bytes] = {}
    for life in range(3):
        with serving(tmp_path, database_url) as server:
            senders = [
                threading.Thread(target=_send, args=(server.port, life * 100 + number, accepted))
                for number in range(16)
            ]
            for sender in senders:
                sender.start()
            enough = len(accepted) + 300
            eventually(lambda enough=enough: len(accepted) > enough, "more are accepted")  # type: ignore[misc]
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
            for sender in senders:
                sender.join()
    kept = in_inbox(database_url)
    assert len(accepted) > 900
    assert {name: kept.get(name) for name in accepted} == accepted


@pytest.mark.timeout(120)
def test_nobody_is_told_of_a_delivery_whose_commit_is_still_under_way(tmp_path: Path, database_url: str):
    """The database is held while deliveries come, then SIGKILL: what was answered before its commit is lost."""
    migrated(tmp_path, database_url)
    accepted: dict[str, bytes] = {}
    with serving(tmp_path, database_url) as server:
        assert server.post(saying(1)).status_code == 202
        with held(database_url):
            senders = [threading.Thread(target=_send, args=(server.port, number, accepted)) for number in range(2, 18)]
            for sender in senders:
                sender.start()
            ends = time.monotonic() + 1.5
            while not accepted and time.monotonic() < ends:
                time.sleep(0.02)
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
            for sender in senders:
                sender.join()
    kept = in_inbox(database_url)
    assert {name: kept.get(name) for name in accepted} == accepted
    assert saying(1) in kept.values()
    with serving(tmp_path, database_url) as server:
        assert server.post(saying(2_000_000)).status_code == 202


def test_a_commit_that_fails_at_its_very_end_is_answered_503(tmp_path: Path, database_url: str):
    """Every row was written, and then the database says no: whoever had answered by then has lost a delivery."""
    migrated(tmp_path, database_url)
    with serving(tmp_path, database_url) as server:
        engine = connect(database_url)
        doom = FAILS_AT_COMMIT[engine.dialect.name]
        with engine.begin() as tx:
            for statement in doom:
                tx.exec_driver_sql(statement)
        answer = server.post(saying(1))
        assert (answer.status_code, in_inbox(database_url)) == (503, {})
        with engine.begin() as tx:
            tx.exec_driver_sql("DROP TRIGGER doomed" + (" ON inbox" if engine.dialect.name == "postgresql" else ""))
        engine.dispose()
        assert server.post(saying(1)).status_code == 202


FAILS_AT_COMMIT = {
    "sqlite": [
        "CREATE TABLE doom (id INTEGER REFERENCES doom_never (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TABLE doom_never (id INTEGER PRIMARY KEY)",
        "CREATE TRIGGER doomed AFTER INSERT ON inbox BEGIN INSERT INTO doom VALUES (1); END",
    ],
    "postgresql": [
        "CREATE FUNCTION doom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'doomed'; END $$",
        "CREATE CONSTRAINT TRIGGER doomed AFTER INSERT ON inbox DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION doom()",
    ],
}
"""What makes every commit of a delivery fail, after all of its statements went well."""


def migrated(folder: Path, store: str) -> None:
    (folder / "dealsync.toml").write_text(CONFIG.format(store=store, crm="http://127.0.0.1:9"))
    migrate(settings.load(folder / "dealsync.toml", {"PLANHAT_TOKEN": "t", "HOOK_SECRET": SECRET}))


@contextmanager
def held(store: str) -> Iterator[None]:
    """Meanwhile nobody else can commit a delivery."""
    engine = connect(store)
    with engine.connect() as tx, tx.begin():
        if engine.dialect.name == "postgresql":
            tx.execute(text("LOCK TABLE inbox IN EXCLUSIVE MODE"))
        yield
    engine.dispose()


def _send(port: int, sender: int, accepted: dict[str, bytes]) -> None:
    """Deliver one after the other until the server is gone, and note each 202."""
    with socket.create_connection(("127.0.0.1", port)) as line:
        for number in range(100_000):
            body = saying(sender * 1_000_000 + number)
            head = (
                f"POST /webhooks/planhat HTTP/1.1\r\nhost: x\r\nx-planhat-secret: {SECRET}\r\n"
                f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            try:
                line.sendall(head.encode() + body)
                answer = b""
                while not answer.endswith(b"}"):
                    got = line.recv(4096)
                    if not got:
                        return
                    answer += got
            except OSError:
                return
            if answer.startswith(b"HTTP/1.1 202"):
                accepted[json.loads(answer.rpartition(b"\r\n")[2])["delivery"]] = body
