"""What compose starts, two of each, under traffic for as long as one likes, a fault now and then: then the judge."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.deploy.files import services
from tests.faults import faults, witnesses
from tests.faults.composed import COPIES, Composed
from tests.faults.faults import judged, quiet
from tests.waiting import eventually

MINUTES = float(os.environ.get("DEALSYNC_SOAK_MINUTES", "0.3"))
SEED = int(os.environ.get("DEALSYNC_SEED", "7"))
EVERY_S = 5.0
"""Something goes wrong about so often."""

PASSING = [
    faults.broker_flushed,
    faults.commits_unanswered,
    faults.messages_maltreated,
    faults.sessions_terminated,
    faults.sources_ill,
    faults.store_restarted,
]


@pytest.mark.long
@pytest.mark.timeout(0)
def test_what_compose_starts_keeps_every_invariant_under_traffic(tmp_path: Path):
    """`make soak` takes five minutes, or `MINUTES` of them."""
    topology = Composed(tmp_path, SEED)
    with topology.running():
        witnesses.call(topology)
        topology.ready()
        quiet(topology)
        topology.people.work(30)
        eventually(lambda: min(topology.deliveries()) > 0, "every receiver has taken deliveries")
        ends = time.monotonic() + 60 * MINUTES
        with topology.people.at_work():
            while time.monotonic() < ends:
                time.sleep(topology.random.uniform(0, EVERY_S))
                if topology.random.random() < 0.5:
                    faults.kill_at_random(topology, 1)  # it is begun again, as `restart: unless-stopped` does
                else:
                    topology.random.choice(PASSING)(topology)
        judged(topology)
        assert {name.rpartition("-")[0] for name in topology.names} == services().keys() - {"migrate"}
        assert len(topology.names) == COPIES * (len(services()) - 1)
        assert topology.died == [], "somebody ended whom nobody had killed"
