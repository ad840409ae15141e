"""Somebody is killed at random, again and again, while people work: nothing is lost, doubled or out of order."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults import witnesses
from tests.faults.faults import judged, kill_at_random, nothing_more_happens
from tests.faults.topology import Topology

KILLS = int(os.environ.get("DEALSYNC_KILLS", "20"))
SEED = int(os.environ.get("DEALSYNC_SEED", "1"))


@pytest.mark.timeout(1800)
def test_workers_beats_receivers_and_ledgers_killed_at_random_lose_and_double_nothing(tmp_path: Path):
    """`make chaos` kills two hundred times. One pool in some hundreds does not survive it that a child is killed as it
    begins: then its worker hangs, knows it, and ends (docs/decisions/0021).
    """
    topology = Topology(tmp_path, SEED)
    with topology.running():
        witnesses.call(topology)
        topology.ready()
        with topology.people.at_work():
            met = kill_at_random(topology, KILLS)
        judged(topology)
        nothing_more_happens(topology)
        assert sum(met.values()) == KILLS
        assert set(topology.died) <= topology.hung(), "somebody ended whom nobody had killed"
