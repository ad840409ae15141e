"""A database that is down, full, read-only, locked or not ours: one line, the right exit code, and nothing lost."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import html, saying
from tests.edge.conftest import Cli, Ended

ROOT = Path(__file__).parents[2]
COMMANDS = ("pull planhat", "sweep planhat", "publish", "status", "doctor", "deals list", "parked list")


def one_line(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.err
    lines = [line for line in ended.err.splitlines() if line.startswith("dealsync:")]
    assert len(lines) == 1, ended.err
    assert "Traceback" not in ended.err
    for word in words:
        assert word in lines[0]


@pytest.fixture
def store(configured: Path) -> Path:
    return configured.with_name("dealsync.db")


@pytest.fixture
def on_postgres(cli: Cli, configured: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("DEALSYNC__STORE__URL", postgres_url)
    assert cli("migrate").code == 0
    return postgres_url


@pytest.mark.parametrize("command", COMMANDS)
def test_a_postgresql_that_does_not_answer(cli: Cli, configured: Path, monkeypatch: pytest.MonkeyPatch, command: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("DEALSYNC__STORE__URL", f"postgresql://ann:hunter2-canary@127.0.0.1:{port}/deals")
    ended = cli(*command.split())
    one_line(ended, 6, "the store cannot be used", "Check that the database runs and can be reached")
    assert "canary" not in ended.err


def test_a_database_that_is_not_there_or_does_not_know_us(
    cli: Cli, configured: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    parts = urlsplit(postgres_url)
    monkeypatch.setenv("DEALSYNC__STORE__URL", urlunsplit(parts._replace(path="/no_such_database")))
    one_line(cli("pull", "planhat"), 6, "no_such_database")


def test_a_postgresql_that_accepts_no_writes(cli: Cli, on_postgres: str, crm: PlanhatSimulator):
    assert cli("pull", "planhat").code == 0
    database = urlsplit(on_postgres).path[1:]
    with psycopg.connect(on_postgres, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")  # type: ignore[arg-type]
    crm.edit(crm.ids()[0], stage="Closed Won")
    for command in ("pull planhat", "publish"):
        one_line(cli(*command.split()), 6, "read-only", "connect to the primary")
    with psycopg.connect(on_postgres, autocommit=True) as admin:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER DATABASE {database} RESET default_transaction_read_only")  # type: ignore[arg-type]
    assert cli("pull", "planhat", "--json").document["events"] in (0, 1)
    assert cli("publish", "--json").document["published"] == 12 + 1 - _stage_already_won(crm)


def _stage_already_won(crm: PlanhatSimulator) -> int:
    """Whether the edit changed nothing because the deal was won from the start."""
    return int(PlanhatSimulator(seed=7, deals=12).get(crm.ids()[0])["stage"] == "Closed Won")


def test_a_postgresql_whose_disk_is_full(cli: Cli, on_postgres: str):
    """Also while rows are copied, where no SQLAlchemy stands between the driver and us."""
    with psycopg.connect(on_postgres, autocommit=True) as admin:
        admin.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION "
            "'could not extend file: No space left on device' USING ERRCODE = 'disk_full'; END $$"
        )
        for table in ("events", "receipts"):
            admin.execute(f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()")  # type: ignore[arg-type]
    one_line(cli("pull", "planhat"), 6, "No space left on device", "Free some space")
    assert cli("status", "--json").document["connections"][0]["deals"] == 0
    with psycopg.connect(on_postgres, autocommit=True) as admin:
        admin.execute("DROP TRIGGER full_disk ON events")
    assert cli("pull", "planhat").code == 0
    one_line(cli("publish"), 6, "No space left on device")
    with psycopg.connect(on_postgres, autocommit=True) as admin:
        admin.execute("DROP FUNCTION full_disk CASCADE")
    again = cli("publish", "--json").document
    assert (again["published"], again["unchanged"]) == (12, 12), "the ledger had them; the receipts were lost"


def test_a_postgresql_user_without_rights(cli: Cli, on_postgres: str, monkeypatch: pytest.MonkeyPatch):
    with psycopg.connect(on_postgres, autocommit=True) as admin:
        admin.execute("CREATE ROLE poor LOGIN")
    try:
        parts = urlsplit(on_postgres)
        host = parts.netloc.rpartition("@")[2]
        monkeypatch.setenv("DEALSYNC__STORE__URL", urlunsplit(parts._replace(netloc=f"poor@{host}")))
        one_line(cli("pull", "planhat"), 6, "permission denied", "Grant the user")
    finally:
        with psycopg.connect(on_postgres, autocommit=True) as admin:
            admin.execute("DROP ROLE poor")


def test_a_postgresql_whose_connections_are_cut_in_the_middle(cli: Cli, on_postgres: str, crm: PlanhatSimulator):
    def cut(request: object) -> None:
        crm.before_list = None
        with psycopg.connect(on_postgres, autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    crm.before_list = cut
    ended = cli("pull", "planhat")
    assert ended.code in (0, 6, 7), ended.err
    assert "Traceback" not in ended.err
    with psycopg.connect(on_postgres, autocommit=True) as admin:
        admin.execute("UPDATE leases SET expires_at = '2000-01-01T00:00:00.000Z'")
    assert cli("pull", "planhat").code == 0
    assert len(cli("deals", "list", "--json").document["deals"]) == 12


def test_a_file_that_is_no_database(cli: Cli, configured: Path, store: Path):
    store.write_bytes(b"this is not a database, it is a text of some length\n" * 40)
    one_line(cli("pull", "planhat"), 6, "not an SQLite database", "[store] url")
    assert store.read_bytes().startswith(b"this is not")


def test_a_damaged_file(cli: Cli, configured: Path, store: Path):
    assert cli("pull", "planhat").code == 0
    with sqlite3.connect(store) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    data = bytearray(store.read_bytes())
    data[4096 : len(data) - 4096] = os.urandom(len(data) - 8192)
    store.write_bytes(data)
    ended = cli("pull", "planhat")
    assert ended.code == 6, ended.err
    assert "restore it from a backup" in ended.err


def test_a_folder_in_the_place_of_the_file(cli: Cli, configured: Path, store: Path):
    store.mkdir()
    one_line(cli("pull", "planhat"), 6, "the store cannot be used")


@pytest.fixture
def limited() -> Iterator[Callable[[int | None], None]]:
    """SQLite may have so many pages and no more, as on a disk that is full."""
    limit: int | None = None

    def set_limit(connection: object, _record: object) -> None:
        if limit is not None and isinstance(connection, sqlite3.Connection):
            connection.execute(f"PRAGMA max_page_count = {limit}")

    def limiting(pages: int | None) -> None:
        nonlocal limit
        limit = pages

    event.listen(Pool, "connect", set_limit)
    yield limiting
    event.remove(Pool, "connect", set_limit)


def test_a_disk_that_fills_up_loses_nothing_whenever_it_does(
    cli: Cli, configured: Path, store: Path, crm: PlanhatSimulator, limited: Callable[[int | None], None]
):
    assert cli("pull", "planhat").code == 0
    assert cli("publish").code == 0
    for number in range(400):
        crm.create(name=f"Deal {number} {os.urandom(40).hex()}", stage="Negotiation", total=number, currency="USD")
    with sqlite3.connect(store) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.close()
    full = 0
    for more in (0, 10, 40, 80, 120, 200, 300):
        limited(pages + more)
        for command in ("pull planhat", "publish"):
            ended = cli(*command.split(), "--give-up-after", "0s")
            assert ended.code in (0, 6), ended.err
            if ended.code == 6:
                full += 1
                assert "full" in ended.err or "an earlier run put them off" in ended.err
                one_line(ended, 6)
    limited(None)
    assert full >= 4
    with sqlite3.connect(store) as database:
        database.execute("UPDATE leases SET expires_at = '2000-01-01T00:00:00.000Z'")
    database.close()
    assert cli("pull", "planhat").code == 0
    assert cli("publish").code == 0
    assert cli("doctor").code == 0
    assert cli("ledger", "verify", "--json").document == {"ok": True, "events": 412, "deals": 412, "first_bad": None}


def test_a_file_system_that_is_read_only(cli: Cli, configured: Path, store: Path):
    """The command runs as another user's would: in a name space of its own, where the folder is mounted read-only."""
    assert cli("pull", "planhat").code == 0
    with sqlite3.connect(store) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    folder = store.parent
    mounted = f"mount --bind {folder} {folder} && mount -o remount,bind,ro {folder} && cd {folder}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mounted], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is not allowed here")
    command = f"{mounted} && exec {sys.executable} -c 'from edge.cli.main import main; main()' pull planhat"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    one_line(Ended(done.returncode, done.stdout, done.stderr), 6, "the store cannot be used")
    assert cli("pull", "planhat").code == 0


