"""One budget for each source account: shared by connections, lanes, threads and processes, in the store."""

from __future__ import annotations

import heapq
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import redis as redis_client
from sqlalchemy import event, select

from connectors.faults import RateLimited
from connectors.leadlex.options import LeadlexOptions
from connectors.pacing import DAY, HOUR, MINUTE, Limit, Permits
from connectors.permits import HeldPermits, Purse
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import rate_limited
from connectors.simulation import START
from connectors.spending import RESERVES, Lane, Terms
from ledger.engine import connect
from pipeline import settings
from pipeline.permits import BATCHES, account_of, lane_of, limits_of
from pipeline.pull import pull
from pipeline.redis_purse import Keeper
from pipeline.store import schema
from pipeline.store.budget_tables import budgets
from pipeline.store.budgets import AccountPurse
from pipeline.store.session import Store
from pipeline.wiring import App, migrate, open_app
from tests import servers
from tests.conformance.test_limits import most_within
from tests.conformance.world import wait_in_simulated_time
from tests.pipeline.world import TOKEN


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    with servers.redis() as url:
        yield url


LANES: list[Lane] = list(RESERVES)
CONFIG = """\
[store]
url = "{url}"
[connections.one]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "TOKEN" }}
account = "acme"
[connections.one.options]
page_size = 2
page_overlap = 1
requests_per_minute = 12
requests_per_hour = 5000
[connections.acme]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "TOKEN" }}
[connections.acme.options]
page_size = 2
page_overlap = 1
requests_per_minute = 20
[connections.other]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "TOKEN" }}
"""


def loaded(folder: Path, url: str) -> settings.Settings:
    file = folder / "dealsync.toml"
    file.write_text(CONFIG.format(url=url))
    return settings.load(file, {"TOKEN": TOKEN})


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=30, token=TOKEN)


@pytest.fixture
def opened(
    tmp_path: Path, database_url: str, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], App]]:
    """The app as one process after the other opens it, in the tenant's time."""
    wait_in_simulated_time(monkeypatch, crm.clock)
    config = loaded(tmp_path, database_url)
    migrate(config)
    with ExitStack() as stack:

        def opening() -> App:
            transports = dict.fromkeys(config.connections, crm.transport())
            app = stack.enter_context(open_app(config, transports=transports, give_up_after_s=5.0))
            app.epoch = crm.clock.epoch
            return app

        yield opening


def test_an_account_is_named_or_is_the_connection_and_has_the_least_limits_of_all_who_use_it(tmp_path: Path):
    config = loaded(tmp_path, "sqlite:///x.db")
    assert [account_of(config, name) for name in ("one", "acme", "other")] == ["acme", "acme", "other"]
    assert sorted(limits_of(config)["acme"]) == [Limit(12, MINUTE), Limit(5000, HOUR)]
    assert limits_of(config)["other"] == [Limit(200, MINUTE)]


@pytest.mark.parametrize(
    ("kind", "lane"),
    [
        ("fetch", "hint"), ("pull", "pull"), ("sweep", "reconcile"), ("replay", "pull"), ("recover", "pull"),
        ("reconcile", "reconcile"), ("backfill", "backfill"),
    ],
)  # fmt: skip
def test_a_run_takes_its_requests_in_the_lane_of_its_kind(kind: str, lane: Lane):
    assert lane_of(kind) == lane


def test_two_connections_of_one_account_and_two_processes_keep_to_its_limit_together(
    opened: Callable[[], App], crm: PlanhatSimulator
):
    waiting = [(opened(), name) for name in ("one", "acme", "one")]
    for _ in range(40):
        for app, name in list(waiting):
            try:
                pull(app, name)
                waiting.remove((app, name))
            except RateLimited as told:
                crm.clock.advance(told.retry_after_s)
    assert not waiting
    assert len(crm.log) > 40
    assert most_within(crm.log, timedelta(seconds=MINUTE)) <= 12


def test_a_command_that_comes_to_a_spent_budget_says_when_it_goes_on_and_sends_nothing(
    opened: Callable[[], App], crm: PlanhatSimulator
):
    app = opened()
    permits = app.permits("acme", "fetch")
    while permits.take() == 0:
        pass
    begun = crm.clock.now
    with pytest.raises(RateLimited, match=r"is used up for another \d+ s; it goes on at \d{4}-.*Z") as told:
        pull(opened(), "one")
    assert 0 < told.value.retry_after_s <= MINUTE + BATCHES.good_for
    assert (crm.log, crm.clock.now) == ([], begun)
    crm.clock.advance(told.value.retry_after_s + 0.001)
    permits.close()
    assert pull(opened(), "other").read >= 30


