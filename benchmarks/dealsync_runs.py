"""dealsync as a contender: the command line as a user calls it, with a `dealsync.toml` written for the run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import measure, stage
from benchmarks.measure import Ended, Failed, Running, Spent
from benchmarks.results import FIRST, NOTHING, ONE_PERCENT, POSTGRESQL, SQLITE, Result
from benchmarks.stage import PageServer
from benchmarks.tenant import Edition

CONNECTION = "bench"

_SETTINGS = """\
[store]
url = "{store}"
[ledger]
kind = "embedded"
currency = "USD"
[connections.{connection}]
source = "planhat"
base_url = "{pages}"
token = {{ env = "BENCH_TOKEN" }}
[connections.{connection}.options]
revenue_model = "deals"
amount_unit = "major"
page_size = 2000
requests_per_minute = 1000000
"""

_EDITION_AND_VERB: tuple[tuple[Edition, str], ...] = (("one_percent", "pull"), ("two_percent", "sweep"))
_LEDGER = "SELECT count(*), sum({cents}) FROM ledger_deals WHERE deleted_at IS NULL"
_CENTS = {
    "postgresql": "(state::jsonb ->> 'amount_cents')::bigint",
    "sqlite": "json_extract(state, '$.amount_cents')",
}


@dataclass(frozen=True, slots=True)
class Dealsync:
    """An installation in `folder` over the store at `store_url`."""

    name: str
    folder: Path
    store_url: str

    def passes(self, pages: PageServer, server_url: str) -> Iterator[Result]:
        """First load; one per cent changed, by pull and by sweep; nothing changed, by pull and by sweep."""
        yield self.first_load(pages, server_url)
        for edition, verb in _EDITION_AND_VERB:
            shown = pages.show(edition)
            stage.settle(server_url)
            yield Result(self.name, ONE_PERCENT, self._one_after_the_other(verb), f"{verb} + publish")
            self._must_hold(pages.deals, shown)
        for verb in ("sweep", "pull"):
            stage.settle(server_url)
            ended = measure.steady(partial(self.command, verb, CONNECTION))
            _must_be_idle(ended)
            yield Result(self.name, NOTHING, ended.spent, verb)

    def first_load(self, pages: PageServer, server_url: str) -> Result:
        """Everything, until it is in the ledger. Making the tables comes before the clock."""
        text = _SETTINGS.format(store=self.store_url, connection=CONNECTION, pages=pages.url)
        (self.folder / "dealsync.toml").write_text(text)
        self.command("migrate")
        shown = pages.show("initial")
        stage.settle(server_url)
        result = Result(self.name, FIRST, self._load_while_publishing(), "pull + publish")
        self._must_hold(pages.deals, shown)
        return result

    def command(self, *words: str) -> Ended:
        """One command run to its end."""
        return self._start(*words).wait()

    def _start(self, *words: str) -> Running:
        return Running(
            [stage.DEALSYNC, *words, "--json"], folder=self.folder, environment=stage.environment(self.folder)
        )

    def _load_while_publishing(self) -> Spent:
        """Pull in one process while a publisher follows in another, as a worker does, until the ledger holds all."""
        begun, flag = time.perf_counter(), self.folder / "pulled"
        environment = {**stage.environment(self.folder), "PYTHONPATH": str(stage.ROOT)}
        follower = [sys.executable, "-m", "benchmarks.publisher", str(flag)]
        publisher = Running(follower, folder=self.folder, environment=environment)
        try:
            pulled = self.command("pull", CONNECTION)
            flag.touch()
            published = publisher.wait()
        finally:
            publisher.kill()
        return measure.at_once([pulled.spent, published.spent], wall_s=time.perf_counter() - begun)

    def _one_after_the_other(self, verb: str) -> Spent:
        return measure.one_after_the_other([self.command(verb, CONNECTION).spent, self.command("publish").spent])

    def _must_hold(self, deals: int, total_cents: int) -> None:
        query = _LEDGER.format(cents=_CENTS[self.store_url.partition(":")[0]])
        stage.must_equal(stage.sum_of(self.store_url, query), (deals, total_cents))


def _must_be_idle(ended: Ended) -> None:
    if ended.said.get("events"):
        raise Failed(f"nothing had changed, yet {ended.said['events']} events were made")


@contextmanager
def installation(kind: str, server_url: str, folder: Path) -> Iterator[Dealsync]:
    """A fresh installation on `postgresql` or `sqlite`."""
    if kind == "sqlite":
        yield Dealsync(SQLITE, folder, f"sqlite:///{folder / 'dealsync.db'}")
        return
    with stage.database(server_url) as url:
        yield Dealsync(POSTGRESQL, folder, url)
