"""Whatever happens at the CRM, to the wire and to us, in any order: after quiet the ledger is what the source says.

A simulated tenant and the pipeline live one history side by side, drawn by Hypothesis. Crashes are deaths: from the
chosen transaction on nothing of the process reaches the database any more, not even the return of its lease.
`DEALSYNC_HISTORIES` says how many histories are lived, in two halves; `make chaos` lives many. `DEALSYNC_SEED` says
which. With `DEALSYNC_SHRINK` a failing one is shortened, which takes minutes.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import Engine, event, text

from connectors.faults import Fault
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import (
    Mishap,
    cut_json,
    html,
    lost_answer,
    rate_limited,
    refused,
    reset,
    saying,
    truncated,
)
from pipeline import settings as configuration
from pipeline.audit import Operator
from pipeline.fetch import fetch
from pipeline.mapping_files import shipped
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import discard_parked, list_parked, retry_parked
from pipeline.sweep import sweep
from pipeline.wiring import App, open_app
from tests import servers
from tests.properties import oracles

HISTORIES = int(os.environ.get("DEALSYNC_HISTORIES", "24"))
SEED = int(os.environ.get("DEALSYNC_SEED", "1"))
NAME = "eu"
CONFIG = """\
[store]
url = "sqlite:///store.db"
[connections.eu]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "TOKEN" }}
default_currency = "USD"
mapping = "{mapping}.toml"
[connections.eu.options]
page_size = 4
page_overlap = 1
overlap = "1m"
requests_per_minute = 1000000
"""
STAGES = ("Negotiation", "Closed Won", "Closed Lost", "Odd")
OTHER = (("Negotiation", '"haggling"'), ("Odd", '"odd"'), ("Closed Won", '"closed_won"'))
"""The words of the other mapping: one renamed, one more, one less than the shipped table has."""

MISHAPS: dict[str, Callable[[], Mishap]] = {
    "refused 503": lambda: refused(503),
    "refused 401": lambda: refused(401),
    "rate limited": lambda: rate_limited("1"),
    "html": html,
    "reset": reset,
    "truncated": truncated,
    "cut json": cut_json,
    "lost answer": lost_answer,
    "empty page": lambda: saying(b"[]"),
}

CHANGES: tuple[dict[str, Any], ...] = (
    {},
    *({"total": total} for total in (100, 200, 0, None, Decimal("12.345"))),
    *({"closeDate": day} for day in (None, "2026-07-01T00:00:00.000Z")),
    *({"name": name} for name in ("Ann", "Bob")),
    {"total": 200, "name": "Both", "custom": {"Tier": "gold"}},
)
"""What people edit; nothing at all is a touch."""

GARBAGE: dict[str, tuple[bytes, bytes]] = {
    "a key twice": (b'"total":', b'"total":1,"total":'),
    "NaN": (b'"total":', b'"fees":NaN,"total":'),
    "1e999": (b'"total":', b'"total":1e999,"was":'),
    "41 digits": (b'"total":', b'"total":%s,"was":' % (b"9" * 41)),
    "a list": (b'"total":', b'"total":[],"was":'),
    "stage is an object": (b'"stage":', b'"stage":{},"was":'),
    "deep": (b'"custom":{', b'"custom":{"deep":' + b"[" * 300 + b"]" * 300 + b","),
    "deeper": (b'"custom":{', b'"custom":{"deep":' + b"[" * 3000 + b"]" * 3000 + b","),
    "no id": (b'"_id":', b'"id":'),
}
"""What is put in the place of some bytes of a record, so that it cannot be read."""

Chosen = st.integers(0, 99)
Seeds = st.integers(0, 2**32)


class Died(Exception):
    """The process is dead; nothing it does from here on reaches the database."""


class Mortality:
    """Lets the process die at one of the places where a transaction begins or is about to commit."""

    def __init__(self, engine: Engine) -> None:
        self.points_left: int | None = None
        self.dead = False
        event.listen(engine, "begin", self._point, insert=True)
        event.listen(engine, "commit", self._point, insert=True)

    def _point(self, _connection: object) -> None:
        if self.points_left is not None and threading.current_thread() is threading.main_thread():
            self.points_left -= 1
            self.dead |= self.points_left <= 0
        if self.dead:
            raise Died

    def revive(self) -> None:
        self.points_left, self.dead = None, False


class Histories(RuleBasedStateMachine):
    """The rules are what may happen; the oracles look only at the simulator's truth and at the tables."""

    @initialize(seed=st.integers(0, 5))
    def begin(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="history-", dir=TEMPLATE.parent))
        shutil.copy(TEMPLATE, self.folder / "store.db")
        (self.folder / "shipped.toml").write_text(shipped("planhat"))
        (self.folder / "other.toml").write_text(_other())
        self.crm = PlanhatSimulator(seed=seed, deals=6, token="t")
        self.mapping = "shipped"
        self.opened = open_app(self._settings(), transports={NAME: self.crm.transport()}, give_up_after_s=0.0)
        self.app: App = self.opened.__enter__()
        self.app.epoch = self.crm.clock.epoch  # waits that the CRM asks for pass with its time
        servers.unsynced(self.app.store.engine)
        self.mortality = Mortality(self.app.store.engine)
        self.seen = oracles.Seen()
        self.trash: list[str] = []
        self.raw: dict[str, str] = {}
        self.unseen: set[str] = set()
        self.seen.note(self.crm)

    # -- what people do in the CRM

    @rule(seed=Seeds)
    def work_in_the_crm(self, seed: int) -> None:
        """A few edits, drawn from a seed: Hypothesis itself likes to draw the same one again and again."""
        random = Random(seed)
        for _ in range(random.randint(1, 6)):
            self._edit(random.randrange(100), random.choice(CHANGES), silently=random.random() < 0.3)

    @rule(which=Chosen, stage=st.sampled_from(STAGES))
    def move(self, which: int, stage: str) -> None:
        if one := self._one(which):
            self.crm.edit(one, stage=stage)
            self.seen.note(self.crm)

    @rule(stage=st.sampled_from(STAGES), total=st.integers(-5, 500))
    def create(self, stage: str, total: int) -> None:
        self.crm.create(name=f"Made for {total}", stage=stage, total=total, currency="USD")
        self.seen.note(self.crm)

    @rule(which=Chosen, company=st.booleans())
    def delete(self, which: int, company: bool) -> None:
        one = self._one(which)
        if one is None:
            return
        parent = self.crm.get(one)["companyId"]
        doomed = [other for other in self.crm.ids() if company and self.crm.get(other)["companyId"] == parent] or [one]
        self.unseen.update(doomed)
        self._forget_raw(doomed)
        self.crm.delete_company(parent) if company else self.crm.delete(one)
        self.trash.extend(doomed)

    @rule(which=Chosen)
    def bury(self, which: int) -> None:
        """A deal is deleted, and we come to know it."""
        self.delete(which, False)
        self._live(lambda: sweep(self.app, NAME), None)
        self._live(lambda: sweep(self.app, NAME), None)

    @rule(which=Chosen, moved=st.booleans())
    def restore(self, which: int, moved: bool) -> None:
        if self.trash:
            with suppress(KeyError):  # too old: the trash was emptied
                self.crm.restore(self.trash.pop(which % len(self.trash)), move_updated_at=moved)
            self.seen.note(self.crm)

    @rule(old=st.sampled_from(STAGES), new=st.sampled_from(STAGES), moved=st.booleans())
    def rename_stage(self, old: str, new: str, moved: bool) -> None:
        if not moved:
            self.unseen.update(self.crm.ids())
        self.crm.rename_stage(old, new, move_updated_at=moved)
        self.seen.note(self.crm)

    @rule(which=Chosen, kind=st.sampled_from(sorted(GARBAGE)), touched=st.booleans())
    def garble(self, which: int, kind: str, touched: bool) -> None:
        one = self._one(which)
        if one is None or one in self.raw:
            return
        if touched:
            self.crm.touch(one)
        body = self.crm.served(one)
        if body is not None and GARBAGE[kind][0] in body:
            self.unseen.add(one)
            self.crm.raw(one, body.replace(*GARBAGE[kind], 1))
            self.raw[one] = kind

    @rule(which=Chosen)
    def mend(self, which: int) -> None:
        if self.raw:
            self._forget_raw([sorted(self.raw)[which % len(self.raw)]])

    @rule(seconds=st.sampled_from((1, 60, 1200, 90_000)), late=st.sampled_from((0.0, 0.0, 0.0, 30.0)))
    def time_passes(self, seconds: int, late: float) -> None:
        """From now on writes become visible `late` seconds after their stamp."""
        self.crm.clock.advance(seconds)
        self.crm.switches.late_commit_s = late

    @rule(kind=st.sampled_from(sorted(MISHAPS)), request=st.integers(1, 6), stays=st.booleans())
    def spoil_the_wire(self, kind: str, request: int, stays: bool) -> None:
        for number in range(request, request + (20 if stays else 1)):
            self.crm.faults.at(len(self.crm.log) + number, MISHAPS[kind]())

    # -- what we do

    @rule()
    def sync(self) -> None:
        self._live(lambda: pull(self.app, NAME), None)
        self._live(lambda: publish(self.app), None)

    @rule(dies=st.integers(1, 24))
    def pull(self, dies: int) -> None:
        self._live(lambda: pull(self.app, NAME), dies)

    @rule(dies=st.integers(1, 40))
    def sweep(self, dies: int) -> None:
        self._live(lambda: sweep(self.app, NAME), dies)

    @rule()
    def sweep_well(self) -> None:
        self._live(lambda: sweep(self.app, NAME), None)

    @rule(dies=st.integers(1, 16))
    def pull_and_die_publishing(self, dies: int) -> None:
        self._live(lambda: pull(self.app, NAME), None)
        self._live(lambda: publish(self.app), dies)

    @rule(which=Chosen, dies=st.none() | st.integers(1, 8))
    def fetch(self, which: int, dies: int | None) -> None:
        if one := self._one(which):
            self._live(lambda: fetch(self.app, NAME, one), dies)

    @rule(which=Chosen, total=st.integers(1000, 2000))
    def fetch_from_a_replica_that_lags(self, which: int, total: int) -> None:
        """What was seen just now is followed by what had been there before."""
        one = self._one(which)
        if one is None or one in self.raw:
            return
        before = self.crm.served(one)
        self._edit(which, {"total": total})
        self._live(lambda: fetch(self.app, NAME, one), None)
        if before is not None and before != self.crm.served(one):
            self.crm.faults.sometimes(1.0, saying(before), where=lambda request: request.path.endswith(one))
            self._live(lambda: fetch(self.app, NAME, one), None)

    @rule(which=Chosen, total=st.integers(1000, 2000), dies=st.integers(5, 14))
    def die_pulling_what_an_overlap_does_not_reach(self, which: int, total: int, dies: int) -> None:
        self._edit(which, {"total": total})
        self.time_passes(1200, 0.0)
        self._edit(which + 1, {"total": total})
        self._live(lambda: pull(self.app, NAME), dies)
        pull(self.app, NAME)
        oracles.pull_has_seen(self.app, self.crm, NAME, except_for=self.unseen)

    @rule(dies=st.none() | st.integers(1, 18))
    def retry(self, dies: int | None) -> None:
        self._live(lambda: retry_parked(self.app, None, NAME), dies)

    @rule(which=Chosen)
    def discard(self, which: int) -> None:
        """Whoever puts a record aside does not wait for another mapping: should one read it, a sweep finds it."""
        if parked := list(list_parked(self.app)):
            chosen = parked[which % len(parked)]
            self.unseen.add(chosen["source_id"])
            discard_parked(self.app, [chosen["id"]], Operator("me", "a test"))

    @rule()
    def change_the_mapping(self) -> None:
        self.mapping = "other" if self.mapping == "shipped" else "shipped"
        self.app.settings = self._settings()

    def quiet(self) -> None:
        """Nobody changes anything any more, nothing fails: what the ledger holds can be held against the source."""
        self.crm.faults.clear()
        self.crm.switches.late_commit_s = 0.0
        self.crm.clock.advance(3600)
        self._forget_raw([one for one, kind in self.raw.items() if kind == "no id"])
        if not self.crm.ids():  # an empty list witnesses nothing, on purpose
            self.create("Negotiation", 1)
        pull(self.app, NAME)
        oracles.pull_has_seen(self.app, self.crm, NAME, except_for=self.unseen)
        if oracles.sweep_under_way(self.app):
            sweep(self.app, NAME)
        sweep(self.app, NAME)
        sweep(self.app, NAME)
        publish(self.app)
        self._check()

    def _check(self) -> None:
        oracles.history_is_sound(self.app)
        oracles.ledger_is_source(self.app, self.crm, NAME, self.seen)
        oracles.parked_is_what_cannot_be_read(self.app, self.crm, NAME)
        before = oracles.rows(self.app)
        pull(self.app, NAME)
        sweep(self.app, NAME)
        publish(self.app)
        assert oracles.rows(self.app) == before, "running it again wrote something"

    def teardown(self) -> None:
        if not hasattr(self, "app"):
            return
        try:
            if sys.exc_info()[0] is None:
                self.quiet()
        finally:
            self.opened.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    # -- inside

    def _edit(self, which: int, change: dict[str, Any], *, silently: bool = False) -> None:
        one = self._one(which)
        if one is None:
            return
        if silently:
            self.unseen.add(one)
        (self.crm.silent if silently else self.crm.edit)(one, **change)
        self.seen.note(self.crm)

    def _one(self, which: int) -> str | None:
        ids = self.crm.ids()
        return ids[which % len(ids)] if ids else None

    def _forget_raw(self, ids: list[str]) -> None:
        for one in ids:
            if self.raw.pop(one, None) is not None:
                self.unseen.add(one)
                self.crm.mend(one)

    def _settings(self) -> Any:
        file = self.folder / "dealsync.toml"
        file.write_text(CONFIG.format(mapping=self.mapping))
        return configuration.load(file, {"TOKEN": "t"})

    def _live(self, verb: Callable[[], object], dies: int | None) -> None:
        """One command. Faults of the source and deaths are part of the history; anything else is a bug."""
        self.mortality.points_left = dies
        try:
            verb()
        except (Fault, Died):
            pass
        finally:
            self.mortality.revive()
            self.crm.faults.clear()
        with self.app.store.engine.begin() as tx:
            tx.execute(text("UPDATE leases SET expires_at = '2000-01-01T00:00:00.000Z'"))


