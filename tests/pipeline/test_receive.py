"""Receive: a delivery is said to be accepted once its bytes are committed, and never before."""

from __future__ import annotations

import hmac
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from structlog.testing import capture_logs

from connectors.planhat import SOURCE
from connectors.planhat.simulator import PlanhatSimulator
from connectors.signatures import Unproven
from pipeline import receive, settings
from pipeline.faults import SettingsError
from pipeline.receive import Delivery, Intake, Outcome, doors
from pipeline.sections import Webhook
from pipeline.wiring import App, migrate, open_app
from tests.pipeline.delivering import WEBHOOK, states
from tests.pipeline.world import NAME, TOKEN


class Answers:
    """What the intake said became of what it was offered."""

    def __init__(self) -> None:
        self.told: dict[Any, Outcome] = {}
        self.batches: list[int] = []
        self._changed = threading.Condition()

    def __call__(self, outcomes: Sequence[tuple[Any, Delivery, Outcome]]) -> None:
        with self._changed:
            self.batches.append(len(outcomes))
            self.told.update({ticket: outcome for ticket, _, outcome in outcomes})
            self._changed.notify_all()

    def when(self, number: int) -> dict[Any, Outcome]:
        """All answers, once there are so many."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.told) >= number, 20), self.told
        return self.told


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    return open_world(crm, connection=WEBHOOK)


@pytest.fixture
def answers() -> Answers:
    return Answers()


@pytest.fixture
def intake(app: App, answers: Answers) -> Iterator[Intake]:
    intake = Intake(app.store, answers)
    yield intake
    intake.close()


def delivery(number: int, *, lasting: bool = True) -> Delivery:
    return Delivery(number.to_bytes(16), 1, b'{"number":%d}' % number, "{}", lasting)


def bodies(app: App) -> list[bytes]:
    with app.store.read() as tx:
        return sorted(bytes(body) for body in tx.execute(text("SELECT body FROM inbox")).scalars())


def test_what_is_accepted_lies_in_the_inbox_byte_for_byte(app: App, intake: Intake, answers: Answers):
    body = b"\x00\xff not even JSON \r\n" * 1000
    intake.offer("a", Delivery(b"n" * 16, 1, body, '{"content-type":"application/json"}', True))
    assert answers.when(1) == {"a": "accepted"}
    with app.store.read() as tx:
        row = tx.execute(text("SELECT body, headers, state FROM inbox")).one()
    assert (bytes(row.body), row.headers, row.state) == (body, '{"content-type":"application/json"}', "waiting")


def test_a_repetition_is_known_also_within_one_commit(app: App, intake: Intake, answers: Answers):
    for ticket, number in enumerate([1, 2, 1, 1, 3, 2]):
        intake.offer(ticket, delivery(number))
    assert Counter(answers.when(6).values()) == {"accepted": 3, "known": 3}
    assert len(bodies(app)) == 3


def test_a_repetition_that_may_be_another_happening_waits_again(app: App, intake: Intake, answers: Answers):
    for lasting in (True, False):
        intake.offer(lasting, delivery(int(lasting), lasting=lasting))
    answers.when(2)
    with app.store.write() as tx:
        tx.execute(text("UPDATE inbox SET state = 'heeded'"))
    intake.offer("again", delivery(0, lasting=False))
    intake.offer("told again", delivery(1))
    assert answers.when(4)["again"] == answers.when(4)["told again"] == "known"
    assert states(app) == {"waiting": 1, "heeded": 1}


def test_deliveries_that_arrive_during_a_commit_share_the_next(app: App, answers: Answers):
    commits = 0
    first_of_deliveries = 2 if app.store.engine.dialect.name == "postgresql" else 1  # it sets its connection up
    held, first = threading.Event(), threading.Event()

    def count(_: object) -> None:
        nonlocal commits
        commits += 1
        if commits == first_of_deliveries:
            first.set()
            held.wait(10)

    event.listen(app.store.engine, "commit", count)
    intake = Intake(app.store, answers)
    intake.offer(0, delivery(0))
    assert first.wait(10)
    for number in range(1, 100):
        intake.offer(number, delivery(number))
    assert (answers.told, intake.busy_s() > 0) == ({}, True)
    held.set()
    assert set(answers.when(100).values()) == {"accepted"}
    assert answers.batches == [1, 99]
    intake.close()
    event.remove(app.store.engine, "commit", count)


def test_what_was_offered_before_the_end_is_committed(app: App, answers: Answers):
    intake = Intake(app.store, answers)
    for number in range(50):
        intake.offer(number, delivery(number))
    intake.close()
    assert len(answers.told) == len(bodies(app)) == 50


def test_a_commit_that_fails_is_not_called_accepted_and_the_next_one_may_succeed(
    app: App, intake: Intake, answers: Answers
):
    with app.store.write() as tx:
        tx.execute(text("ALTER TABLE inbox RENAME TO elsewhere"))
    for number in range(5):
        intake.offer(number, delivery(number))
    assert set(answers.when(5).values()) == {"failed"}
    with app.store.write() as tx:
        tx.execute(text("ALTER TABLE elsewhere RENAME TO inbox"))
    intake.offer("later", delivery(0))
    assert answers.when(6)["later"] == "accepted"
    assert len(bodies(app)) == 1


def test_a_database_that_was_restarted_costs_no_delivery(
    open_world: Callable[..., App], crm: PlanhatSimulator, answers: Answers, database_url: str
):
    if database_url.startswith("sqlite"):
        pytest.skip("an embedded database has no server that could restart")
    app = open_world(crm, connection=WEBHOOK)
    intake = Intake(app.store, answers)
    intake.offer("before", delivery(0))
    answers.when(1)
    app.store.engine.dispose()
    with app.store.write() as tx:
        mine = "datname = current_database() AND pid <> pg_backend_pid()"
        tx.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}"))
    intake.offer("after", delivery(1))
    assert answers.when(2)["after"] == "accepted"
    intake.close()


def test_a_store_that_hangs_is_given_up(app: App, answers: Answers, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(receive, "STATEMENT_MS", 300)
    monkeypatch.setattr(receive, "AGAIN_WITHIN_S", 0.1)
    intake = Intake(app.store, answers)
    with app.store.write() as tx:
        if tx.dialect.name == "postgresql":
            tx.execute(text("LOCK TABLE inbox IN ACCESS EXCLUSIVE MODE"))
        intake.offer("a", delivery(0))
        assert answers.when(1) == {"a": "failed"}
    intake.offer("b", delivery(0))
    assert answers.when(2)["b"] == "accepted"
    intake.close()


def test_a_door_reads_no_body_that_is_not_proven(app: App, monkeypatch: pytest.MonkeyPatch):
    door = doors(app)[NAME]
    with pytest.raises(Unproven):
        door.admit([(b"x-planhat-secret", b"guess")], b"[" * 1_000_000, time.time())
    admitted = door.admit(
        [(b"x-planhat-secret", TOKEN.encode()), (b"content-type", b"application/json"), (b"cookie", b"c")],
        b"[" * 100_000,
        time.time(),
    )
    assert admitted.headers == '{"content-type":"application/json"}'
    assert TOKEN not in admitted.headers


def loaded(folder: Path, webhook: str, environ: dict[str, str] | None = None) -> settings.Settings:
    file = folder / "dealsync.toml"
    file.write_text(f"""
