"""The intake: requests of one turn share a transaction, and none of them pays for another."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Sequence
from random import Random

import pytest
from sqlalchemy import Connection, Engine, text

from ledger import keys, roundtrips, statements
from ledger.admission import Admitted
from ledger.answering import Answering
from ledger.away import Away
from ledger.choices import CONTRACT
from ledger.counting import Counting
from ledger.door import Door
from ledger.embedded import EmbeddedLedger
from ledger.intake import Answered, Intake
from ledger.port import LedgerUnavailable, Receipt
from ledger.reading import single
from ledger.verify import verify
from tests.ledger.subjects import engine_at, history, now

WRITE = ["deals:write"]


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_at(database_url) as engine:
        yield engine


class Picky(EmbeddedLedger):
    """A ledger that a certain deal breaks."""

    def take_within(self, tx: Connection, events: Sequence[Admitted]) -> list[Receipt]:
        if any(event.external_id == "bad" for event in events):
            raise RuntimeError("a secret detail")
        return super().take_within(tx, events)


def intake(engine: Engine, ledger: type[EmbeddedLedger] = EmbeddedLedger, **more: int) -> Intake:
    def of(org: str) -> EmbeddedLedger:
        return ledger(engine, org=org, now=now)

    counting = Counting()
    door, away = Door(engine, lambda: 1_800_000_000.0), Away(counting, random=Random(7))
    return Intake(engine, door, of, Answering(CONTRACT, counting), away, **more)


def key(engine: Engine, org: str = "org_default", scopes: Sequence[str] = WRITE) -> str:
    return str(keys.create(engine, name="test", scopes=scopes, org=org, rpm=1_000_000)["key"])


def post(deal: str, number: int = 1) -> bytes:
    return json.dumps({"external_id": deal, "dedup_key": f"{deal}:{number}", "state": {"n": number}}).encode()


def asked(intake: Intake, *requests: tuple[str | None, bytes]) -> list[Answered]:
    """All of them are asked in one turn of a loop."""

    async def together() -> list[Answered]:
        return await asyncio.gather(*(intake.ask(token, single(body)) for token, body in requests))

    return asyncio.run(together())


def statuses(answers: Sequence[Answered]) -> list[int]:
    return [answer.reply.status for answer in answers]


def test_a_request_that_breaks_the_ledger_does_not_keep_the_others_from_it(engine: Engine):
    token = key(engine)
    answers = asked(intake(engine, Picky), (token, post("a")), (token, post("bad")), (token, post("b")))
    assert statuses(answers) == [201, 500, 201]
    assert json.loads(answers[1].reply.body) == {"error": "internal_error"}
    assert b"x-ratelimit-limit" in dict(answers[1].reply.headers)
    assert history(engine, "org_default") == [("a", "a:1"), ("b", "b:1")]
    assert verify(engine, "org_default").ok


@pytest.mark.parametrize("size", [3, statements.AT_ONCE, statements.AT_ONCE + 1, 700])
def test_requests_of_one_turn_are_taken_in_their_order_whatever_their_number(engine: Engine, size: int):
    token, one = key(engine), intake(engine)
    wanted = [(token, post(f"d{n % 7}", n)) for n in range(size)]
    assert statuses(asked(one, *wanted)) == [201] * size
    assert history(engine, "org_default") == [(f"d{n % 7}", f"d{n % 7}:{n}") for n in range(size)]
    assert statuses(asked(one, *wanted)) == [200] * size
    assert verify(engine, "org_default").ok


def test_twins_of_one_turn_are_one_event_with_the_same_ids(engine: Engine):
    token = key(engine)
    first, again = asked(intake(engine), (token, post("a")), (token, post("a")))
    assert statuses([first, again]) == [201, 200]
    assert first.reply.body == again.reply.body


def test_orgs_share_a_commit_and_nothing_else(engine: Engine):
    one, other = key(engine, "org_b"), key(engine, "org_a")
    answers = asked(intake(engine), (one, post("a")), (other, post("a")), (one, post("b")))
    assert statuses(answers) == [201, 201, 201]
    assert [history(engine, org) for org in ("org_b", "org_a")] == [[("a", "a:1"), ("b", "b:1")], [("a", "a:1")]]
    assert answers[0].reply.body != answers[1].reply.body


def test_a_key_revoked_since_the_last_turn_is_refused_and_the_others_are_not(engine: Engine):
    gone, stays = key(engine), key(engine)
    one = intake(engine)
    assert statuses(asked(one, (gone, post("a")), (stays, post("b")))) == [201, 201]
    [number] = [row["key_id"] for row in keys.listed(engine) if row["prefix"] == gone[:8]][:1]
    assert keys.revoke(engine, number)
    assert statuses(asked(one, (gone, post("c")), (stays, post("d")))) == [401, 201]
    assert history(engine, "org_default") == [("a", "a:1"), ("b", "b:1"), ("d", "d:1")]


def test_who_has_no_right_to_write_waits_for_no_writer_and_holds_none_up(sqlite_url: str):
    with engine_at(sqlite_url) as engine:
        reader, one = key(engine, scopes=["deals:read"]), intake(engine)
        with engine.begin():  # SQLite's one writer
            answers = asked(one, (None, post("a")), ("oqp_" + "0" * 64, post("a")), (reader, b"{"))
    assert statuses(answers) == [401, 401, 403]


def test_what_is_refused_for_its_body_is_still_counted_and_told_its_limit(engine: Engine):
    token, one = key(engine), intake(engine)
    answers = asked(one, (token, b"{"), (token, post("a")), (token, b"[]"))
    assert statuses(answers) == [400, 201, 400]
    left = [int(dict(answer.reply.headers)[b"x-ratelimit-remaining"]) for answer in answers]
    assert left == [999_999, 999_998, 999_997]


def test_sessions_that_were_cut_cost_nobody_an_answer(postgres_url: str):
    with engine_at(postgres_url) as engine:
        token, one = key(engine), intake(engine)
        assert statuses(asked(one, (token, post("a")))) == [201]
        with engine.begin() as tx:
            others = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            tx.execute(text(f"{others} AND datname = current_database()"))
        answers = asked(one, (token, post("b")), (token, post("c")))
        assert statuses(answers) == [201, 201]
        left = [int(dict(answer.reply.headers)[b"x-ratelimit-remaining"]) for answer in answers]
        assert left == [999_998, 999_997]
        assert history(engine, "org_default") == [("a", "a:1"), ("b", "b:1"), ("c", "c:1")]


class Cut(EmbeddedLedger):
    """A ledger whose session is lost once, after everything was sent: before the COMMIT, or after it."""

    def __init__(self, engine: Engine, committed: bool) -> None:
        super().__init__(engine, now=now)
        self._engine_of_others, self._committed, self.attempts = engine, committed, 0

    def take_within(self, tx: Connection, events: Sequence[Admitted]) -> list[Receipt]:
        self.attempts += 1
        receipts = super().take_within(tx, events)
        if self.attempts == 1 and self._committed:
            roundtrips.ask(tx, ("COMMIT", ()))
        if self.attempts == 1:
            [[(pid,)]] = roundtrips.ask(tx, ("SELECT pg_backend_pid()", ()))
            with self._engine_of_others.begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        return receipts


@pytest.mark.parametrize(("committed", "status"), [(False, 201), (True, 200)], ids=["before", "after"])
def test_a_session_that_is_lost_around_the_commit_is_tried_again_and_nothing_is_doubled(
    postgres_url: str, committed: bool, status: int
):
    with engine_at(postgres_url) as engine:
        token, ledger = key(engine), Cut(engine, committed)
        away = Away(Counting(), random=Random(7))
        one = Intake(engine, Door(engine, lambda: 1.8e9), lambda _: ledger, Answering(CONTRACT, Counting()), away)
        answers = asked(one, (token, post("a")), (token, post("b")))
        assert (statuses(answers), ledger.attempts) == ([status, status], 2)
        left = [int(dict(answer.reply.headers)[b"x-ratelimit-remaining"]) for answer in answers]
        assert left == [999_999, 999_998]
        assert history(engine, "org_default") == [("a", "a:1"), ("b", "b:1")]
        assert verify(engine, "org_default").ok


class Stuck(EmbeddedLedger):
    """A ledger that hangs until it is let go; it tells when it has begun."""

    begun, go_on = threading.Event(), threading.Event()

    def take_within(self, tx: Connection, events: Sequence[Admitted]) -> list[Receipt]:
        self.begun.set()
        assert self.go_on.wait(30)
        return super().take_within(tx, events)


def test_those_for_whom_there_is_no_room_are_told_at_once_and_who_left_is_not_carried_out(engine: Engine):
    token = key(engine)
    one = intake(engine, Stuck, max_waiting=3)
    Stuck.begun.clear()
    Stuck.go_on.clear()

    async def story() -> list[Answered]:
        first = asyncio.create_task(one.ask(token, single(post("a"))))
        await asyncio.to_thread(Stuck.begun.wait, 30)
        stays, leaves = (asyncio.create_task(one.ask(token, single(post(name)))) for name in ("b", "c"))
        await asyncio.sleep(0.01)
        assert (one.waiting, one.longest_s > 0) == (3, True)
        assert one.refusal() is not None
        refused = await one.ask(token, single(post("d")))
        leaves.cancel()
        await asyncio.wait([leaves])
        assert one.refusal() is None
        Stuck.go_on.set()
        return [refused, await first, await stays]

    refused, *taken = asyncio.run(story())
    assert (refused.reply.status, refused.key) == (503, None)
    assert one.waiting == 0
    assert statuses(taken) == [201, 201]
    assert history(engine, "org_default") == [("a", "a:1"), ("b", "b:1")]


class Late(EmbeddedLedger):
    """A ledger whose last statement before the COMMIT fails."""

    def take_within(self, tx: Connection, events: Sequence[Admitted]) -> list[Receipt]:
        receipts = super().take_within(tx, events)
        roundtrips.tell(tx, ("INSERT INTO ledger_deals (id) VALUES (NULL)", ()))
        return receipts


def test_nothing_is_said_to_be_taken_that_is_not_committed(engine: Engine):
    token, one = key(engine), intake(engine, Late)
    assert statuses(asked(one, (token, post("a")), (token, post("b")))) == [503, 503]
    assert history(engine, "org_default") == []


class Moody(EmbeddedLedger):
    """A ledger whose database is away while `away` says so."""

    away = False

    def take_within(self, tx: Connection, events: Sequence[Admitted]) -> list[Receipt]:
        if self.away:
            raise LedgerUnavailable("it is away")
        return super().take_within(tx, events)


def test_a_commit_ends_what_was_wrong_and_the_next_to_be_sent_away_comes_back_soon(sqlite_url: str):
    with engine_at(sqlite_url) as engine:
        ledger, clock = Moody(engine, now=now), [1000.0]
        token, away = key(engine), Away(Counting(), random=Random(7), monotonic=lambda: clock[0])
        one = Intake(engine, Door(engine, lambda: 1.8e9), lambda _: ledger, Answering(CONTRACT, Counting()), away)

        def waits() -> list[int]:
            answers = asked(one, *[(token, post(f"d{number}")) for number in range(20)])
            return [int(dict(answer.reply.headers)[b"retry-after"]) for answer in answers]

        ledger.away = True
        assert max(waits()) <= 3
        clock[0] += 9.0
        assert min(waits()) > 3
        ledger.away = False
        assert statuses(asked(one, (token, post("a")))) == [201]
        ledger.away = True
        assert max(waits()) <= 3
