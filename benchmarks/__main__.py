"""`python -m benchmarks`: every contender in turn, then the table, printed and kept in benchmarks/results/latest.md."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from rich.console import Console

from benchmarks import dealsync_runs, distant, hinting, ledger_service, measure, receiver, scaling, stage
from benchmarks.environment import version_of
from benchmarks.measure import Failed
from benchmarks.peer_runs import PEERS, Peer
from benchmarks.report import render
from benchmarks.results import POSTGRESQL, SQLITE, Figure, Result, Table
from benchmarks.stage import PageServer

LATEST = stage.ROOT / "benchmarks" / "results" / "latest.md"
QUICK_DEALS = 10_000
MANY_DEALS = 1_000_000
SWEPT = (10_000, 100_000)
EVENTS = 20_000
WANTED_DECISIONS = 300_000.0
WANTED_SHARE_OF_FLOOR = 40.0
WANTED_PEAK_MB = 300.0

console = Console(stderr=True, highlight=False)


@contextmanager
def _scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dealsync-bench-") as folder:
        yield Path(folder)


class Bench:
    """One run over one number of deals."""

    def __init__(self, table: Table, pages: PageServer, server_url: str) -> None:
        self.table = table
        self._pages = pages
        self._server_url = server_url

    def attempt(self, what: str, measured: Callable[[], None]) -> None:
        """Measure one contender. One that fails is reported as such and costs nobody else the table."""
        console.print(f"[bold]{what}[/bold]")
        try:
            measured()
        except Failed as error:
            self.table.failures.append(f"{what}: {error}")
            console.print(f"  failed: {error}", style="red")

    def peer(self, peer: Peer) -> None:
        """All passes of a peer."""
        with _scratch() as folder:
            self._collect(peer.passes(self._pages, self._server_url, folder))

    def dealsync(self, kind: str) -> None:
        """All passes of dealsync on one kind of store, and the decision against that store."""
        with _scratch() as folder, dealsync_runs.installation(kind, self._server_url, folder) as ours:
            self._collect(ours.passes(self._pages, self._server_url))
            self._decisions(f'decided "unchanged", one look-up a page in {kind}', ours.store_url)
            idle = measure.steady(partial(ours.command, "status")).spent.wall_s
            self.table.figures.append(Figure(f"{ours.name}: `dealsync status`, start to end", idle * 1000, "ms"))
            peak = max(result.spent.peak_mb for result in self.table.results if result.contender == ours.name)
            what = f"{ours.name}: largest process in any pass at {self.table.deals:,} deals"
            self.table.figures.append(Figure(what, peak, "MB", at_most=WANTED_PEAK_MB))

    def appending(self) -> None:
        """The embedded ledger's bulk append, and what PostgreSQL needs for the same rows at the very least."""
        with stage.database(self._server_url) as url:
            command = [sys.executable, "-m", "benchmarks.appending", str(EVENTS), url]
            said = measure.run(command, folder=stage.ROOT, environment=dict(os.environ)).said
        rates = {name: float(str(value)) for name, value in said.items()}
        what = "embedded ledger, events appended in bulk to PostgreSQL"
        share = 100 * rates["appended"] / rates["floor"]
        self.table.figures += [
            Figure(what, rates["appended"], "events/s"),
            Figure("the same rows, COPY into bare logged tables (the floor)", rates["floor"], "events/s"),
            Figure("the same rows, COPY into tables with the ledger's indexes", rates["indexed"], "events/s"),
            Figure(f"{what}, of the floor", share, "%", at_least=WANTED_SHARE_OF_FLOOR),
        ]

    def in_process(self) -> None:
        """The decision in memory, and the floor of reading."""
        self._decisions('decided "unchanged", known digests in memory', at_least=WANTED_DECISIONS)
        command = [sys.executable, "-m", "benchmarks.bare_read", self._pages.url]
        read = measure.run(command, folder=stage.ROOT, environment=dict(os.environ)).spent
        rate = self.table.deals / (read.working_s or read.wall_s)
        self.table.figures.append(Figure("the same pages read with httpx and thrown away", rate, "records/s"))

    def webhooks(self) -> None:
        """Deliveries received, and forgeries refused, on both kinds of store."""
        for kind in ("postgresql", "sqlite"):
            with _scratch() as folder:
                self.table.figures += receiver.figures(kind, self._server_url, folder)

    def far_ledger(self) -> None:
        """A ledger elsewhere that takes one event at a time."""
        with _scratch() as folder:
            self.table.figures += distant.figures(self._server_url, folder)

    def requests(self) -> None:
        """What each source's ways cost in requests: counted, so the machine does not matter."""
        command = [sys.executable, "-m", "benchmarks.requests"]
        said = measure.run(command, folder=stage.ROOT, environment=dict(os.environ)).said
        self.table.figures += [Figure(what, float(str(count)), "") for what, count in said.items()]

    def service(self) -> None:
        """The ledger's HTTP service on both kinds of database, beside what it answers at the very most."""
        for kind in ("postgresql", "sqlite"):
            with _scratch() as folder:
                self.table.figures += ledger_service.figures(kind, self._server_url, folder)

    def hints(self) -> None:
        """How soon a record is asked for that a webhook named, while a backfill uses up the budget."""
        with _scratch() as folder:
            self.table.figures += hinting.figures(self._server_url, folder)

    def scale(self, *, quick: bool) -> None:
        """More workers, connections and deals."""
        with _scratch() as folder:
            self.table.figures += scaling.figures(self._server_url, folder, quick=quick)

    def sweeps(self, *, full: bool) -> None:
        """Monaco swept through the whole pipeline, whose memory must not grow."""
        for deals in (*SWEPT, MANY_DEALS) if full else SWEPT:
            command = [sys.executable, "-m", "benchmarks.monaco_sweep", str(deals)]
            said = measure.run(command, folder=stage.ROOT, environment=dict(os.environ)).said
            self.table.figures += [Figure(what, float(str(found)), "") for what, found in said.items()]

    def _decisions(self, what: str, *store: str, at_least: float | None = None) -> None:
        command = [sys.executable, "-m", "benchmarks.unchanged", str(self.table.deals), *store]
        said = measure.run(command, folder=stage.ROOT, environment=dict(os.environ)).said
        rate = float(str(said["records_per_second"]))
        self.table.figures.append(Figure(what, rate, "records/s", at_least=at_least))

    def _collect(self, results: Iterator[Result]) -> None:
        for result in results:
            self.table.results.append(result)
            console.print(f"  {result.name} {result.road} {result.spent.wall_s:.2f} s, {result.spent.peak_mb:.0f} MB")


