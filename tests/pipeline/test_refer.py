"""Reference data: looked up by key, read again when it is old, and deals are mapped again when it has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.faults import Refused
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from pipeline.explain import explain
from pipeline.faults import SettingsError
from pipeline.mapping_files import shipped
from pipeline.pull import pull
from pipeline.recover import recover
from pipeline.status import status
from pipeline.store import connections, references
from pipeline.sweep import sweep
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


def test_the_address_of_somebody_who_has_left_names_whoever_has_it_now_and_not_both(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm, 'owners = "email"\nowner_policy = "null"')
    pull(app, NAME)
    left = crm.tables["users"].latest(crm.get(owned(crm))["ownerId"])
    assert left is not None
    theirs = [one for one in crm.ids() if crm.get(one).get("ownerId") == left["_id"]]
    crm.remove_user(left["_id"])
    age(app)
    assert pull(app, NAME).events == 0, "who has left is still who sold it"
    heir = next(user for user in crm.tables["users"].readable())
    crm.tables["users"].put(heir | {"email": left["email"].upper()})
    age(app)
    pull(app, NAME)
    assert {projected(app)[f"{NAME}:{one}"]["owner_external_id"] for one in theirs} == {None}
    heirs = [one for one in crm.ids() if crm.get(one).get("ownerId") == heir["_id"]]
    assert {projected(app)[f"{NAME}:{one}"]["owner_external_id"] for one in heirs} <= {left["email"].lower()}
    crm.tables["users"].put(left)
    crm.tables["users"].put(heir)
    age(app)
    pull(app, NAME)
    assert {projected(app)[f"{NAME}:{one}"]["owner_external_id"] for one in theirs} == {left["email"].lower()}


def test_a_list_that_shows_the_same_people_under_other_ids_takes_no_address_away(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm, 'owners = "email"\nowner_policy = "null"')
    pull(app, NAME)
    before = projected(app)
    for user in list(crm.tables["users"].readable()):
        crm.remove_user(user["_id"])
        crm.tables["users"].put(user | {"_id": user["_id"][::-1]})
    for _ in range(2):
        age(app)
        assert pull(app, NAME).events == 0
    assert projected(app) == before


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


def refuse(crm: PlanhatSimulator, status: int = 403) -> None:
    """From now on nobody may see the users."""
    crm.faults.sometimes(1.0, refused(status), where=lambda request: request.path == "/users")


def lacks(app: App) -> list[str]:
    """What `status` says that the connection lacks."""
    lines = [one["lacks"] for one in status(app)["connections"] if one["name"] == NAME]
    return [line.partition(" ")[0] for line in lines[0]]


def test_a_right_that_is_missing_stops_what_needs_it_and_not_the_run(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    app = open_world(crm, table)
    refuse(crm)
    summary = pull(app, NAME)
    assert projected(app).keys() == {f"{NAME}:{one}" for one in crm.ids()}
    assert names(app) == {None}
    assert not summary.clean
    assert [line.partition(" ")[0] for line in summary.lacks] == ["users"]
    assert "403" in summary.lacks[0]
    assert lacks(app) == ["users"]


def test_what_was_known_before_the_right_was_taken_away_stays(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    app = open_world(crm, table)
    pull(app, NAME)
    one = f"{NAME}:{owned(crm)}"
    before = projected(app)[one]["owner_name"]
    age(app)
    refuse(crm)
    crm.edit(owned(crm), total=777)
    assert pull(app, NAME).events == 1
    after = projected(app)[one]
    assert (after["amount_cents"], after["owner_name"]) == (77700, before)
    swept = sweep(app, NAME)
    assert (len(swept.lacks), swept.events) == (1, 0)


def test_a_right_that_comes_back_is_used_by_the_next_run_and_lacks_no_more(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    app = open_world(crm, table)
    refuse(crm)
    pull(app, NAME)
    crm.faults.clear()
    summary = pull(app, NAME)
    assert (summary.lacks, lacks(app), summary.clean) == ([], [], True)
    users = {user["_id"]: user["nickName"] for user in crm.tables["users"].readable()}
    one = owned(crm)
    assert projected(app)[f"{NAME}:{one}"]["owner_name"] == users[crm.get(one)["ownerId"]]


def test_what_no_rule_looks_up_any_more_is_not_lacking(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    app = open_world(crm, table)
    refuse(crm)
    pull(app, NAME)
    app = open_world(crm)
    assert pull(app, NAME).lacks == []
    assert lacks(app) == []


def test_owners_whose_addresses_may_not_be_read_go_the_way_their_policy_says(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm, 'owners = "email"\nowner_policy = "null"')
    refuse(crm)
    assert pull(app, NAME).parked == 0
    assert {state["owner_external_id"] for state in projected(app).values()} == {None}


def test_a_parked_owner_is_redriven_by_itself_once_the_users_may_be_read(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    app = open_world(crm, 'owners = "email"\npark_limit = 1.0')
    refuse(crm)
    assert pull(app, NAME).parked > 0
    crm.faults.clear()
    pull(app, NAME)
    users = {user["_id"]: user["email"].lower() for user in crm.tables["users"].readable()}
    owners = {one: crm.get(one).get("ownerId") for one in crm.ids()}
    known = {one: users[owner] for one, owner in owners.items() if owner in users}
    assert {one: projected(app)[f"{NAME}:{one}"]["owner_external_id"] for one in known} == known


def test_a_key_that_is_not_known_any_more_stops_the_connection_whatever_was_asked_for(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    app = open_world(crm, table)
    refuse(crm, 401)
    with pytest.raises(Refused):
        pull(app, NAME)
    assert projected(app) == {}
    assert [one["state"] for one in status(app)["connections"]] == ["refused"]


def test_a_store_is_not_rebuilt_without_what_its_deals_refer_to(
    open_world: Callable[..., App], crm: PlanhatSimulator, table: str
):
    """The ledger holds names; a rebuilt store that knows none would tell it that all of them are gone."""
    app = open_world(crm, table)
    refuse(crm)
    with pytest.raises(Refused, match="403"):
        recover(app, NAME, send=True)


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