def test_a_database_that_another_process_holds(cli: Cli, configured: Path, store: Path, short_patience: None):
    assert cli("pull", "planhat").code == 0
    holder = sqlite3.connect(store, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        one_line(cli("pull", "planhat"), 6, "locked", "run the command again when it is done")
        one_line(cli("publish"), 6, "locked")
    finally:
        holder.rollback()
        holder.close()
    assert cli("publish", "--json").document["published"] == 12


@pytest.fixture
def short_patience() -> Iterator[None]:
    """SQLite waits for a lock for a tenth of a second instead of half a minute."""

    def hurry(connection: object, _record: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA busy_timeout = 100")

    event.listen(Pool, "connect", hurry)
    yield
    event.remove(Pool, "connect", hurry)


@pytest.mark.parametrize(
    ("mishap", "words"),
    [
        (html(), "text/html: the answer is a page of markup"),
        (saying(b'[{"_id":"a"'), "breaks off"),
        (saying(b"[" * 10_000), "breaks off"),
        (saying(b" " * (33 << 20) + b"[]"), "too large for one page"),
    ],
    ids=["html", "truncated", "deep", "100 MB"],
)
def test_a_page_that_is_none_ends_with_6_and_the_checkpoint_stays(
    cli: Cli, configured: Path, store: Path, crm: PlanhatSimulator, mishap: object, words: str
):
    assert cli("pull", "planhat").code == 0
    before = _checkpoints(store)
    crm.faults.sometimes(1.0, mishap)  # type: ignore[arg-type]
    one_line(cli("pull", "planhat", "--give-up-after", "0s"), 6, "/deals", words)
    assert _checkpoints(store) == before
    crm.faults.clear()
    assert cli("pull", "planhat").code == 0


def test_a_record_nobody_can_read_ends_with_5_and_costs_no_other(cli: Cli, configured: Path, crm: PlanhatSimulator):
    one, other = crm.ids()[2:4]
    body = crm.served(one) or b""
    crm.raw(one, body.replace(b'"custom":{', b'"custom":{"deep":' + b"[" * 500 + b"]" * 500 + b","))
    crm.raw(other, (crm.served(other) or b"").replace(b'"total":', b'"total":1e999,"was":'))
    ended = cli("pull", "planhat", "--json")
    # Pages overlap: the two are read twice, and counted each time.
    assert (ended.code, ended.document["parked"], ended.document["applied"]) == (5, 4, 10)
    reasons = {entry["source_id"]: entry["reason"] for entry in cli("parked", "list", "--json").document["parked"]}
    assert reasons[one] == "TOO_DEEP"
    assert other in reasons
    assert "nested deeper than 64 levels" in cli("parked", "list").out


def _checkpoints(store: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(store) as database:
        found = database.execute("SELECT stream, cursor FROM checkpoints").fetchall()
    database.close()
    return found
