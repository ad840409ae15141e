"""A small world: a simulated CRM, a store on either database, and the pipeline between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline import settings
from pipeline.wiring import App, migrate, open_app
from tests.pipeline.world import CONFIG, NAME, TOKEN


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
        return context.__enter__()

    yield opening
    for context in opened:
        context.__exit__(None, None, None)


@pytest.fixture
def app(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    return open_world(crm)