def test_a_wait_that_one_connection_is_told_of_holds_back_all_of_its_account(
    opened: Callable[[], App], crm: PlanhatSimulator
):
    crm.faults.next(rate_limited("600"))
    with pytest.raises(RateLimited):
        pull(opened(), "one")
    assert len(crm.log) == 1
    with pytest.raises(RateLimited, match="used up for another 600 s"):
        pull(opened(), "acme")
    assert len(crm.log) == 1
    assert pull(opened(), "other").read >= 30, "another account is not concerned"
    crm.clock.advance(600)
    assert pull(opened(), "acme").read > 0


def test_a_budget_tells_nothing_but_numbers_and_a_run_costs_few_visits(opened: Callable[[], App]):
    app, visits = opened(), []
    event.listen(app.store.engine, "before_cursor_execute", lambda *seen: visits.append(seen[2]))
    pull(app, "other")
    written = [text for text in visits if text.startswith("UPDATE budgets")]
    assert 1 <= len(written) <= 5, "ten requests"
    with app.store.read() as tx:
        ((account, state),) = tx.execute(select(budgets.c.account, budgets.c.state)).all()
    assert account == "other"
    assert TOKEN not in state


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    engine = connect(database_url)
    schema.STORE.migrate(engine)
    yield Store(engine)
    engine.dispose()


