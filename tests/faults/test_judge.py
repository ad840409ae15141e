"""The judge complains when it should: of checkpoints that ran ahead, and of rows that were not accounted for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.faults.judge import Evidence, checkpoints_move_with_their_pages, nobody_met_a_bug, rows_are_conserved
from tests.faults.people import Clock, Crm, People, Served
from tests.faults.topology import Topology

AT = datetime(2026, 5, 1, tzinfo=UTC)
EU = "planhat-eu"
RUN = {"id": 3, "kind": "pull", "connection": EU, "state": "done", "events": 0, "decided": 0,
       "applied": 1, "unchanged": 2, "superseded": 0, "parked": 0, "out_of_scope": 0, "read": 3,
       "started_at": AT.isoformat(), "ended_at": (AT + timedelta(seconds=9)).isoformat()}  # fmt: skip


@pytest.fixture
def crm() -> Crm:
    return People(3).crms[EU]


def evidence(crm: Crm, *awoke: datetime, **store: list[dict[str, Any]]) -> Evidence:
    return Evidence({EU: crm}, {}, [], store, cast(Topology, SimpleNamespace(awoke=awoke)))


def place(at: int, cursor: dict[str, Any], *, landed: bool = True) -> dict[str, Any]:
    return {
        "at": at, "connection": EU, "stream": "pull", "run_id": 3, "cursor": json.dumps(cursor), "landed": landed
    }  # fmt: skip


def version(crm: Crm, deal: str) -> str:
    record = crm.past.states[deal][-1]
    assert record is not None
    return str(record["updatedAt"])


def landings(crm: Crm, deals: list[str]) -> Iterator[dict[str, Any]]:
    for number, deal in enumerate(deals):
        yield {"at": number, "connection": EU, "source_id": deal, "version": version(crm, deal)}


def test_a_place_is_believed_when_all_before_it_had_landed(crm: Crm):
    deals = sorted(crm.first)
    for last in (4, 29):
        rows = list(landings(crm, deals[: last + 1]))
        found = evidence(crm, landings=rows, places=[place(100, {"full": {"offset": 5, "last": deals[last]}})])
        assert list(checkpoints_move_with_their_pages(found)) == []


def test_a_place_beyond_a_deal_that_had_not_landed_is_found(crm: Crm):
    deals = sorted(crm.first)
    ahead = place(100, {"full": {"offset": 5, "last": deals[5]}})
    found = evidence(crm, landings=list(landings(crm, deals[:5])), places=[ahead])
    (complaint,) = checkpoints_move_with_their_pages(found)
    assert complaint.startswith(f"2 the checkpoint of {EU} is beyond {deals[5]}, which had not landed")
    late = [one | {"at": 200} for one in landings(crm, deals[5:6])]
    found = evidence(crm, landings=[*landings(crm, deals[:5]), *late], places=[ahead])
    assert len(list(checkpoints_move_with_their_pages(found))) == 1, "that it landed later is no excuse"


def test_a_watermark_beyond_a_write_that_had_not_landed_is_found(crm: Crm):
    before = list(landings(crm, sorted(crm.first)))
    deal = crm.tenant.ids()[0]
    crm.set_amount(deal, Decimal(7))
    last = version(crm, deal)
    marked = place(100, {"watermark": last})
    (complaint,) = checkpoints_move_with_their_pages(evidence(crm, landings=before, places=[marked]))
    assert complaint == f"2 the checkpoint of {EU} says {last}, and {deal} as of {last} had not landed"
    told = [*before, *landings(crm, [deal])]
    assert list(checkpoints_move_with_their_pages(evidence(crm, landings=told, places=[marked]))) == []


def test_a_deal_that_moved_to_the_lists_other_end_while_it_was_read_is_left_to_the_next_pull(crm: Crm):
    before = list(landings(crm, sorted(crm.first)))
    other, deal = crm.tenant.ids()[:2]
    for second, written in enumerate((deal, other, deal)):
        cast(Clock, crm.tenant.clock).made = datetime.now(UTC) + timedelta(seconds=second)
        crm.set_amount(written, Decimal(second))
    marked = place(100, {"watermark": version(crm, other)})
    landed = [*before, *landings(crm, [other])]
    again = datetime.fromisoformat(version(crm, deal))
    for ended, found in ((again, False), (again - timedelta(milliseconds=1), True)):
        run = RUN | {"ended_at": ended.isoformat()}
        complaints = list(
            checkpoints_move_with_their_pages(evidence(crm, landings=landed, places=[marked], runs=[run]))
        )
        assert bool(complaints) is found, "what was written after the run had ended was in its place while it read"


def test_a_checkpoint_that_moved_in_a_transaction_of_its_own_is_found(crm: Crm):
    alone = place(100, {}, landed=False)
    (complaint,) = checkpoints_move_with_their_pages(evidence(crm, landings=[], places=[alone]))
    assert complaint == f"2 the checkpoint pull of {EU} moved without its run 3 landing anything"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, None),
        ({"read": 4}, "read 4 rows, and 3 became something"),
        ({"events": 1}, "counts 1 events, and 0 were decided"),
        ({"read": 2, "unchanged": 1}, "counts 2 rows, and was served 5, of 3 deals"),
        ({"read": 6, "unchanged": 5}, "counts 6 rows, and was served 5, of 3 deals"),
        ({"read": 2, "unchanged": 1, "state": "abandoned"}, None),
    ],
)
def test_rows_that_are_not_accounted_for_are_found(crm: Crm, wrong: dict[str, Any], said: str | None):
    a, b, c, d = sorted(crm.first)[:4]
    seconds = ((-1, (d, c)), (1, (a, b)), (2, (b, c)), (3, (d,)), (10, (c, d)))
    crm.served = [Served(AT + timedelta(seconds=second), ids) for second, ids in seconds]
    complaints = list(rows_are_conserved(evidence(crm, runs=[RUN | wrong])))
    assert complaints == ([] if said is None else [f"9 pull 3 of {EU} {said}"])


@pytest.mark.parametrize(("second", "found"), [(-90, True), (-2, False), (4, False), (9.5, True)])
def test_what_was_served_to_a_sleeper_that_awoke_is_not_asked_of_its_successor(crm: Crm, second: float, found: bool):
    few = RUN | {"read": 2, "unchanged": 1}
    crm.served = [Served(AT + timedelta(seconds=1), tuple(sorted(crm.first)[:4]))]
    assert bool(list(rows_are_conserved(evidence(crm, AT + timedelta(seconds=second), runs=[few])))) is found
    too_many = RUN | {"read": 9, "unchanged": 8}
    assert list(rows_are_conserved(evidence(crm, AT + timedelta(seconds=second), runs=[too_many])))


@pytest.mark.parametrize(
    ("other", "found"),
    [
        ({"state": "failed"}, False),
        ({"state": "done"}, True),
        ({"state": "failed", "kind": "fetch"}, True),
        ({"state": "failed", "connection": "planhat-us"}, True),
        ({"state": "failed", "ended_at": (AT - timedelta(seconds=11)).isoformat()}, True),
        ({"state": "running", "ended_at": None}, True),
    ],
)
def test_a_page_that_was_under_way_when_a_run_was_cut_off_is_not_asked_of_its_successor(
    crm: Crm, other: dict[str, Any], found: bool
):
    few = RUN | {"read": 2, "unchanged": 1}
    crm.served = [Served(AT + timedelta(seconds=1), tuple(sorted(crm.first)[:4]))]
    before = RUN | {"id": 2, "kind": "reconcile", "ended_at": (AT - timedelta(seconds=1)).isoformat()} | other
    assert bool(list(rows_are_conserved(evidence(crm, runs=[before, few])))) is found


RAISED = """\
Traceback (most recent call last):
  File "{file}", line 251, in {where}
    {line}
{error}
{{"event": "run.finished", "level": "info"}}
"""
ORPHANED = RAISED.format(
    file="celery/concurrency/asynpool.py",
    where="on_loop_start",
    line="self.outq.put((WORKER_UP, (pid,)))",
    error="BrokenPipeError: [Errno 32] Broken pipe",
)
OURS = RAISED.format(file="pipeline/run.py", where="land", line="self.circuit[0]", error="KeyError: 0")
LOST = RAISED.format(
    file="billiard/pool.py", where="mark_as_worker_lost", line="raise", error="WorkerLostError: killed"
)


@pytest.mark.parametrize(("said", "bugs"), [(ORPHANED, 0), (LOST, 0), (OURS, 1), (ORPHANED + OURS + LOST, 1)])
def test_whose_worker_was_killed_may_say_so_and_a_bug_of_ours_is_found_beside_it(crm: Crm, said: str, bugs: int):
    topology = cast(Topology, SimpleNamespace(said=lambda: said))
    found = list(nobody_met_a_bug(Evidence({EU: crm}, {}, [], {}, topology)))
    assert len(found) == bugs
    assert all("KeyError: 0" in one for one in found)
