"""Schema: migrations and tables agree on both databases, and a database of another version is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from ledger.engine import connect, reading
from ledger.schema import LEDGER
from pipeline import settings
from pipeline.faults import StoreUnavailable, StoreUnready
from pipeline.store import parking
from pipeline.store.parking import ParkedRow
from pipeline.store.schema import STORE, require
from pipeline.store.session import translated
from pipeline.store.tables import metadata
from pipeline.wiring import migrate, open_app
from tests import servers
from tests.pipeline.world import migrated_to


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Empty, since it is migrating that is tried here."""
    with servers.database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = connect(database_url)
    yield engine
    engine.dispose()


def differences(tx: Connection) -> list[Any]:
    """What Alembic would have to change to make the database what the tables say; the ledger's tables left out."""
    ours = {*metadata.tables, STORE.version_table}

    def is_ours(thing: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
        table = name if kind == "table" else getattr(getattr(thing, "table", None), "name", None)
        return table in ours

    options = {"compare_type": True, "compare_server_default": True, "include_object": is_ours}
    options["version_table"] = STORE.version_table
    return list(compare_metadata(MigrationContext.configure(tx, opts=options), metadata))


def test_migrations_make_exactly_the_tables(engine: Engine):
    assert STORE.migrate(engine)
    LEDGER.migrate(engine)
    with reading(engine) as tx:
        assert differences(tx) == []
        found = inspect(tx)
        for name, table in metadata.tables.items():
            columns = {column["name"]: column["nullable"] for column in found.get_columns(name)}
            assert columns == {column.name: bool(column.nullable) for column in table.columns}
            key = found.get_pk_constraint(name)["constrained_columns"]
            assert key == [column.name for column in table.primary_key]


def test_a_table_that_differs_would_be_seen(engine: Engine):
    STORE.migrate(engine)
    with engine.begin() as tx:
        tx.execute(text("ALTER TABLE runs ADD COLUMN forgotten TEXT"))
        tx.execute(text("DROP INDEX sightings_run"))
        assert len(differences(tx)) == 2


BY_A_LOCALE = text(
    "SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid "
    "WHERE c.relkind IN ('r', 'i') AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE '%alembic%' "
    "AND a.attcollation NOT IN (0, (SELECT oid FROM pg_collation WHERE collname = 'C'))"
)


def test_text_is_compared_byte_by_byte_in_every_table_and_index(postgres_url: str):
    """What was there before, in the order of the machine's locale, is found again afterwards, and stays unique."""
    engine = connect(postgres_url)
    with engine.begin() as tx:
        for schema, before in ((STORE, "0011"), (LEDGER, "0003")):
            migrated_to(tx, schema, before)
        tx.execute(text("INSERT INTO leases SELECT 'a' || chr(45 + n), 'me', n, '' FROM generate_series(0, 70) AS n"))
    with engine.connect() as tx:
        assert len(tx.execute(BY_A_LOCALE).all()) > 100
    assert (len(STORE.migrate(engine)), len(LEDGER.migrate(engine))) == (2, 1)
    with engine.begin() as tx:
        assert tx.execute(BY_A_LOCALE).all() == []
        names = list(tx.execute(text("SELECT name FROM leases ORDER BY name")).scalars())
        assert names == sorted(names)
        assert len(names) == 71
        tx.execute(text("SET LOCAL enable_seqscan = off"))
        assert tx.execute(text("SELECT token FROM leases WHERE name = 'aB'")).scalars().all() == [21]
    with pytest.raises(IntegrityError), engine.begin() as tx:
        tx.execute(text("INSERT INTO leases VALUES ('aB', 'me', 1, '')"))
    engine.dispose()


def test_migrating_again_does_nothing(engine: Engine):
    assert STORE.migrate(engine)
    assert STORE.migrate(engine) == []
    require(engine)


def test_a_deal_is_parked_once_at_a_time_however_often_it_was(engine: Engine):
    STORE.migrate(engine)
    row = ParkedRow(1, "x", "record", None, "deals", "R", None, "m", b"", 1, 0, None, "t", 1, "t", "t")
    with engine.begin() as tx:
        parking.add(tx, [row._replace(state="resolved"), row._replace(state="superseded"), row])
    with pytest.raises((IntegrityError, psycopg.IntegrityError)), engine.begin() as tx:
        parking.add(tx, [row])


def test_a_database_without_our_tables_is_refused(engine: Engine):
    with pytest.raises(StoreUnready, match="dealsync migrate"):
        require(engine)


@pytest.mark.parametrize("schema", [STORE, LEDGER], ids=["store", "ledger"])
def test_a_database_ahead_of_the_code_is_refused_and_left_alone(engine: Engine, schema: Any, tmp_path: Any):
    STORE.migrate(engine)
    LEDGER.migrate(engine)
    with engine.begin() as tx:
        tx.execute(text(f"UPDATE {schema.version_table} SET version_num = '9999'"))
    with pytest.raises(StoreUnready, match="newer dealsync"):
        require(engine, schema)
    file = tmp_path / "dealsync.toml"
    file.write_text(f'[store]\nurl = "{engine.url.render_as_string(hide_password=False)}"\n')
    config = settings.load(file, {})
    for attempt in (lambda: migrate(config), lambda: open_app(config).__enter__()):
        with pytest.raises(StoreUnready, match="newer dealsync"):
            attempt()
    with engine.connect() as tx:
        assert tx.execute(text(f"SELECT version_num FROM {schema.version_table}")).scalar_one() == "9999"


def test_a_migration_that_gets_no_lock_gives_up(postgres_url: str):
    engine = connect(postgres_url)
    begun = time.monotonic()
    with engine.connect() as other, other.begin():
        other.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": STORE.version_table})
        with pytest.raises(StoreUnavailable, match="lock timeout"), translated():
            STORE.migrate(engine)
    assert 3 < time.monotonic() - begun < 20
    assert STORE.migrate(engine)
    engine.dispose()
