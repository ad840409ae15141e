"""Operations beside the rest: what commands and a bare receiver load, and bodies that never come to an end."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulation import serve
from edge import operations
from edge.asgi import Served
from edge.exits import UNAVAILABLE
from edge.operations import AT_ONCE
from pipeline.pull import pull
from pipeline.up import Crew
from tests.edge.conftest import TOKEN
from tests.edge.operated import ANN, NAME, opened, operated
from tests.waiting import eventually

HEAVY = ("fastapi", "jinja2", "uvicorn", "starlette")


@pytest.mark.parametrize(
    ("module", "heavy"), [("edge.cli.main", HEAVY), ("edge.asgi", ("fastapi", "jinja2")), ("edge.webhooks", HEAVY[:2])]
)
def test_what_only_pages_and_the_api_need_is_loaded_for_nobody_else(module: str, heavy: tuple[str, ...]):
    asked = f"import sys, {module}; print([one for one in {heavy!r} if one in sys.modules])"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_what_is_asked_for_over_http_is_done_by_whoever_works(tmp_path: Path):
    """`dealsync up` in one process: it serves the API, and does what was asked there."""
    crm = PlanhatSimulator(seed=7, deals=5, token=TOKEN)
    why = {"reason": "a test"}
    with (
        opened(tmp_path, f"sqlite:///{tmp_path / 'store.db'}", crm) as app,
        closing(Crew(app)) as crew,
        closing(Served(app, crew.bell)) as served,
        serve(served) as url,
        httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {ANN}"}, timeout=30) as ann,
    ):
        told = lambda: ann.get("/status").json()["connections"][0]["outbox"]  # noqa: E731
        eventually(lambda: told() == 0 and runs(ann, "publish"), "all is published")
        eventually(lambda: runs(ann, "sweep"), "a sweep is done")
        before = runs(ann, "reconcile")
        assert ann.post(f"/connections/{NAME}/reconcile", json=why).status_code == 202
        eventually(lambda: len(runs(ann, "reconcile")) == len(before) + 1, "it is compared once more")
        asked = {**why, "connection": NAME, "dry_run": False}
        (one,) = ann.post("/backfills", json=asked).json()["backfills"]
        state = lambda: ann.get(f"/backfills/{one['id']}").json()["backfills"][0]["state"]  # noqa: E731
        eventually(lambda: state() == "done", "the backfill is done")


def runs(client: httpx.Client, kind: str) -> list[Any]:
    found: list[Any] = client.get("/runs", params={"kind": kind}).json()["runs"]
    return [one for one in found if one["state"] == "done"]


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


def test_who_finds_no_room_is_told_to_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A store that lets nobody write holds all who would; whoever comes after them is not kept waiting with them."""
    monkeypatch.setattr(operations, "ROOM_WITHIN_S", 0.5)
    crm = PlanhatSimulator(seed=7, deals=3, token=TOKEN)
    file = tmp_path / "store.db"
    with opened(tmp_path, f"sqlite:///{file}", crm) as app, operated(app, crm) as world, world.api() as ann:
        pull(app, NAME)
        answers: list[int] = []

        def pause() -> None:
            headers = {"Authorization": f"Bearer {ANN}"}
            body = {"reason": "a test"}
            answer = httpx.post(f"{world.url}/api/v1/connections/{NAME}/pause", json=body, headers=headers, timeout=60)
            answers.append(answer.status_code)

        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            threads = [threading.Thread(target=pause) for _ in range(AT_ONCE)]
            for thread in threads:
                thread.start()
            eventually(lambda: ann.get("/api/v1/deals").status_code == 503, "there is no room")
            answer = ann.get("/api/v1/deals")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.json()["error"]["code"] == UNAVAILABLE
            other.execute("ROLLBACK")
        for thread in threads:
            thread.join()
        assert answers == [200] * AT_ONCE
        assert ann.get("/api/v1/deals").status_code == 200
