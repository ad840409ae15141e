"""A process that pulls, sweeps and publishes, and dies at a chosen point; run as `python -m tests.faults.killing`.

It counts the places where a transaction begins or is about to commit, of the store and of the ledger alike, and kills
itself with SIGKILL at the given one: between them nothing becomes durable, so these are all the points that matter.
Each life is a fork of this process; the stores are copies of a prepared one, so that keys can be compared.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, event, text

from connectors.planhat.simulator import PlanhatSimulator
from ledger.engine import connect
from pipeline import settings
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.sweep import sweep
from pipeline.wiring import migrate, open_app

ROOT = Path(__file__).parents[2]
NAME = "eu"
CONFIG = """\
[store]
url = "{url}"
[connections.eu]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "TOKEN" }}
default_currency = "USD"
[connections.eu.options]
page_size = 5
page_overlap = 1
requests_per_minute = 1000000
"""
DONE = 99
"""The exit code of an attempt that lived to its end."""


def every_point(module: str, database_url: str, folder: Path, steps: tuple[int, int]) -> tuple[dict[str, Any], int]:
    """What a process of its own tells of killing at every so many points, and how many those were.

    `steps` are for SQLite and for PostgreSQL; `DEALSYNC_KILL_STEP` takes the place of either: `make chaos` tries every
    point.
    """
    step = os.environ.get("DEALSYNC_KILL_STEP", str(steps[not database_url.startswith("sqlite")]))
    done = subprocess.run(
        [sys.executable, "-m", module, database_url, str(folder), step],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told, int(step)


def the_crm_changes(crm: PlanhatSimulator) -> None:
    crm.edit(crm.ids()[0], stage="Closed Won")
    crm.edit(crm.ids()[1], total=77)
    crm.edit(crm.ids()[2], stage="Nowhere")
    crm.delete(crm.ids()[3])


def nothing_changes(_crm: PlanhatSimulator) -> None:
    """The CRM stays as it is."""


STORY = [(nothing_changes, pull), (the_crm_changes, pull), (nothing_changes, sweep), (nothing_changes, sweep)]
"""What happens at the CRM, then what we do about it, chapter by chapter."""


def attempt(config: settings.Settings, bookmark: Path, kill_at: int | None) -> None:
    """One life. It begins with the chapter in which the last one ended: the CRM does not go back in time."""
    crm = PlanhatSimulator(seed=5, deals=12, token="t")
    begun = int(bookmark.read_text()) if bookmark.exists() else 0
    with open_app(config, transports={NAME: crm.transport()}) as app:
        if kill_at is not None:
            die_at(app.store.engine, kill_at)
        for chapter, (change, verb) in enumerate(STORY):
            change(crm)
            if chapter >= begun:
                bookmark.write_text(str(chapter))
                verb(app, NAME)
                publish(app)


def die_at(engine: Engine, kill_at: int) -> None:
    points = 0

    def point(_connection: object) -> None:
        nonlocal points
        points += 1
        if points == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(engine, "begin", point)
    event.listen(engine, "commit", point)


def forked(life: Callable[[], None]) -> int:
    """Run a life in a child; its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        try:
            life()
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(DONE)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def outcome(url: str) -> list[list[object]]:
    """What the ledger holds: every event of every deal, in the deal's order, as the ledger's own tables say."""
    engine = connect(url)
    told = text(
        "SELECT s.external_id, s.dedup_key, d.event_type, d.state FROM ledger_domain_events d "
        "JOIN ledger_source_events s ON s.id = d.source_event_id ORDER BY s.external_id, d.sequence"
    )
    with engine.connect() as tx:
        found = [list(row) for row in tx.execute(told)]
        waiting = tx.execute(text("SELECT count(*) FROM outbox")).scalar_one()
    engine.dispose()
    assert waiting == 0, f"{waiting} events still wait"
    return found


class Stores:
    """Copies of one prepared store."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.made = url, folder, 0
        self.sqlite = url.startswith("sqlite")
        self._prepare()

    def _prepare(self) -> None:
        config = self.config(self.url)
        migrate(config)
        with open_app(config):
            pass

    def config(self, url: str) -> settings.Settings:
        file = self.folder / "dealsync.toml"
        file.write_text(CONFIG.format(url=url))
        return settings.load(file, {"TOKEN": "t"})

    def lives(self, kill_at: int | None) -> tuple[list[list[object]], bool]:
        """What the ledger holds after a life that is killed and one that is not, and whether the first survived."""
        url = self.copy()
        config, bookmark = self.config(url), self.folder / f"bookmark{self.made}"
        code = forked(lambda: attempt(config, bookmark, kill_at))
        if code != DONE:
            assert code == -signal.SIGKILL, f"the life to be killed at {kill_at} ended with {code}"
            expire_leases(url)
            assert forked(lambda: attempt(config, bookmark, None)) == DONE, f"no life after the kill at {kill_at}"
        return outcome(url), code == DONE

    def copy(self) -> str:
        self.made += 1
        if self.sqlite:
            original = Path(self.url.removeprefix("sqlite:///"))
            copied = self.folder / f"copy{self.made}.db"
            shutil.copy(original, copied)
            return f"sqlite:///{copied}"
        original, _, query = self.url.partition("?")
        name = original.rsplit("/", 1)[1]
        with psycopg.connect(self.url, autocommit=True, dbname="postgres") as admin:
            admin.execute(f"CREATE DATABASE {name}_{self.made} TEMPLATE {name}")
        return f"{original}_{self.made}?{query}" if query else f"{original}_{self.made}"


def main(url: str, folder: str, step: int) -> None:
    """Kill at every `step`-th point until a life outlives its story; each time, live again and compare."""
    stores = Stores(url, Path(folder))
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


def expire_leases(url: str) -> None:
    """The ten seconds pass that a lease outlives its owner."""
    engine = connect(url)
    with engine.begin() as tx:
        tx.execute(text("UPDATE leases SET expires_at = '2000-01-01T00:00:00.000Z'"))
    engine.dispose()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
