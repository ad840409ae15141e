"""Scaling: what looks at every connection asks the store as often for a hundred of them as for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, text

from pipeline import settings
from pipeline.levels import LEVELS, levels
from pipeline.past import differing, latest_backfills
from pipeline.schedule import VERBS, Due, due
from pipeline.status import status
from pipeline.store import connections, drifting, outbox, pauses, references, runs
from pipeline.store.pauses import Pause
from pipeline.store.references import ReadRow
from pipeline.store.session import later, now
from pipeline.wiring import App, open_app

HEAD = """\
[store]
url = "{url}"
"""
CONNECTION = """\
[connections.one-of-{all}-{number}]
source = "planhat"
base_url = "https://api-eu.planhat.test"
token = {{ env = "PLANHAT_TOKEN" }}
"""
LOOKS: dict[str, Callable[[App], object]] = {
    "tick": due,
    "status": status,
    "levels": levels,
    "differing months": differing,
    "backfills": lambda app: latest_backfills(app, states=("running",), limit=50),
}


@contextmanager
def tenants(number: int, folder: Path, url: str) -> Iterator[App]:
    """So many connections in a store that is migrated already."""
    file = folder / f"{number}.toml"
    file.write_text(
        "\n".join([HEAD.format(url=url), *(CONNECTION.format(all=number, number=one) for one in range(number))])
    )
    with open_app(settings.load(file, {"PLANHAT_TOKEN": "t"})) as app:
        yield app


def lived(app: App) -> None:
    """Something of everything has happened to every connection: pulls that failed or ended well, what waits, drift."""
    with app.store.write() as tx:
        at = now(tx)
        for place, name in enumerate(sorted(app.settings.connections)):
            number = connections.enrol(tx, name, "planhat").id
            for verb in ("pull", "sweep"):
                for state in ("done", "failed", "failed") if place % 2 else ("failed", "done"):
                    runs.end(tx, runs.start(tx, verb, number, later(at, -timedelta(days=2))), state, at)
            drifting.add(tx, number, {"whatever": 3}, at)
            references.note(tx, ReadRow(number, "users", None, False, False, "403"))
            if place % 3 == 2:
                pauses.begin(tx, number, Pause(at, "ann", None))
            tx.execute(
                text("INSERT INTO inbox VALUES (:name, :number, :name, '{}', :at, 'waiting', NULL, NULL)"),
                {"name": name.encode(), "number": number, "at": at},
            )
            row = (number, "d", 1, f"key of {name}", f"{name}:d", "upsert", "{}", "", b"", 0, 0, None, 0, 0, at)
            outbox.add(tx, [outbox.EventRow(*row)])


def statements(engine: Engine, look: Callable[[], object]) -> list[str]:
    """What the store was asked meanwhile."""
    asked: list[str] = []

    def keep(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", keep)
    look()
    event.remove(engine, "before_cursor_execute", keep)
    return asked


@pytest.mark.parametrize("what", LOOKS)
def test_who_looks_at_all_connections_asks_as_often_for_a_hundred_as_for_one(
    what: str, tmp_path: Path, database_url: str
):
    asked = {}
    for number in (1, 10, 100):
        with tenants(number, tmp_path, database_url) as app:
            lived(app)
            asked[number] = statements(app.store.engine, lambda app=app: LOOKS[what](app))  # type: ignore[misc]
    assert asked[1] != []
    assert asked[1] == asked[10] == asked[100], "and word by word the same"


def test_what_is_found_for_many_is_found_for_each(tmp_path: Path, database_url: str):
    with tenants(7, tmp_path, database_url) as app:
        lived(app)
        rung = due(app)
        read = [name for place, name in enumerate(sorted(app.settings.connections)) if place % 3 != 2]
        assert [one.connection for one in rung if one.verb in VERBS] == read
        assert {one.connection for one in rung if one.verb == "fetch"} == app.settings.connections.keys()
        assert rung[-1] == Due("publish", "")
        shown = status(app)["connections"]
        assert [(one["drift"], one["outbox"], len(one["lacks"])) for one in shown] == [(1, 1, 1)] * 7
        assert [one["state"] for one in shown].count("paused") == 2
        told = {(level, name): number for level, name, number in levels(app) if level in LEVELS}
        assert {told["lacking", name] for name in app.settings.connections} == {1}
