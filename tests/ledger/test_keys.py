"""Keys are shown once, kept as a digest, listed without their text and revoked for good."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from ledger import keys
from ledger.clock import utc_now
from ledger.engine import reading
from tests.ledger.subjects import engine_at


def in_force(engine: Engine, *texts: str) -> list[keys.ApiKey]:
    with reading(engine) as tx:
        return list(keys.in_force(tx, set(texts)).values())


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_at(database_url) as engine:
        yield engine


def test_a_key_looks_as_the_contract_says_and_is_found_by_its_text(engine: Engine):
    made = keys.create(engine, name="worker", scopes=["deals:read", "deals:write"], org="org_a", rpm=7)
    assert re.fullmatch(r"oqp_[0-9a-f]{64}", made["key"])
    assert set(made) == {"key_id", "key", "prefix", "org", "scopes", "rpm"}
    [found] = in_force(engine, made["key"], made["key"][:-1] + "x")
    assert (found.key_id, found.org, found.rpm) == (made["key_id"], "org_a", 7)
    assert found.scopes == ("deals:write", "deals:read")


def test_the_text_of_a_key_is_nowhere_in_the_database(engine: Engine):
    made = keys.create(engine, name="worker", scopes=["deals:write"])
    with engine.connect() as tx:
        [row] = tx.execute(text("SELECT * FROM ledger_api_keys")).all()
    assert made["key"] not in str(row)
    [listed] = keys.listed(engine)
    assert made["key"] not in str(listed)
    assert listed["rpm"] == 1000


def test_a_revoked_key_is_not_found_and_is_revoked_once(engine: Engine):
    made = keys.create(engine, name="worker", scopes=["deals:write"])
    assert keys.revoke(engine, made["key_id"])
    assert not keys.revoke(engine, made["key_id"])
    assert not keys.revoke(engine, "ak_nobody")
    assert in_force(engine, made["key"]) == []
    [listed] = keys.listed(engine)
    assert listed["revoked_at"] is not None


@pytest.mark.parametrize(
    "wrong",
    [{"scopes": ["deals:all"]}, {"scopes": []}, {"name": " "}, {"org": "a b"}, {"org": ""}, {"rpm": 0}, {"rpm": 10**9}],
    ids=str,
)
def test_what_cannot_be_is_refused_with_what_can(engine: Engine, wrong: dict[str, object]):
    given = {"name": "worker", "scopes": ["deals:write"], **wrong}
    with pytest.raises(ValueError, match=r"key needs|scope|org|limit"):
        keys.create(engine, **given)  # type: ignore[arg-type]
    assert keys.listed(engine) == []


def test_what_is_done_with_a_key_is_written_down(engine: Engine):
    made, other = (keys.create(engine, name="worker", scopes=["deals:write"]) for _ in "ab")
    keys.note(
        engine, {(made["key_id"], "GET /v1/", 200): 3, (made["key_id"], "POST /v1/deals/events", 403): 1}, utc_now()
    )
    keys.revoke(engine, made["key_id"])
    told = [(row["action"], row["status"], row["calls"]) for row in keys.audited(engine, made["key_id"])]
    assert told == [("created", 0, 1), ("GET /v1/", 200, 3), ("POST /v1/deals/events", 403, 1), ("revoked", 0, 1)]
    assert [row["key_id"] for row in keys.audited(engine)].count(other["key_id"]) == 1
    assert [row["last_used_at"] is None for row in keys.listed(engine)] == [
        row["key_id"] == other["key_id"] for row in keys.listed(engine)
    ]


CALL = ("ak_1", "GET /v1/deals", 200)


def told(engine: Engine) -> list[tuple[str, str, int, int]]:
    return [(row["at"], row["action"], row["status"], row["calls"]) for row in keys.audited(engine)]


def test_the_calls_of_a_minute_are_one_row(engine: Engine):
    other = ("ak_1", "GET /v1/deals", 403)
    keys.note(engine, {CALL: 2, other: 1}, "2026-04-22T10:15:03.000Z")
    keys.note(engine, {CALL: 3}, "2026-04-22T10:15:59.999Z")
    keys.note(engine, {CALL: 5}, "2026-04-22T10:16:00.000Z")
    assert told(engine) == [
        ("2026-04-22T10:15:03.000Z", "GET /v1/deals", 403, 1),
        ("2026-04-22T10:15:59.999Z", "GET /v1/deals", 200, 5),
        ("2026-04-22T10:16:00.000Z", "GET /v1/deals", 200, 5),
    ]


def test_after_a_week_the_calls_of_a_day_are_one_row_and_none_is_forgotten(engine: Engine):
    for day in (1, 2, 9):
        for minute in (10, 11, 12):
            keys.note(engine, {CALL: day, ("ak_2", *CALL[1:]): 1}, f"2026-04-{day:02}T23:{minute}:00.000Z")
    for _ in range(2):
        keys.tidy(engine, "2026-04-09T23:59:00.000Z")
        rows = [(row["at"][:16], row["calls"]) for row in keys.audited(engine, "ak_1")]
        assert rows == [
            ("2026-04-01T23:12", 3),
            ("2026-04-02T23:10", 2),
            ("2026-04-02T23:11", 2),
            ("2026-04-02T23:12", 2),
            ("2026-04-09T23:10", 9),
            ("2026-04-09T23:11", 9),
            ("2026-04-09T23:12", 9),
        ]
    keys.tidy(engine, "2026-04-10T00:00:00.000Z")
    assert [row["calls"] for row in keys.audited(engine, "ak_1")] == [3, 6, 9, 9, 9]
    assert sum(row["calls"] for row in keys.audited(engine, "ak_2")) == 9


def test_calls_are_forgotten_after_400_days_and_keys_never(engine: Engine):
    made = keys.create(engine, name="worker", scopes=["deals:write"])
    keys.revoke(engine, made["key_id"])
    keys.note(engine, {CALL: 1}, "2026-04-22T10:15:00.000Z")
    keys.note(engine, {CALL: 2}, "2026-04-23T10:15:00.000Z")
    keys.tidy(engine, "2027-05-28T00:00:00.000Z")
    assert [row[3] for row in told(engine) if row[1] == CALL[1]] == [2]
    keys.tidy(engine, "2099-01-01T00:00:00.000Z")
    assert sorted(row[1] for row in told(engine)) == ["created", "revoked"]


def test_many_may_tidy_at_once_and_count_nothing_twice(engine: Engine):
    for minute in range(10, 40):
        keys.note(engine, {CALL: 1}, f"2026-04-01T10:{minute}:00.000Z")
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: keys.tidy(engine, "2026-05-01T00:00:00.000Z"), range(8)))
    assert [row[3] for row in told(engine)] == [30]
