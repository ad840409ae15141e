"""A process that reconciles, and dies at a chosen point; run as `python -m tests.faults.killing_reconcile`.

As `tests.faults.killing`, whose kit it uses. It tells where what the second life found differed from what an unbroken
one finds, and how many pages more than for an unbroken one the source was asked for at most.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from connectors.planhat.simulator import PlanhatSimulator
from ledger.engine import connect
from pipeline import settings
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.wiring import open_app
from tests.faults.killing import DONE, NAME, Stores, die_at, expire_leases, forked

BESIDES = ("run", "seconds", "notes", "read", "unchanged")
"""What two lives may tell otherwise than one: who it was, and how often it saw the rows that two pages show."""


def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=5, deals=40, token="t")


class Asked(httpx.BaseTransport):
    """The CRM; every page of its list is written down before it is answered."""

    def __init__(self, book: Path) -> None:
        self._crm, self._book = crm().transport(), book

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/deals":
            with self._book.open("a") as book:
                book.write(f"{request.url}\n")
        return self._crm.handle_request(request)


class Reconciled(Stores):
    """Copies of one prepared store, each of which is reconciled: one deal is missing in the ledger, one differs."""

    def _prepare(self) -> None:
        super()._prepare()
        with open_app(self.config(self.url), transports={NAME: crm().transport()}) as app:
            pull(app, NAME)
            publish(app)
            with app.store.write() as tx:
                first, second = tx.exec_driver_sql("SELECT id FROM ledger_deals ORDER BY id LIMIT 2").scalars()
                tx.exec_driver_sql(f"DELETE FROM ledger_deals WHERE id = '{first}'")
                tx.exec_driver_sql(f"UPDATE ledger_deals SET state = '{{\"amount_cents\":7}}' WHERE id = '{second}'")

    def found(self, kill_at: int | None) -> Found:
        """What comes of a life that is killed and of one that is not."""
        url = self.copy()
        config, told, asked = self.config(url), self.folder / f"told{self.made}", self.folder / f"asked{self.made}"
        survived = forked(lambda: life(config, asked, told, kill_at)) == DONE
        was_over = not survived and over(url)
        if not survived:
            expire_leases(url)
            assert forked(lambda: life(config, asked, told, None)) == DONE, f"no life after the kill at {kill_at}"
        document = json.loads(told.read_text())
        found = {key: document[key] for key in document if key not in BESIDES}
        return Found(found, len(asked.read_text().splitlines()), survived, was_over)


class Found(NamedTuple):
    """The document told at last, the pages asked for, whether the first life survived, and whether it was through when
    it was killed: then the second one is another reconcile."""

    document: dict[str, Any]
    pages: int
    survived: bool
    was_over: bool


def over(url: str) -> bool:
    engine = connect(url)
    with engine.connect() as tx:
        places = tx.exec_driver_sql("SELECT count(*) FROM checkpoints WHERE stream = 'reconcile'").scalar_one()
        compared = tx.exec_driver_sql("SELECT count(*) FROM reconciliation_windows").scalar_one()
    engine.dispose()
    return bool(compared and not places)


def life(config: settings.Settings, asked: Path, told: Path, kill_at: int | None) -> None:
    with open_app(config, transports={NAME: Asked(asked)}) as app:
        if kill_at is not None:
            die_at(app.store.engine, kill_at)
        told.write_text(json.dumps(reconcile(app, NAME).as_json()))


def main(url: str, folder: str, step: int) -> None:
    """Kill at every `step`-th point until a life outlives it; each time, live again and compare."""
    stores = Reconciled(url, Path(folder))
    wanted = stores.found(None)
    kills, differing, more = 0, [], 0
    while not (found := stores.found(1 + kills * step)).survived:
        if found.document != wanted.document:
            differing.append(1 + kills * step)
        if not found.was_over:
            more = max(more, found.pages - wanted.pages)
        kills += 1
    differences = len(wanted.document["differences"])
    told = {"kills": kills, "differing": differing, "differences": differences, "pages": wanted.pages, "more": more}
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