def _machine(server_url: str) -> list[str]:
    with psycopg.connect(server_url) as session:
        postgresql = session.info.parameter_status("server_version")
    peers = ", ".join(f"{name} {version_of(name)}" for name in ("dlt", "httpx", "pydantic", "sqlalchemy", "psycopg"))
    load = f"{os.getloadavg()[0]:.2f}"
    return [
        f"{os.cpu_count()} cores, {platform.system()} on {platform.machine()}; load before the start {load}",
        f"Python {platform.python_version()}, PostgreSQL {postgresql}, dealsync {version('dealsync')}",
        f"peers: {peers}",
    ]


def _contenders(bench: Bench, *, quick: bool, full: bool) -> dict[str, Callable[[], None]]:
    return {
        **{peer.name: partial(bench.peer, peer) for peer in PEERS},
        POSTGRESQL: partial(bench.dealsync, "postgresql"),
        SQLITE: partial(bench.dealsync, "sqlite"),
        "ledger": bench.appending,
        "in process": bench.in_process,
        "webhooks": bench.webhooks,
        "service": bench.service,
        "distant": bench.far_ledger,
        "requests": bench.requests,
        "hints": bench.hints,
        "scaling": partial(bench.scale, quick=quick),
        "sweeps": partial(bench.sweeps, full=full),
    }


def main(
    deals: Annotated[int, typer.Option(min=2_000, help="How many deals the source has.")] = 100_000,
    only: Annotated[
        list[str] | None, typer.Option(help="One contender by its name or its beginning; repeatable.")
    ] = None,
    quick: Annotated[bool, typer.Option(help=f"{QUICK_DEALS:,} deals: shows that it runs, not how fast.")] = False,
    full: Annotated[bool, typer.Option(help=f"Also a Monaco sweep of {MANY_DEALS:,}; takes minutes.")] = False,
) -> None:
    """Measure dealsync and its peers on the same deals, in one run."""
    deals = QUICK_DEALS if quick else deals
    with stage.postgresql() as server_url, stage.page_server(deals) as pages:
        table = Table(deals, machine=_machine(server_url))
        bench = Bench(table, pages, server_url)
        for name, measured in _contenders(bench, quick=quick, full=full).items():
            if not only or any(name.startswith(chosen) for chosen in only):
                bench.attempt(name, measured)
    report = render(table)
    print(report)
    if not (quick or only):
        LATEST.parent.mkdir(exist_ok=True)
        LATEST.write_text(report)
        console.print(f"kept in {LATEST.relative_to(stage.ROOT)}")
    if table.failures:
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
