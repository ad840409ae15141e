"""The command line in this process, against a simulated CRM that is really served on loopback."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulation import asgi, serve
from edge.cli.main import run

TOKEN = "token-canary-4711/+x"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Stdout as the one JSON document it must be."""
        return json.loads(self.out)


Cli = Callable[..., Ended]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A working directory and an environment of the test's own; logging is put back afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("DEALSYNC")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PLANHAT_TOKEN", TOKEN)
    root = logging.getLogger()
    before, level, hooks = list(root.handlers), root.level, (sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield
    root.handlers[:] = before
    root.setLevel(level)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `dealsync` with the given arguments."""

    def command(*arguments: object) -> Ended:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        written = capsys.readouterr()
        assert TOKEN not in written.out + written.err
        return Ended(code, written.out, written.err)

    return command


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=12, token=TOKEN)


@pytest.fixture
def configured(crm: PlanhatSimulator, tmp_path: Path) -> Iterator[Path]:
    """A working directory with a configuration whose connection `planhat` is the simulated CRM."""
    with serve(asgi(crm)) as base_url:
        file = tmp_path / "dealsync.toml"
        file.write_text(f"""
[connections.planhat]
source = "planhat"
base_url = "{base_url}"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
[connections.planhat.options]
requests_per_minute = 100000
""")
        yield file


@pytest.fixture(scope="session")
def lived(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PlanhatSimulator]:
    """An SQLite file in which something of everything has happened, to be copied, and the CRM that it was read from."""
    from tests.edge import operated

    folder, crm = tmp_path_factory.mktemp("lived"), PlanhatSimulator(seed=7, deals=130, token=TOKEN)
    with operated.opened(folder, f"sqlite:///{folder / 'store.db'}", crm) as app:
        operated.live(app, crm)
    return folder / "store.db", crm
