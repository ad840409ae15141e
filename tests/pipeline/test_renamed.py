"""A connection that is given another name: all its deals are told of anew, and somebody has to notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from connectors.planhat.simulator import PlanhatSimulator
from pipeline import settings
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.wiring import App, open_app
from tests.pipeline.world import NAME, TOKEN


def wrong(app: App) -> list[str]:
    return [check.message for check in doctor(app) if not check.ok]


def test_doctor_tells_of_deals_that_were_told_of_under_the_old_name_and_under_the_new_one(
    open_world: Callable[..., App], crm: PlanhatSimulator, tmp_path: Path
):
    before = open_world(crm)
    pull(before, NAME)
    publish(before)
    file = tmp_path / "dealsync.toml"
    file.write_text(file.read_text().replace(f"connections.{NAME}", "connections.renamed"))
    config = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
    with open_app(config, transports={"renamed": crm.transport()}) as app:
        assert wrong(app) == []
        pull(app, "renamed")
        (said,) = wrong(app)
        assert f"40 deals of {NAME}, which is configured no more, are told of by renamed as well" in said


def test_a_connection_that_took_over_the_ids_of_the_old_name_tells_of_no_deal_twice(
    open_world: Callable[..., App], crm: PlanhatSimulator, tmp_path: Path
):
    before = open_world(crm)
    pull(before, NAME)
    publish(before)
    file = tmp_path / "dealsync.toml"
    heir = f'external_id_prefix = "{NAME}"\nsource = "planhat"'
    file.write_text(
        file.read_text().replace(f"connections.{NAME}", "connections.heir").replace('source = "planhat"', heir)
    )
    config = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
    with open_app(config, transports={"heir": crm.transport()}) as app:
        pull(app, "heir")
        publish(app)
        assert wrong(app) == []
