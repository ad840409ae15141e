"""A reconcile or a recovery that is killed leaves nothing half done, and is simply run again."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from deals.events import Event
from deals.identity import canonical
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.recover import recover
from pipeline.wiring import App, open_app
from tests.faults.killing import DONE, NAME, Stores, die_at, expire_leases, forked

pytestmark = pytest.mark.long

DEALS = 12
OURS = ("deals", "events", "receipts", "outbox", "checkpoints", "raw_blocks")


@contextmanager
def opened(stores: Stores, url: str) -> Iterator[App]:
    crm = PlanhatSimulator(seed=5, deals=DEALS, token="t")
    with open_app(stores.config(url), transports={NAME: crm.transport()}) as app:
        yield app


def prepare(stores: Stores, *, lost: bool) -> None:
    """Somebody else has written every deal of the ledger; the store's own tables may have been lost."""
    with opened(stores, stores.url) as app:
        pull(app, NAME)
        publish(app)
        state = canonical({"amount_cents": 1, "stage": "x", "close_date": None, "owner_external_id": None})
        held = [deal.external_id for deal in app.ledger.deals()]
        app.ledger.append([Event(name, "upsert", f"foreign {name}", state) for name in held])
        with app.store.write() as tx:
            for table in OURS if lost else ():
                tx.execute(text(f"DELETE FROM {table}"))


def mend(app: App, verb: str) -> None:
    if verb == "reconcile":
        reconcile(app, NAME, repair=True)
    else:
        recover(app, NAME, send=True)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("verb", ["reconcile", "recover"])
def test_a_repair_killed_at_any_commit_sets_everything_right_when_it_is_run_again(
    verb: str, database_url: str, tmp_path: Path
):
    stores = Stores(database_url, tmp_path)
    prepare(stores, lost=verb == "recover")

    def life(url: str, kill_at: int | None) -> None:
        with opened(stores, url) as app:
            if kill_at is not None:
                die_at(app.store.engine, kill_at)
            mend(app, verb)

    step, kills = 3 if stores.sqlite else 7, 0
    while True:
        url = stores.copy()
        code = forked(lambda: life(url, 1 + step * kills))  # noqa: B023 - the child has ended before it changes
        if code == DONE:
            break
        assert code == -signal.SIGKILL
        expire_leases(url)
        with opened(stores, url) as app:
            mend(app, verb)
            assert publish(app).published == DEALS, f"after the kill at {1 + step * kills}"
            assert reconcile(app, NAME).differences == []
            assert [one.message for one in doctor(app) if not one.ok] == []
        kills += 1
    assert kills > 5
