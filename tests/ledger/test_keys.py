"""Keys are shown once, kept as a digest, listed without their text and revoked for good."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, text

from ledger import keys
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
    keys.note(engine, {(made["key_id"], "GET /v1/", 200): 3, (made["key_id"], "POST /v1/deals/events", 403): 1})
    keys.revoke(engine, made["key_id"])
    told = [(row["action"], row["status"], row["calls"]) for row in keys.audited(engine, made["key_id"])]
    assert told == [("created", 0, 1), ("GET /v1/", 200, 3), ("POST /v1/deals/events", 403, 1), ("revoked", 0, 1)]
    assert [row["key_id"] for row in keys.audited(engine)].count(other["key_id"]) == 1
    assert [row["last_used_at"] is None for row in keys.listed(engine)] == [
        row["key_id"] == other["key_id"] for row in keys.listed(engine)
    ]
