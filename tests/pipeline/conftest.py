"""A small world: a simulated CRM, a store on either database, and the pipeline between them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from ledger.engine import connect
from ledger.schema import LEDGER
from pipeline import settings
from pipeline.store.schema import STORE
from pipeline.wiring import App, migrate, open_app
from tests import servers
from tests.pipeline.world import CONFIG, NAME, TOKEN


@pytest.fixture(scope="session")
def migrated_database(postgres_server: str) -> Iterator[str]:
    """The name of a database that has all tables, to be copied: that is quicker than to migrate each."""
    with servers.database(postgres_server) as url:
        make_tables(url)
        yield urlsplit(url).path.removeprefix("/")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file that has all tables."""
    file = tmp_path_factory.mktemp("migrated") / "store.db"
    make_tables(f"sqlite:///{file}")
    return file


def make_tables(url: str) -> None:
    engine = connect(url)
    LEDGER.migrate(engine)
    STORE.migrate(engine)
    engine.dispose()


@pytest.fixture
def postgres_url(postgres_server: str, migrated_database: str) -> Iterator[str]:
    with servers.database(postgres_server, template=migrated_database) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path, migrated_file: Path) -> str:
    shutil.copy(migrated_file, tmp_path / "store.db")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=40, token=TOKEN)


@pytest.fixture
def open_world(tmp_path: Path, database_url: str) -> Iterator[Callable[..., App]]:
    """Opens an app on the test's database, with the given lines added to the connection's settings."""
    opened = []

    def opening(crm: PlanhatSimulator, connection: str = "", extra: str = "") -> App:
        file = tmp_path / "dealsync.toml"
        file.write_text(CONFIG.format(url=database_url, connection=connection, extra=extra))
        config = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
        migrate(config)
        context = open_app(config, transports={NAME: crm.transport()}, give_up_after_s=2.0)
        opened.append(context)
        app = context.__enter__()
        servers.unsynced(app.store.engine)
        return app

    yield opening
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    return open_world(crm)
