"""What must be survived: each fault befalls a whole deployment of real processes, and afterwards every invariant holds.

`make test` has the sleeper only. `make test-long` lets all of them befall one deployment, one after the other, and then
gives each its own.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults import faults, witnesses
from tests.faults.faults import judged, quiet
from tests.faults.judge import gathered, in_step
from tests.faults.topology import Topology
from tests.waiting import eventually

SEED = 11
Fault = Callable[[Topology], object]


@pytest.fixture
def topology(tmp_path: Path) -> Iterator[Topology]:
    with Topology(tmp_path, SEED).running() as topology:
        witnesses.call(topology)
        topology.ready()
        quiet(topology)
        yield topology


BROKER: list[Fault] = [
    faults.broker_killed,
    faults.broker_flushed,
    faults.broker_paused,
    faults.broker_read_only,
    faults.broker_out_of_memory,
    faults.messages_maltreated,
]
STORE: list[Fault] = [
    faults.store_restarted,
    faults.store_killed,
    faults.sessions_terminated,
    faults.commits_unanswered,
    faults.disk_full,
    faults.log_disk_full,
]
OTHERS: list[Fault] = [faults.receipts_unanswered, faults.ledger_away, faults.sources_ill, faults.network_cut]


QUICK = [fault for fault in [*BROKER, *STORE, *OTHERS] if fault not in (faults.store_restarted, faults.log_disk_full)]


def name_of(fault: Fault) -> str:
    return fault.__name__.replace("_", " ")


@pytest.mark.long
@pytest.mark.timeout(600)
def test_faults_one_after_the_other_cost_no_event_and_double_none(topology: Topology):
    with topology.people.at_work():
        for fault in topology.random.sample(QUICK, len(QUICK)):
            fault(topology)
    judged(topology)
    assert topology.died == [], "somebody ended whom nobody had killed"


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", [*BROKER, *STORE, *OTHERS], ids=name_of)
def test_a_fault_by_itself_three_times_over_costs_no_event_and_doubles_none(topology: Topology, fault: Fault):
    for _ in range(3):
        with topology.people.at_work():
            fault(topology)
            time.sleep(1)
    judged(topology)
    assert fault not in BROKER or topology.died == [], "whatever befell the broker, everybody goes on by himself"


@pytest.mark.timeout(300)
def test_who_slept_past_its_lease_writes_nothing_and_what_nobody_was_rung_for_is_found(topology: Topology):
    """After the sleeper, every message is lost, and the people go home: nobody will ever ring again for their work."""
    faults.asleep_past_its_lease(topology)
    with faults.messages_lost(topology), topology.people.at_work(every_s=0.03):
        time.sleep(1.5)
    judged(topology)
    assert "was taken over while we were away" in (topology.folder / "worker-1.log").read_text()
    assert topology.messages.met["dropped"] > 0


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_worker_that_sleeps_with_rows_locked_does_not_hold_up_the_others_for_ever(topology: Topology):
    topology.kill("worker-2")
    with topology.people.at_work():
        faults.asleep_in_a_transaction(topology)
        topology.start("worker-2")
    quiet(topology, within_s=120)
    topology.signal("worker-1", signal.SIGCONT)
    judged(topology)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_source_that_hangs_delays_no_other(topology: Topology):
    faults.source_hangs(topology, "planhat-eu")
    topology.people.work(40)
    eventually(
        lambda: not [one for one in in_step(topology) if " planhat-eu:" not in one], "the others are in step", 60
    )
    assert in_step(topology), "the one that hangs is not"
    topology.people.recover()
    judged(topology)


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_without_a_broker_two_of_them_survive_the_same(tmp_path: Path, store: str):
    topology = Topology(tmp_path, SEED, store=store, broker=False)
    with topology.running():
        witnesses.call(topology)
        topology.ready()
        with topology.people.at_work():
            met = faults.kill_at_random(topology, 8)
            (faults.store_file_full if store == "sqlite" else faults.disk_full)(topology)
            faults.receipts_unanswered(topology, 2.0)
        judged(topology)
        assert gathered(topology).store["places"], "somebody has looked where the checkpoints went"
        assert met["up-1"] + met["up-2"] > 0
        if store == "sqlite":  # PostgreSQL may have room left in the pages that it has
            assert 503 in {one.status for one in topology.people.log}, "nobody noticed that the disk was full"
        assert topology.died == [], "somebody ended whom nobody had killed"
