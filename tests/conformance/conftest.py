"""The kit's fixture: worlds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from pipeline import settings as configuration
from pipeline.wiring import open_app
from tests.conformance.world import Worlds, worlds


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, prepared once."""
    folder = tmp_path_factory.mktemp("template")
    file = folder / "dealsync.toml"
    file.write_text(f'[store]\nurl = "sqlite:///{folder / "store.db"}"\n')
    with open_app(configuration.load(file, {})):
        pass
    return folder / "store.db"


@pytest.fixture
def world(tmp_path: Path, template: Path) -> Iterator[Worlds]:
    """Makes worlds: `world(source, deals=..., page_size=...)`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with worlds(tmp_path, template) as made:
        yield made
    structlog.reset_defaults()
