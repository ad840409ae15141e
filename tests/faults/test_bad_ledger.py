"""Three publishers and a service that is killed, forgets to answer and answers wrongly: each event arrives once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import httpx
import pytest
from sqlalchemy import text

from deals.identity import canonical
from ledger import keys
from ledger.engine import connect
from ledger.schema import migrate
from ledger.verify import verify
from pipeline.settings import load
from pipeline.store import outbox
from pipeline.store.outbox import EventRow
from pipeline.store.tables import connections
from pipeline.wiring import open_app
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
EVENTS = int(os.environ.get("DEALSYNC_CAMPAIGN_EVENTS", "150"))
REVISIONS = 5
CONFIG = """\
[store]
url = "{store}"
[ledger]
kind = "openquota"
url = "http://127.0.0.1:{port}/v1"
api_key = {{ env = "LEDGER_KEY" }}
[connections.eu]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "TOKEN" }}
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("batches", [True, False], ids=["by batches", "one by one"])
def test_every_event_arrives_once_and_in_order_whatever_the_ledger_does(tmp_path: Path, port: int, batches: bool):
    ledger_url = f"sqlite:///{tmp_path / 'ledger.db'}"
    ledger = connect(ledger_url)
    migrate(ledger)
    key = keys.create(ledger, name="campaign", scopes=["deals:write", "deals:read"], rpm=1_000_000)["key"]
    config = tmp_path / "dealsync.toml"
    config.write_text(CONFIG.format(store=f"sqlite:///{tmp_path / 'store.db'}", port=port))
    environment = {**os.environ, "DEALSYNC_CONFIG": str(config), "LEDGER_KEY": key, "TOKEN": "t"}
    sent = fill(config, environment)
    service = [sys.executable, "-m", "tests.faults.unreliable", ledger_url, str(port)]
    serving = start(service, port, seed=1, by_batches=batches)
    publishers = [subprocess.Popen([sys.executable, "-m", "tests.faults.publishing"], cwd=ROOT, env=environment)
                  for _ in range(3)]  # fmt: skip
    random = Random(4)
    try:
        for seed in range(2, 6):
            time.sleep(random.uniform(0.5, 1.5))
            serving.kill()
            serving.wait()
            serving = start(service, port, seed=seed, by_batches=batches)
        assert [one.wait(300) for one in publishers] == [0, 0, 0]
    finally:
        for one in publishers:
            if one.poll() is None:
                one.send_signal(signal.SIGKILL)
                one.wait()
        serving.kill()
        serving.wait()
    told = text(
        "SELECT s.external_id, s.dedup_key FROM ledger_domain_events d JOIN ledger_source_events s "
        "ON s.id = d.source_event_id ORDER BY s.external_id, d.sequence"
    )
    with ledger.connect() as tx:
        accepted = [(row.external_id, row.dedup_key) for row in tx.execute(told)]
    assert accepted == sent
    assert verify(ledger, "org_default").ok
    ledger.dispose()


def fill(config: Path, environment: dict[str, str]) -> list[tuple[str, str]]:
    """Decide events of as many deals as give `EVENTS`, several revisions of each; (external id, key) in their order."""
    rows = []
    for deal in range(EVENTS // REVISIONS):
        for revision in range(1, REVISIONS + 1):
            state = canonical({"amount_cents": revision, "stage": "open"}).decode()
            key = f"eu:{deal:06}:{revision}"
            rows.append(
                EventRow(1, f"{deal:06}", revision, key, f"eu:{deal:06}", "upsert", state, "source_change", b"d", 1, 0,
                         None, 1, 1, "2026-05-01T00:00:00.000Z")
            )  # fmt: skip
    with open_app(load(config, environment)) as app, app.store.write() as tx:
        tx.execute(connections.insert().values(id=1, name="eu", source="planhat", state="ok"))
        outbox.add(tx, rows)
    return [(row.external_id, row.dedup_key) for row in rows]


def start(command: list[str], port: int, *, seed: int, by_batches: bool) -> subprocess.Popen[bytes]:
    more = [] if by_batches else ["single"]
    process = subprocess.Popen([*command, str(seed), *more], cwd=ROOT, stderr=subprocess.DEVNULL)
    eventually(lambda: answers(port), "the service answers")
    return process


def answers(port: int) -> bool:
    with suppress(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{port}/livez")
        return True
    return False
