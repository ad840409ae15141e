"""What every contender stands on: the page server's process, and one PostgreSQL with a fresh database for each."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg

from benchmarks.measure import Failed
from benchmarks.tenant import Edition
from tests import servers

ROOT = Path(__file__).parents[1]
DEALSYNC = str(Path(sys.executable).with_name("dealsync"))
"""The console script."""

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


@dataclass(frozen=True, slots=True)
class PageServer:
    """A running page server over so many deals."""

    url: str
    deals: int

    def show(self, edition: Edition) -> int:
        """Switch the edition; the sum of all totals in cents, to check what was landed."""
        answer = httpx.put(f"{self.url}/edition/{edition}", timeout=60).raise_for_status()
        return int(answer.json()["total_cents"])


@contextmanager
def announced(module: str, *arguments: str) -> Iterator[str]:
    """A server in a process of its own, by the address that it prints first; ended with the block."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextmanager
def conversing(module: str, *arguments: str) -> Iterator[tuple[Any, Callable[[str], Any]]]:
    """A server in a process of its own: what it prints first, and what it answers to a line, each a line of JSON.

    It ends when nothing more is asked, with the block.
    """
    command = [sys.executable, "-m", module, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe) as process:
        answers, questions = process.stdout, process.stdin
        assert answers is not None
        assert questions is not None

        def ask(line: str) -> Any:
            print(line, file=questions, flush=True)
            return json.loads(answers.readline())

        try:
            yield json.loads(answers.readline()), ask
        finally:
            questions.close()


@contextmanager
def page_server(deals: int) -> Iterator[PageServer]:
    """A page server of its own process, ended with the block."""
    with announced("benchmarks.pages", "--deals", str(deals)) as url:
        yield PageServer(url, deals)


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a running PostgreSQL. Raises `SystemExit` when it is not set to be durable."""
    with servers.postgres(durable=True) as url:
        with psycopg.connect(url) as session:
            for name, wanted in DURABLE.items():
                found = session.execute(f"SHOW {name}").fetchone()
                if found != (wanted,):
                    raise SystemExit(f"PostgreSQL runs with {name} = {found}; the benchmark wants {wanted}")
        yield url


def database(server_url: str) -> AbstractContextManager[str]:
    """A fresh database."""
    return servers.database(server_url)


def settle(server_url: str) -> None:
    """Write out what earlier passes left in memory, so that nobody pays for somebody else's pages."""
    with psycopg.connect(server_url, autocommit=True) as session:
        session.execute("CHECKPOINT")


def sum_of(database_url: str, query: str) -> tuple[int, int]:
    """Rows and cents, as a query over a contender's own table tells them."""
    if database_url.startswith("sqlite:///"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as file:
            row = file.execute(query).fetchone()
    else:
        with psycopg.connect(database_url) as session:
            row = session.execute(query).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def environment(folder: Path) -> dict[str, str]:
    """A bare environment: a home of its own, nothing that phones home, nothing of the caller's settings."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DLT_DATA_DIR": str(folder / "dlt"),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "DO_NOT_TRACK": "1",
        "BENCH_TOKEN": "bench",
    }


def configured(folder: Path) -> dict[str, str]:
    """That of a process of ours wherever it runs, over the configuration in `folder`."""
    ours = {"DEALSYNC_CONFIG": str(folder / "dealsync.toml"), "PYTHONPATH": str(ROOT)}
    return {**environment(folder), **ours}


def fresh(folder: Path, name: str) -> Path:
    """A new folder in another one."""
    made = folder / name
    made.mkdir()
    return made


def must_equal(landed: tuple[int, int], shown: tuple[int, int]) -> None:
    """A pass counts only when what landed is what the source shows. Raises `measure.Failed`."""
    if landed != shown:
        (rows, cents), (deals, total) = landed, shown
        raise Failed(f"landed {rows:,} deals with {cents:,} cents, the source shows {deals:,} with {total:,}")
