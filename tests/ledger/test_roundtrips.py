"""Round trips: what is told is done or the whole transaction fails, and what is asked sees what was told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from ledger.engine import connect
from ledger.roundtrips import ask, pipelined, tell

PUT = "INSERT INTO numbers VALUES (?)"


FAILED = (DBAPIError, psycopg.Error)


@contextmanager
def table_at(url: str) -> Iterator[Engine]:
    engine = connect(url)
    with engine.begin() as tx:
        tx.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    yield engine
    engine.dispose()


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with table_at(database_url) as engine:
        yield engine


def numbers(engine: Engine) -> list[int]:
    with engine.connect() as tx:
        return list(tx.execute(text("SELECT number FROM numbers ORDER BY number")).scalars())


def put(connection: Connection, *values: int) -> None:
    with pipelined(connection):
        ask(connection, ("SELECT count(*) FROM numbers", ()))
        tell(connection, *((PUT, (value,)) for value in values))


def test_what_was_told_is_seen_by_the_next_question_and_committed(engine: Engine):
    with engine.connect() as connection:
        with pipelined(connection):
            tell(connection, (PUT, (1,)), (PUT, (2,)))
            assert ask(connection, ("SELECT number FROM numbers ORDER BY 1", ()), (PUT, (3,))) == [[(1,), (2,)], []]
            tell(connection, (PUT, (4,)))
        assert numbers(engine) == [1, 2, 3, 4]


def test_one_statement_that_fails_fails_all_of_them_and_the_connection_can_go_on(engine: Engine):
    with engine.connect() as connection:
        put(connection, 1)
        with pytest.raises(FAILED):
            put(connection, 2, 1, 3)
        assert numbers(engine) == [1]
        put(connection, 4)
    assert numbers(engine) == [1, 4]


def test_what_is_raised_in_the_middle_leaves_nothing_behind(engine: Engine):
    def broken(connection: Connection) -> None:
        with pipelined(connection):
            tell(connection, (PUT, (1,)))
            raise KeyError

    with engine.connect() as connection:
        with pytest.raises(KeyError):
            broken(connection)
        put(connection, 2)
    assert numbers(engine) == [2]


def test_a_connection_that_is_lost_before_the_commit_is_no_commit(postgres_url: str):
    def lost(connection: Connection) -> None:
        with pipelined(connection):
            [[(pid,)]] = ask(connection, ("SELECT pg_backend_pid()", ()))
            with engine.begin() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            tell(connection, (PUT, (1,)))

    with table_at(postgres_url) as engine:
        with engine.connect() as connection, pytest.raises(FAILED):
            lost(connection)
        assert numbers(engine) == []


def test_without_a_pipeline_what_is_told_is_done_at_once(engine: Engine):
    with engine.connect() as connection:
        connection.begin()
        tell(connection, (PUT, (1,)))
        with pytest.raises(FAILED):
            tell(connection, (PUT, (1,)))
        connection.rollback()
        with connection.begin():
            tell(connection, (PUT, (5,)))
    assert numbers(engine) == [5]