[store]
url = "sqlite:///{folder / "w.db"}"
[connections.eu]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "TOKEN" }}
[connections.eu.webhook]
secrets = [{{ env = "NEW" }}, {{ env = "OLD" }}]
{webhook}
""")
    return settings.load(file, {"TOKEN": "t", "NEW": "new", "OLD": "old", **(environ or {})})


def test_a_connection_may_choose_another_scheme_than_its_source_has(tmp_path: Path):
    config = loaded(tmp_path, 'scheme = "hmac"\nsignature_header = "X-Sign"\nworkspace_id = "ours"')
    migrate(config)
    with open_app(config) as app:
        door = doors(app)["eu"]
    for secret in (b"new", b"old"):
        body = b'{"model":"Deal","op":"update","id":"d","tenant":"ours"}'
        door.admit([(b"x-sign", hmac.digest(secret, body, "sha256").hex().encode())], body, time.time())
    for stranger in (
        b'{"model":"Deal","op":"update","id":"d","tenant":"theirs"}',
        b'{"model":"Deal","op":"x","id":"d"}',
    ):
        signature = hmac.digest(b"new", stranger, "sha256").hex().encode()
        with pytest.raises(Unproven, match="foreign"):
            door.admit([(b"x-sign", signature)], stranger, time.time())
    unreadable = b"not JSON, but signed"
    door.admit([(b"x-sign", hmac.digest(b"new", unreadable, "sha256").hex().encode())], unreadable, time.time())


def test_a_scheme_that_could_verify_nothing_is_told_before_anybody_waits_for_deliveries(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"connections\.eu\.webhook.*signature_header"):
        loaded(tmp_path, 'scheme = "hmac"')


def test_a_setting_that_decides_nothing_is_told_when_the_doors_open(tmp_path: Path):
    for webhook, told in (('tolerance = "90s"', [("eu", ["tolerance"])]), ('header = "X-Other"', [])):
        config = loaded(tmp_path, webhook)
        migrate(config)
        with open_app(config) as app, capture_logs() as lines:
            assert doors(app).keys() == {"eu"}
        said = [line for line in lines if line["event"] == "webhook.without_effect"]
        assert [(line["connection"], line["settings"]) for line in said] == told


def test_a_secret_that_no_header_can_bear_is_told_where_it_is_first_read(tmp_path: Path):
    config = loaded(tmp_path, "", {"OLD": "old "})
    migrate(config)
    with open_app(config) as app, pytest.raises(SettingsError, match=r"connections\.eu\.webhook.*blank") as told:
        doors(app)
    assert "old" not in str(told.value)


SEGMENTS = {"PATH_A": "segment-canary-" + "a" * 20, "PATH_B": "segment-canary-" + "B" * 20}
PRIVATE = 'path_segments = [{ env = "PATH_A" }, { env = "PATH_B" }]'


def test_a_door_is_where_its_name_and_any_of_its_segments_lead_and_shows_none_of_them(tmp_path: Path):
    config = loaded(tmp_path, PRIVATE, SEGMENTS)
    migrate(config)
    with open_app(config) as app:
        door = doors(app)["eu"]
    assert door.places() == [f"eu/{segment}" for segment in SEGMENTS.values()]
    assert "canary" not in repr(door)
    assert "canary" not in repr(config)
    with open_app(loaded(tmp_path, "")) as app:
        assert doors(app)["eu"].places() == ["eu"]


@pytest.mark.parametrize(
    "segment",
    ["canary-" + "a" * 16, "canary-" + "a" * 194, "canary-/" + "a" * 24, "canary-%" + "41" * 12, "canary-é" + "a" * 24,
     "canary-." + "a" * 24, "canary- " + "a" * 24, "canary-?" + "a" * 24],
)  # fmt: skip
def test_a_segment_that_can_be_guessed_or_is_not_plain_in_an_address_is_refused_unshown(tmp_path: Path, segment: str):
    config = loaded(tmp_path, PRIVATE, {**SEGMENTS, "PATH_B": segment})
    migrate(config)
    with open_app(config) as app, pytest.raises(SettingsError, match=r"connections\.eu\.webhook.*24 to 200") as told:
        doors(app)
    assert "canary" not in str(told.value)


def test_a_segment_that_is_not_there_names_its_key_and_its_variable(tmp_path: Path):
    config = loaded(tmp_path, PRIVATE, {"PATH_A": SEGMENTS["PATH_A"]})
    migrate(config)
    with (
        open_app(config) as app,
        pytest.raises(SettingsError, match=r"eu\.webhook\.path_segments\[1\]:.*PATH_B is not"),
    ):
        doors(app)


def test_a_tolerance_replaces_the_window_of_the_source(tmp_path: Path):
    webhook = loaded(tmp_path, 'tolerance = "90s"').connections["eu"].webhook
    assert isinstance(webhook, Webhook)
    rules = webhook.over(SOURCE.webhooks)
    assert (rules.past, rules.ahead) == (timedelta(seconds=90), timedelta(seconds=90))
    assert (rules.scheme, rules.header) == ("header", "X-Planhat-Secret")
