"""Reference data: looked up by key, read again when it is old, and deals are mapped again when it has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from pipeline.explain import explain
from pipeline.faults import SettingsError
from pipeline.mapping_files import shipped
from pipeline.pull import pull
from pipeline.store import connections, references
from pipeline.wiring import App
from tests.pipeline.world import NAME, projected, rows

LOOK_UP = '[deals.custom]\nowner_name = { from = "ownerId", look_up = "users", take = "name", as = "text" }\n'


@pytest.fixture
def table(tmp_path: Path) -> str:
    """The connection's settings for a table that also names the owner."""
    (tmp_path / "table.toml").write_text(shipped("planhat").replace("[deals.custom]", LOOK_UP, 1))
    return 'mapping = "table.toml"'


def age(app: App) -> None:
    """Let the reference data grow old."""
    with app.store.write() as tx:
        row = connections.find(tx, NAME)
        assert row is not None
        read = references.last_read(tx, row.id, "users")
        references.note(tx, read._replace(read_at="2026-01-01T00:00:00.000Z"))


def owned(crm: PlanhatSimulator) -> str:
    """A deal whose owner is a user."""
    users = {user["_id"] for user in crm.tables["users"].readable()}
    return next(one for one in crm.ids() if crm.get(one).get("ownerId") in users)


def names(app: App) -> set[object]:
    return {state.get("owner_name") for state in projected(app).values()}


def called(crm: PlanhatSimulator) -> int:
    return sum(call.path == "/users" for call in crm.log)


def rename(crm: PlanhatSimulator, user_id: str, nick: str) -> None:
    user = crm.tables["users"].latest(user_id)
    assert user is not None
    crm.tables["users"].put(user | {"nickName": nick})


def test_a_deal_bears_what_it_refers_to(open_world: Callable[..., App], crm: PlanhatSimulator, table: str):
    app = open_world(crm, table)
    pull(app, NAME)
    users = {user["_id"]: user["nickName"] for user in crm.tables["users"].readable()}
    one = owned(crm)
    owner = crm.get(one)["ownerId"]
    assert projected(app)[f"{NAME}:{one}"]["owner_name"] == users[owner]
    told = explain(app, f"{NAME}:{one}")["fields"]["owner_name"]
    assert "users" in told["rule"] or "users" in told["from"]


def test_reference_data_is_read_once_until_it_is_old(open_world: Callable[..., App], crm: PlanhatSimulator, table: str):
    app = open_world(crm, table)
    pull(app, NAME)
    before = called(crm)
    pull(app, NAME)
    assert called(crm) == before
    age(app)
    pull(app, NAME)
    assert called(crm) > before


def test_nothing_is_read_that_no_rule_looks_up(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    assert called(crm) == 0


def test_a_changed_entry_changes_the_deals_that_refer_to_it(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    app = open_world(crm, table)
    pull(app, NAME)
    owner = crm.get(owned(crm))["ownerId"]
    mine = [one for one in crm.ids() if crm.get(one).get("ownerId") == owner]
    rename(crm, owner, "Somebody Else")
    age(app)
    summary = pull(app, NAME)
    assert summary.events == len(mine)
    assert {projected(app)[f"{NAME}:{one}"]["owner_name"] for one in mine} == {"Somebody Else"}
    again = rows(app)
    assert pull(app, NAME).events == 0
    assert rows(app) == again


def test_a_death_between_reading_and_mapping_again_loses_no_change(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str, monkeypatch: pytest.MonkeyPatch
):
    app = open_world(crm, table)
    pull(app, NAME)
    rename(crm, crm.get(owned(crm))["ownerId"], "Somebody Else")
    age(app)
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.refer.replay_deals", _die)
        with pytest.raises(KeyboardInterrupt):
            pull(app, NAME)
    assert "Somebody Else" not in names(app)
    pull(app, NAME)
    assert "Somebody Else" in names(app)


def test_an_entry_that_is_gone_keeps_its_last_value(open_world: Callable[..., App], crm: PlanhatSimulator, table: str):
    app = open_world(crm, table)
    pull(app, NAME)
    one = owned(crm)
    crm.remove_user(crm.get(one)["ownerId"])
    age(app)
    assert pull(app, NAME).events == 0
    assert projected(app)[f"{NAME}:{one}"]["owner_name"]


def test_owners_by_email_are_the_users_addresses(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm, 'owners = "email"\nowner_policy = "null"')
    pull(app, NAME)
    users = {user["_id"]: user["email"].lower() for user in crm.tables["users"].readable()}
    for one in crm.ids():
        assert projected(app)[f"{NAME}:{one}"]["owner_external_id"] == users.get(crm.get(one).get("ownerId"))


def test_an_owner_nobody_knows_is_parked_and_comes_with_the_next_reading(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    user = crm.tables["users"].latest(crm.get(owned(crm))["ownerId"])
    assert user is not None
    mine = [one for one in crm.ids() if crm.get(one).get("ownerId") == user["_id"]]
    crm.remove_user(user["_id"])
    app = open_world(crm, 'owners = "email"\npark_limit = 1.0')
    assert pull(app, NAME).parked >= len(mine)
    crm.tables["users"].put(user)
    age(app)
    pull(app, NAME)
    assert {projected(app)[f"{NAME}:{one}"]["owner_external_id"] for one in mine} == {user["email"].lower()}


def test_a_source_that_refuses_its_reference_data_stops_the_run_before_any_deal(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    app = open_world(crm, table)
    crm.faults.sometimes(1.0, refused(403), where=lambda request: request.path == "/users")
    with pytest.raises(Exception, match=r"403|permission|read"):
        pull(app, NAME)
    assert projected(app) == {}


def test_a_table_that_looks_up_what_the_source_does_not_have_is_refused(
    open_world: Callable[..., App], crm: PlanhatSimulator, tmp_path: Path
):
    odd = LOOK_UP.replace('"users"', '"starships"')
    (tmp_path / "table.toml").write_text(shipped("planhat").replace("[deals.custom]", odd, 1))
    app = open_world(crm, 'mapping = "table.toml"')
    with pytest.raises(SettingsError, match=r"starships.*users"):
        pull(app, NAME)


def _die(*_: object, **__: object) -> None:
    raise KeyboardInterrupt
