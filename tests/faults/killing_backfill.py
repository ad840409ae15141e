"""A process that backfills beside a pull, and dies at a chosen point; run as `python -m tests.faults.killing_backfill`.

As `tests.faults.killing`, whose kit it uses; the one-line summary on stdout is the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from ledger.engine import connect
from pipeline import settings
from pipeline.backfill import start
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.wiring import open_app
from tests.faults.killing import DONE, NAME, Stores, die_at, expire_leases, forked, outcome

WINDOW = (None, None)


def attempt(config: settings.Settings, kill_at: int | None) -> None:
    """One life: the same command again joins what an earlier one left, and does nothing that is done."""
    crm = PlanhatSimulator(seed=5, deals=12, token="t")
    crm.edit(crm.ids()[1], total=77)
    with open_app(config, transports={NAME: crm.transport()}) as app:
        if kill_at is not None:
            die_at(app.store.engine, kill_at)
        start(app, NAME, WINDOW)
        publish(app)
        pull(app, NAME)
        publish(app)


class Backfilled(Stores):
    """Copies of one prepared store, each of which is backfilled."""

    def lives(self, kill_at: int | None) -> tuple[list[list[object]], bool]:
        """What the ledger holds after a life that is killed and one that is not, and whether the first survived."""
        url = self.copy()
        config = self.config(url)
        code = forked(lambda: attempt(config, kill_at))
        if code != DONE:
            expire_leases(url)
            assert forked(lambda: attempt(config, None)) == DONE, f"no life after the kill at {kill_at}"
        standing_still(url)
        return outcome(url), code == DONE


def standing_still(url: str) -> None:
    """Every backfill is done, all of its chunks are, and none of them counted a record that did not come."""
    engine = connect(url)
    with engine.connect() as tx:
        states = set(tx.execute(text("SELECT state FROM backfills")).scalars())
        states |= set(tx.execute(text("SELECT state FROM backfill_chunks")).scalars())
        runs = text("SELECT read - applied - unchanged - superseded - parked - out_of_scope FROM runs")
        lost = set(tx.execute(runs).scalars())
    engine.dispose()
    assert (states, lost) == ({"done"}, {0}), (states, lost)


def main(url: str, folder: str, step: int) -> None:
    """Kill at every `step`-th point until a life outlives its story; each time, live again and compare."""
    stores = Backfilled(url, Path(folder))
    wanted, _ = stores.lives(None)
    kills, differing = 0, []
    while True:
        found, survived = stores.lives(1 + kills * step)
        if survived:
            break
        if found != wanted:
            differing.append(1 + kills * step)
        kills += 1
    print(json.dumps({"kills": kills, "events": len(wanted), "differing": differing}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