class Account:
    """An account's shared budget in simulated time, and the requests that were sent."""

    def __init__(self, store: Store, *limits: Limit, keeper: Keeper | None = None) -> None:
        self.store, self.limits, self.now, self.keeper = store, limits, START.timestamp(), keeper
        self.sent: list[float] = []

    def holder(self, lane: Lane) -> HeldPermits:
        purse: Purse = AccountPurse(self.store, "acme", lambda: self.now)
        if self.keeper is not None:
            purse = self.keeper.purse(purse, "acme", self.limits, lambda: self.now)
        terms = Terms(self.limits, lane)
        return HeldPermits(purse, terms, BATCHES._replace(ahead=False), monotonic=lambda: self.now)

    def most(self, limit: Limit) -> int:
        """How many requests came within any of the limit's windows."""
        sent = sorted(self.sent)
        if limit.aligned:
            days = [at // limit.seconds for at in sent]
            return max(map(days.count, set(days)))
        first, most = 0, 0
        for last, at in enumerate(sent):
            while at - sent[first] >= limit.seconds - 1e-3:
                first += 1
            most = max(most, last - first + 1)
        return most


def play(account: Account, seed: int, until: float, hints_per_minute: float) -> list[tuple[float, float]]:
    """Three backfills and a pull send as fast as they may, hints come by chance: when each came, and what it waited.

    Now and then a backfill dies with the permits it holds, and another begins in its place.
    """
    chance, order, waited = Random(seed), iter(range(10**9)), list[tuple[float, float]]()
    end, due = account.now + until, list[tuple[float, int, str, Permits, float]]()

    def push(at: float, lane: str, permits: Permits, since: float) -> None:
        heapq.heappush(due, (at, next(order), lane, permits, since))

    for lane in ("backfill", "backfill", "backfill", "pull"):
        push(account.now, lane, account.holder(lane), account.now)
    at = account.now
    while (at := at + chance.expovariate(hints_per_minute / 60)) < end:
        push(at, "hint", account.holder("hint"), at)
    while due and due[0][0] < end:
        account.now, _, lane, permits, since = heapq.heappop(due)
        if wait := permits.take():
            push(account.now + wait, lane, permits, since)
            continue
        account.sent.append(account.now)
        if lane == "hint":
            waited.append((since, account.now - since))
            permits.close()
        else:
            if lane == "backfill" and chance.random() < 0.01:
                permits = account.holder("backfill")
            push(account.now + chance.uniform(0.1, 0.6), lane, permits, account.now)
    return waited


@pytest.mark.parametrize(("seed", "kept_in"), [(1, "database"), (2, "database"), (1, "redis")])
@pytest.mark.parametrize(
    ("limits", "minutes", "hints"),
    [
        ([Limit(200, MINUTE)], 5, 60.0),
        ([Limit(60, MINUTE)], 8, 15.0),
        ([Limit(900, HOUR)], 190, 4.0),
    ],
    ids=["planhat", "cpod", "monaco"],
)
def test_under_a_backfill_nineteen_of_twenty_hints_start_within_two_seconds(
    sqlite_url: str,
    broker: str,
    limits: list[Limit],
    minutes: int,
    hints: float,
    seed: int,
    kept_in: str,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("pipeline.redis_purse._PATIENCE_S", 20.0)  # a busy machine is no Redis that is away
    engine = connect(sqlite_url)
    servers.unsynced(engine)
    schema.STORE.migrate(engine)
    with closing(Keeper(broker, uuid.uuid4().hex)) as keeper:
        account = Account(Store(engine), *limits, keeper=keeper if kept_in == "redis" else None)
        hinted = play(account, seed, minutes * 60, hints)
    quiet_until = START.timestamp() + limits[0].seconds  # nobody had seen a hint: for one window they have the reserve
    waited = sorted(wait for since, wait in hinted if since >= quiet_until)
    assert len(waited) >= 20
    assert waited[int(len(waited) * 0.95)] <= 2.0
    for limit in limits:
        assert account.most(limit) <= limit.requests
        least = 0.8 if kept_in == "database" else 0.7  # a tenth of it is not lent
        assert account.most(limit) >= least * limit.requests, "the limit is made use of"
    engine.dispose()


def test_leadlex_has_its_day_anew_at_midnight_for_all_who_share_it(store: Store):
    options = LeadlexOptions(requests_per_minute=1_000_000, requests_per_day=40)
    account = Account(store, *options.limits())
    midnight = (account.now // DAY + 1) * DAY
    account.now = midnight - 3600
    for _ in range(3):
        for lane in LANES:
            permits = account.holder(lane)
            while permits.take() == 0:
                account.sent.append(account.now)
            permits.close()
        assert account.holder("hint").take() == pytest.approx(midnight - account.now)
        account.now += 1000
    assert len(account.sent) == 40
    account.now = midnight
    assert account.holder("backfill").take() == 0


SHORT = Limit(30, 1.0)


def spend_for_real(url: str, broker: str | None, lane: Lane, pipe: int, until: float) -> None:
    """A process that sends as often as it may, and writes down when; it lives in a fork of the test."""
    purse: Purse = AccountPurse(Store(connect(url)), "acme")
    if broker is not None:
        purse = Keeper(broker, url).purse(purse, "acme", [SHORT])
    permits = HeldPermits(purse, Terms([SHORT], lane), BATCHES._replace(good_for=0.2, late=0.02))
    while time.time() < until:
        if wait := permits.take():
            time.sleep(min(wait, 0.05))
        else:
            os.write(pipe, f"{time.time():.6f}\n".encode())


@pytest.mark.parametrize("kept_in", ["database", "redis"])
def test_processes_that_are_killed_and_begun_again_never_send_more_than_the_limit_together(
    database_url: str, broker: str, kept_in: str
):
    """Redis, where it is used, forgets everything in the middle of it."""
    engine = connect(database_url)
    schema.STORE.migrate(engine)
    engine.dispose()
    reading, writing = os.pipe()
    until = time.time() + 6

    def begun(lane: Lane) -> int:
        child = os.fork()
        if child == 0:
            try:
                spend_for_real(database_url, broker if kept_in == "redis" else None, lane, writing, until)
            finally:
                os._exit(0)
        return child

    living = [begun(lane) for lane in ("hint", "pull", "backfill")]
    for lane in ("hint", "pull", "backfill"):
        time.sleep(1.2)
        victim = living.pop(0)
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        living.append(begun(lane))
        if lane == "pull":
            with redis_client.Redis.from_url(broker) as admin:
                admin.flushall()
    for child in living:
        os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as lines:
        sent = sorted(float(line) for line in lines if line.endswith("\n"))
    busiest = max(sum(at <= other < at + SHORT.seconds for other in sent) for at in sent)
    assert busiest <= SHORT.requests
    least = 2.5 if kept_in == "database" else 1.5
    assert len(sent) >= least * SHORT.requests, "what the dead had taken comes back when its window is over"
