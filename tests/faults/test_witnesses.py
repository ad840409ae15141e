"""The witnesses on SQLite: what lands with its page is noted, and a checkpoint cannot move without landing anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, LargeBinary, insert, update
from sqlalchemy.exc import IntegrityError

from ledger.engine import connect
from pipeline.store import checkpoints, connections, runs
from pipeline.store.schema import STORE
from pipeline.store.tables import deals
from pipeline.summary import Summary
from tests.faults import witnesses
from tests.faults.judge import asked

AT = "2026-05-01T00:00:00.000Z"
PULL = (1, "pull")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'store.db'}")
    STORE.migrate(engine)
    with engine.begin() as tx:
        connections.enrol(tx, "planhat-eu", "planhat")
        for _ in range(2):
            runs.start(tx, "pull", 1, AT, alone=False)
    witnesses.call_on_sqlite(engine)
    yield engine
    engine.dispose()


def said(store: Engine) -> dict[str, list[dict[str, Any]]]:
    return asked(str(store.url), witnesses.BY_SQLITE)


def counts(run_id: int = 1) -> Summary:
    return Summary(run=run_id, connection="planhat-eu")


def test_a_place_that_its_run_counts_up_to_is_noted_as_landed(store: Engine):
    for last in ("a", "b"):
        with store.begin() as tx:
            checkpoints.move(tx, PULL, {"last": last}, run_id=1, at=AT)
            runs.count(tx, counts())
    told = said(store)
    assert [(row["connection"], row["cursor"], row["landed"]) for row in told["places"]] == [
        ("planhat-eu", '{"last":"a"}', 1),
        ("planhat-eu", '{"last":"b"}', 1),
    ]
    assert [(row["connection_id"], row["run_id"]) for row in told["moves"]] == [(1, 1), (1, 1)]


def move(store: Engine, *landing: int) -> None:
    """Run 1 moves its checkpoint, in one transaction with what these runs land."""
    with store.begin() as tx:
        checkpoints.move(tx, PULL, {"last": "a"}, run_id=1, at=AT)
        for run_id in landing:
            runs.count(tx, counts(run_id))


@pytest.mark.parametrize("landing", [(), (2,)], ids=["nobody's", "another's"])
def test_one_that_moves_without_its_own_run_landing_anything_is_not_committed(store: Engine, landing: tuple[int, ...]):
    with store.begin() as tx:
        runs.count(tx, counts())
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        move(store, *landing)
    with store.begin() as tx:
        runs.count(tx, counts())
    assert said(store)["places"] == []


def test_what_is_rolled_back_never_was(store: Engine):
    with store.connect() as tx, tx.begin() as begun:
        checkpoints.move(tx, PULL, {}, run_id=1, at=AT)
        runs.count(tx, counts())
        begun.rollback()
    assert said(store)["places"] == []


def test_every_version_of_a_deal_that_lands_is_noted_in_the_order_of_the_places(store: Engine):
    numbers = dict.fromkeys(("connection_id", "revision", "raw_block", "raw_position", "mapping_id"), 1)
    deal = dict.fromkeys(("kind", "head_key", "observed_at"), "") | numbers | {"source_id": "d"}
    blank = {column.name: b"" for column in deals.columns if isinstance(column.type, LargeBinary)}
    with store.begin() as tx:
        tx.execute(insert(deals).values(**deal, **blank, deleted=False, version="v1"))
    move(store, 1)
    with store.begin() as tx:
        tx.execute(update(deals).values(version="v2"))
    told = said(store)
    assert [(row["source_id"], row["version"]) for row in told["landings"]] == [("d", "v1"), ("d", "v2")]
    (first, second), (place,) = ([row["at"] for row in told[name]] for name in ("landings", "places"))
    assert first < place < second


def test_a_run_that_goes_on_after_it_was_found_dead_is_noted(store: Engine):
    with store.begin() as tx:
        runs.end(tx, 1, "abandoned", AT)
    with store.begin() as tx:
        runs.end(tx, 1, "done", AT)
    assert said(store)["risen"] == [{"run_id": 1, "kind": "pull"}]
