"""Hops: a source's own history tells of the stages between two reads, each as an event of its own, once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from random import Random

import pytest
from sqlalchemy import select

from connectors.source import Record
from ledger.engine import connect
from mappings.rules import Rules
from pipeline.store.schema import STORE
from pipeline.store.session import Store
from pipeline.store.tables import events
from tests.pipeline.landing import ONE, Landing, T

TABLE = """
source = "cpod"
[deals]
[deals.amount]
from = "value"
currency = "currency"
[deals.stage]
from = "stage"
[deals.stage.words]
lead = "lead"
qualified = "qualified"
proposal = "proposal"
closed_won = "closed_won"
[deals.stage.history]
from = "audit_log"
stage = ["to_stage"]
[deals.close_date]
from = "expected_close_date"
[deals.owner]
from = "owner_id"
"""


def record(version: int, *stages: str, value: int = 100, start: str = "lead") -> Record:
    """A record that has gone through these stages since it was made."""
    log = [{"to_stage": stage, "changed_at": f"2026-03-{day:02}"} for day, stage in enumerate(stages, 1)]
    now = stages[-1] if stages else start
    fields = {"id": ONE, "value": value, "currency": "USD", "stage": now, "audit_log": log, "version": version}
    return Record(ONE, f"{version:012d}", json.dumps(fields).encode(), "deals")


@pytest.fixture
def world(database_url: str) -> Iterator[Landing]:
    engine = connect(database_url)
    STORE.migrate(engine)
    yield Landing(Store(engine), TABLE)
    engine.dispose()


def stages(world: Landing) -> list[tuple[str, str, int]]:
    return [
        (kind, json.loads(state)["stage"], json.loads(state)["amount_cents"] // 100) for kind, _, state in world.told()
    ]


def test_the_stages_between_two_reads_are_events_of_their_own(world: Landing):
    world.land(record(1), at=T[0])
    counts = world.land(record(4, "qualified", "proposal", "closed_won", value=250), at=T[1])
    assert (counts.read, counts.applied, counts.events) == (1, 1, 3)
    assert stages(world) == [
        ("upsert", "lead", 100),
        ("stage_change", "qualified", 100),
        ("stage_change", "proposal", 100),
        ("upsert", "closed_won", 250),
    ]


def test_what_was_told_once_is_not_told_again(world: Landing):
    world.land(record(3, "qualified", "proposal"), at=T[0])
    world.land(record(4, "qualified", "proposal", "closed_won"), at=T[1])
    world.land(record(5, "qualified", "proposal", "closed_won", value=300), at=T[2])
    assert [stage for _, stage, _ in stages(world)] == ["proposal", "closed_won", "closed_won"]


def test_there_and_back_is_told_also_when_the_stage_is_in_the_end_what_it_was(world: Landing):
    world.land(record(1, "qualified"), at=T[0])
    world.land(record(3, "qualified", "proposal", "qualified", "proposal"), at=T[1])
    assert [stage for _, stage, _ in stages(world)] == ["qualified", "proposal", "qualified", "proposal"]
    counts = world.land(record(5, "qualified", "proposal", "qualified", "proposal", "lead", "proposal"), at=T[2])
    assert (counts.read, counts.applied, counts.unchanged, counts.events) == (1, 1, 0, 2)
    assert [stage for _, stage, _ in stages(world)][4:] == ["lead", "proposal"]
    again = record(6, "qualified", "proposal", "qualified", "proposal", "lead", "proposal")
    assert world.land(again, at=T[3]).events == 0


def test_a_history_that_is_written_in_another_way_now_tells_no_move_again(world: Landing):
    world.land(record(3, "qualified", "proposal"), at=T[0])
    rewritten = json.loads(record(4, "qualified", "proposal").raw)
    rewritten["audit_log"] = [{"to_stage": entry["to_stage"], "by": "ann"} for entry in rewritten["audit_log"]]
    assert world.land(Record(ONE, f"{4:012d}", json.dumps(rewritten).encode(), "deals"), at=T[1]).events == 0
    rewritten["audit_log"].append({"to_stage": "closed_won", "by": "ann"})
    rewritten["stage"] = "closed_won"
    assert world.land(Record(ONE, f"{5:012d}", json.dumps(rewritten).encode(), "deals"), at=T[2]).events == 1


ORDERING = TABLE.replace('["to_stage"]', '["to_stage"]\nbefore = "from_stage"')
WORDS = ("lead", "qualified", "proposal", "closed_won")


def walk(deal: str, version: int, way: list[str], *, newest_first: bool, chained: bool) -> Record:
    """The record of a deal that has gone this way since it was made."""
    log = [{"to_stage": after} | ({"from_stage": before} if chained else {}) for before, after in pairwise(way)]
    fields = {"id": deal, "value": 1, "currency": "USD", "stage": way[-1], "version": version}
    fields |= {"audit_log": log[::-1] if newest_first else log}
    return Record(deal, f"{version:012d}", json.dumps(fields).encode(), "deals")


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("chained", [True, False])
def test_whatever_way_a_deal_went_between_two_reads_is_told_as_it_was_or_only_where_it_led(
    world: Landing, newest_first: bool, chained: bool
):
    """Where each move says where it went on from, there is nothing to be in doubt about."""
    world.use(ORDERING)
    random, doubted = Random(7), 0
    for number in range(60):
        way = [random.choice(WORDS)]
        while len(way) < random.randrange(2, 10):
            way.append(random.choice([word for word in WORDS if word != way[-1]]))
        before = random.randrange(1, len(way))
        for version, until in ((1, before), (2, len(way))):
            seen = walk(f"deal-{number}", version, way[:until], newest_first=newest_first, chained=chained)
            world.land(seen, at=T[version])
        with world.store.read() as tx:
            found = select(events.c.state).where(events.c.source_id == f"deal-{number}").order_by(events.c.revision)
            told = [json.loads(state)["stage"] for state in tx.execute(found).scalars()]
        if told != way[before - 1 :]:
            doubted += 1
            assert told == list(dict.fromkeys((way[before - 1], way[-1])))
            assert way[1] == way[-1], "only a way that ends where its first move led can be read from both its ends"
    assert doubted == 0 if chained else 0 < doubted < 15


def test_first_sight_tells_of_no_past(world: Landing):
    assert world.land(record(4, "qualified", "proposal", "closed_won")).events == 1


def test_the_keys_are_the_same_whether_each_move_was_seen_or_recovered(world: Landing, sqlite_url: str):
    world.land(record(1), at=T[0])
    world.land(record(3, "qualified", "proposal"), at=T[1])
    recovered = [state for _, _, state in world.told()]
    engine = connect(f"{sqlite_url}-other")
    STORE.migrate(engine)
    other = Landing(Store(engine), TABLE)
    for version, moves in enumerate(((), ("qualified",), ("qualified", "proposal")), 1):
        other.land(record(version, *moves), at=T[version])
    assert [state for _, _, state in other.told()] == recovered
    engine.dispose()


def test_a_connection_may_do_without_the_history(world: Landing):
    world.use(TABLE, Rules(ledger_currency="USD", stage_history=False))
    world.land(record(1), at=T[0])
    assert world.land(record(3, "qualified", "proposal"), at=T[1]).events == 1