def _other() -> str:
    """The shipped table with the stage words of `OTHER`."""
    head, _, rest = shipped("planhat").partition("[deals.stage.words]")
    _, _, tail = rest.partition("[deals.close_date]")
    words = "\n".join(f'"{word}" = {meaning}' for word, meaning in OTHER)
    return f"{head}[deals.stage.words]\n{words}\n\n[deals.close_date]{tail}"


TEMPLATE: Path


@pytest.fixture
def _few_words() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.mark.timeout(3600)
@pytest.mark.usefixtures("_few_words")
@pytest.mark.parametrize("half", [0, 1])
def test_every_history_ends_with_the_ledger_that_the_source_calls_for(tmp_path: Path, half: int) -> None:
    global TEMPLATE
    file = tmp_path / "dealsync.toml"
    (tmp_path / "shipped.toml").write_text(shipped("planhat"))
    file.write_text(CONFIG.format(mapping="shipped"))
    with open_app(configuration.load(file, {"TOKEN": "t"})):
        pass
    TEMPLATE = tmp_path / "store.db"
    run_state_machine_as_test(
        seeded(2 * SEED + half)(Histories),
        settings=settings(
            max_examples=HISTORIES // 2,
            stateful_step_count=50,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink) if "DEALSYNC_SHRINK" in os.environ else (Phase.generate,),
            suppress_health_check=list(HealthCheck),
        ),
    )
