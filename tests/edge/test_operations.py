"""Operations beside the rest: what commands and a bare receiver load, and bodies that never come to an end."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from connectors.planhat.simulator import PlanhatSimulator
from edge.operations import AT_ONCE
from pipeline.pull import pull
from tests.edge.conftest import TOKEN
from tests.edge.operated import ANN, NAME, opened, operated

HEAVY = ("fastapi", "jinja2", "uvicorn", "starlette")


@pytest.mark.parametrize(
    ("module", "heavy"), [("edge.cli.main", HEAVY), ("edge.asgi", ("fastapi", "jinja2")), ("edge.webhooks", HEAVY[:2])]
)
def test_what_only_pages_and_the_api_need_is_loaded_for_nobody_else(module: str, heavy: tuple[str, ...]):
    asked = f"import sys, {module}; print([one for one in {heavy!r} if one in sys.modules])"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_operators_who_dawdle_hold_up_neither_each_other_nor_the_monitors(tmp_path: Path):
    """A body that does not come is waited for before anything of the process is taken up."""
    crm = PlanhatSimulator(seed=7, deals=3, token=TOKEN)
    ends = threading.Event()

    def dawdling():  # type: ignore[no-untyped-def]
        yield b"{"
        ends.wait(20)
        yield b"}"

    store = f"sqlite:///{tmp_path / 'store.db'}"
    with opened(tmp_path, store, crm) as app, operated(app, crm) as world, world.api() as ann:
        pull(app, NAME)

        def dawdle() -> None:
            headers = {"Authorization": f"Bearer {ANN}", "Content-Type": "application/json"}
            httpx.post(f"{world.url}/api/v1/connections/{NAME}/pause", content=dawdling(), headers=headers, timeout=30)

        threads = [threading.Thread(target=dawdle) for _ in range(2 * AT_ONCE)]
        for thread in threads:
            thread.start()
        assert ann.get("/api/v1/deals").status_code == 200
        assert ann.get("/readyz").status_code == 200
        ends.set()
        for thread in threads:
            thread.join()
