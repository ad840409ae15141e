"""Backfills of every source through the whole pipeline, and of one whose day of requests is over again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from connectors.cpod.simulator import CpodSimulator
from connectors.faults import RateLimited
from connectors.leadlex.simulated_switches import Switches
from connectors.leadlex.simulator import LeadlexSimulator
from connectors.registry import source
from pipeline import settings
from pipeline.audit import Operator
from pipeline.backfill import pause, resume, start
from pipeline.backfill_preview import preview
from pipeline.backfill_report import Standing, standing
from pipeline.held import list_held, release_held
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.wiring import App, migrate, open_app
from tests.pipeline.test_backfill import in_database
from tests.pipeline.world import projected, rows, waiting

ALL = (None, None)
CONFIG = """\
[store]
url = "{url}"
[connections.eu]
source = "{source}"
base_url = "https://api.test{path}"
{credentials}
default_currency = "USD"
[connections.eu.options]
page_size = 20
{options}
"""


@contextmanager
def world(folder: Path, url: str, name: str, crm: Any, **options: Any) -> Iterator[App]:
    """An app with one connection of a source, whose budget of requests goes by the simulated clock."""
    file = folder / "dealsync.toml"
    secrets = {key: f'{key} = {{ env = "{key.upper()}" }}' for key in crm.credentials}
    given = {**crm.options, **options}
    lines = [f"{key} = {settings_value(value)}" for key, value in given.items() if key != "page_size"]
    path = "/functions/v1/api-gateway" if name == "leadlex" else ""
    file.write_text(
        CONFIG.format(
            url=url, source=name, path=path, credentials="\n".join(secrets.values()), options="\n".join(lines)
        )
    )
    config = settings.load(file, {key.upper(): value for key, value in crm.credentials.items()})
    migrate(config)
    with open_app(config, transports={"eu": crm.transport()}, give_up_after_s=2.0) as app:
        app.epoch = lambda: crm.clock.now.timestamp()
        yield app


def settings_value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("name", ["planhat", "monaco", "leadlex", "cpod"])
def test_every_source_is_backfilled_as_its_plan_says_and_a_pull_finds_nothing_left(
    name: str, tmp_path: Path, database_url: str
):
    crm = source(name).simulator(seed=3, deals=90)
    options = {"plan": "org"} if name == "leadlex" else {"requests_per_minute": 100_000}
    with world(tmp_path, database_url, name, crm, **options) as app:
        planned = preview(app, "eu", ALL)
        told = planned.standing.expected or {}
        done = resume(app, planned.standing.id)
        assert (done.standing.state, done.standing.percent) == ("done", 100)
        assert done.summary.applied == told["creates"] == len(projected(app))
        assert (done.summary.parked, told["changes"]) == (told["parked"], 0)
        assert len(projected(app)) + told["parked"] == len(crm.ids())
        assert pull(app, "eu").events == 0


def deleted(crm: CpodSimulator, number: int) -> None:
    """Every so-and-so-many-th deal is deleted, so that each page has some of them."""
    for one in crm.ids()[:: len(crm.ids()) // number][:number]:
        crm.delete(one)


def page_by_page(app: App) -> None:
    """The first pages of a backfill are landed by a process each: it is paused as soon as one has landed."""
    seen = [0]

    def stop(stands: Standing) -> None:
        if stands.records > seen[-1] and len(seen) < 3:
            seen.append(stands.records)
            pause(app, stands.id)

    number = start(app, "eu", ALL, watch=stop).standing.id
    resume(app, number, watch=stop)
    assert resume(app, number, watch=stop).standing.state == "done"


@pytest.mark.parametrize(("gone", "is_held"), [(6, False), (8, True)])
def test_what_a_backfill_deletes_counts_together_whoever_goes_on_with_it(
    gone: int, is_held: bool, tmp_path: Path, database_url: str
):
    crm = CpodSimulator(seed=3, deals=60)
    with world(tmp_path, database_url, "cpod", crm, requests_per_minute=100_000) as app:
        pull(app, "eu")
        publish(app)
        deleted(crm, gone)
        page_by_page(app)
        sets = list_held(app)
        assert (len(sets), sum(one["events"] for one in sets)) == ((1, gone) if is_held else (0, 0))
        assert publish(app).published == (0 if is_held else gone)
        assert in_facts(app) == 0, "nothing is left of a backfill that is done"


def test_a_backfill_that_goes_on_after_a_person_has_released_its_set_counts_anew(tmp_path: Path, database_url: str):
    crm = CpodSimulator(seed=3, deals=60)
    with world(tmp_path, database_url, "cpod", crm, requests_per_minute=100_000) as app:
        pull(app, "eu")
        publish(app)
        deleted(crm, 30)

        def decide(_: Standing) -> None:
            for one in list_held(app):
                release_held(app, one["id"], Operator("ann", "they are gone indeed"))

        decide(start(app, "eu", ALL, watch=decide).standing)
        assert publish(app).published == 30
        assert rows(app)["outbox"] == 0, "nothing was put into a set that nobody looks at any more"


def in_facts(app: App) -> int:
    with app.store.read() as tx:
        return int(tx.execute(text("SELECT count(*) FROM store_facts WHERE name LIKE 'deletes%'")).scalar_one())


def test_a_day_that_is_used_up_is_waited_for_and_nothing_is_read_twice(tmp_path: Path, database_url: str):
    """LeadLex's smallest plan, with forty requests a day: the backfill goes on each midnight, where it stood."""
    crm = LeadlexSimulator(seed=3, deals=600, switches=Switches(requests_per_day=40, date_header=True))
    seen: list[Standing] = []
    with world(tmp_path, database_url, "leadlex", crm, plan="org", reserve=0.1) as app:
        with pytest.raises(RateLimited):
            start(app, "eu", ALL, watch=seen.append)
        number, days = 1, 1
        assert (standing(app, number).state, waiting(app)) == ("running", [])
        with pytest.raises(RateLimited):
            resume(app, number, watch=seen.append)
        while standing(app, number).state != "done":
            assert days < 9, standing(app, number)
            days += 1
            midnight = crm.clock.now.replace(hour=0, minute=0, second=1) + timedelta(days=1)
            crm.clock.advance(midnight - crm.clock.now)
            in_database(app, "UPDATE backfills SET due_at = '2000-01-01T00:00:00.000Z'")
            try:
                resume(app, number, watch=seen.append)
            except RateLimited:
                assert standing(app, number).reason is not None
        shares = [one.percent for one in seen]
        assert days > 1
        assert (shares, shares[-1]) == (sorted(shares), 100)
        assert rows(app)["events"] == len(projected(app)) == 600
        assert standing(app, number).records < 700


@pytest.mark.parametrize("year", ["2001", "2025"])
@pytest.mark.parametrize("name", ["planhat", "monaco", "leadlex", "cpod"])
def test_a_range_in_which_nothing_was_created_is_done_at_once(name: str, year: str, tmp_path: Path, sqlite_url: str):
    """Before the first deal, and between two of them."""
    crm = source(name).simulator(seed=3, deals=90)
    options = {"plan": "org"} if name == "leadlex" else {"requests_per_minute": 100_000}
    with world(tmp_path, sqlite_url, name, crm, **options) as app:
        outcome = start(app, "eu", (f"{year}-10-03T00:00:01.000Z", f"{year}-10-03T00:00:02.000Z"))
        assert (outcome.standing.state, outcome.summary.read) == ("done", 0)
