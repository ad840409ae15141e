"""The command line says what a source refuses to show of that which deals refer to, and ends with 5."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from pipeline.mapping_files import shipped
from tests.edge.conftest import Cli

LOOK_UP = '[deals.custom]\nowner_name = { from = "ownerId", look_up = "users", take = "name", as = "text" }\n'


@pytest.fixture
def lacking(configured: Path, crm: PlanhatSimulator) -> PlanhatSimulator:
    """The mapping looks the owner's name up, and the users may not be read."""
    (configured.parent / "table.toml").write_text(shipped("planhat").replace("[deals.custom]", LOOK_UP, 1))
    settings = configured.read_text()
    configured.write_text(settings.replace('source = "planhat"', 'source = "planhat"\nmapping = "table.toml"'))
    crm.faults.sometimes(1.0, refused(403), lambda request: request.path == "/users")
    return crm


def test_a_pull_without_a_right_lands_the_deals_says_what_it_lacks_and_ends_with_5(cli: Cli, lacking: PlanhatSimulator):
    pulled = cli("pull", "planhat")
    assert pulled.code == 5
    assert "users cannot be read" in pulled.err
    assert "witness" not in pulled.err
    assert len(cli("deals", "list", "--json").document["deals"]) == len(lacking.ids())
    assert "lacks" not in cli("pull", "planhat", "--json").document


def test_status_says_it_until_the_right_is_there(cli: Cli, lacking: PlanhatSimulator):
    cli("pull", "planhat")
    (line,) = [one for one in cli("status").out.splitlines() if "users cannot be read" in one]
    assert line.startswith("planhat: ")
    (one,) = cli("status", "--json").document["connections"]
    assert (one["state"], len(one["lacks"])) == ("ok", 1)
    lacking.faults.clear()
    assert cli("pull", "planhat").code == 0
    assert cli("status", "--json").document["connections"][0]["lacks"] == []
