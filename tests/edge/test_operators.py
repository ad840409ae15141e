"""The commands of whoever is on call: pause, resume, held, parked by filter, audit; as documents and as text."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from tests.edge.conftest import TOKEN, Cli


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=60, token=TOKEN)


@pytest.fixture
def held(cli: Cli, configured: Path, crm: PlanhatSimulator) -> int:
    """The number of a change set with seven tombstones."""
    cli("pull", "planhat")
    cli("publish")
    for one in crm.ids()[:7]:
        crm.delete(one)
    assert cli("sweep", "planhat").code == 0
    ended = cli("sweep", "planhat")
    assert (ended.code, "held as change set" in ended.err) == (5, True)
    (one,) = cli("held", "list", "--json").document["held"]
    return int(one["id"])


def test_pause_and_resume_say_who_and_why(cli: Cli, configured: Path):
    said = cli("pause", "planhat", "--as", "ann", "--reason", "a migration", "--json")
    assert said.code == 0
    assert set(said.document["paused"]) == {"since", "who", "reason"}
    (shown,) = cli("status", "--json").document["connections"]
    assert (shown["state"], shown["paused"]["who"]) == ("paused", "ann")
    assert "planhat: paused by ann since" in cli("status").out
    assert cli("pull", "planhat").code == 0, "a run by hand is done as ever"
    assert cli("status", "--json").document["connections"][0]["state"] == "paused"
    assert cli("resume", "planhat", "--json").document["was_paused"] is True
    assert cli("resume", "planhat").out == "planhat: was not paused\n"
    assert cli("status", "--json").document["connections"][0]["state"] == "ok"
    assert cli("pause", "planht").code == 2
    assert cli("resume", "planht").code == 2


def test_who_migrates_reads_or_publishes_by_hand_is_kept_with_the_reason(
    cli: Cli, configured: Path, crm: PlanhatSimulator
):
    person, one = ("--as", "ann", "--reason", "an audit"), crm.ids()[0]
    for words in (("migrate",), ("fetch", "planhat", one), ("publish",), ("migrate",)):
        assert cli(*words, *person).code == 0
    kept = cli("audit", "--json").document["audit"]
    assert [(each["action"], each["connection"], each["target"]) for each in kept] == [
        ("migrate", None, None),
        ("fetch", "planhat", one),
        ("publish", None, None),
    ], "the second time there was nothing to migrate"
    assert {(each["who"], each["reason"]) for each in kept} == {("ann", "an audit")}


def test_status_tells_when_each_connection_is_read_next(cli: Cli, configured: Path):
    assert "planhat: next pull 20" in cli("status").out
    cli("pull", "planhat")
    (shown,) = cli("status", "--json").document["connections"]
    assert set(shown["next"]) == {"pull", "sweep", "reconcile"}
    assert shown["next"]["pull"]["at"] > shown["last_success"]


def test_a_held_set_is_listed_shown_and_released(cli: Cli, held: int):
    (one,) = cli("held", "list", "--json").document["held"]
    assert (one["connection"], one["events"], one["by_type"], one["state"]) == ("planhat", 7, {"delete": 7}, "held")
    assert "7 of 60 deals" in cli("held", "list").out
    shown = cli("held", "show", held, "--json").document
    assert len(shown["waiting"]) == 7
    assert shown["waiting"][0]["state"]["deleted"] is True
    assert len(cli("held", "show", held).out.splitlines()) == len(shown) - 1 + 1 + 7
    assert "7 events are held" in cli("status").out
    assert cli("publish", "--json").document["published"] == 0
    assert cli("held", "release", held, "--as", "bob", "--json").document == {"released": 7}
    assert cli("publish", "--json").document["published"] == 7
    assert "nothing is held" in cli("held", "list").err
    assert cli("held", "release", held).code == 2
    assert cli("held", "show", 99).code == 2
    assert cli("held", "list", "--connection", "other").code == 2


def test_a_held_set_is_discarded_with_a_reason(cli: Cli, held: int):
    assert cli("held", "discard", held).code == 2
    assert cli("held", "discard", held, "--reason", " ").code == 2
    said = cli("held", "discard", held, "--reason", "a mistake", "--json").document
    assert said == {"discarded": 7, "let_go": 0, "put_back": 7}
    cli("publish")
    deals = cli("deals", "list", "--json").document["deals"]
    assert [one for one in deals if one["deleted"]] == []
    assert cli("doctor").code == 0
    shown = cli("deals", "show", deals[0]["external_id"], "--json").document
    assert any(event["receipt"] == "discarded" for deal in deals for event in _history(cli, deal)), shown


def _history(cli: Cli, deal: dict[str, str]) -> list[dict[str, str]]:
    found: list[dict[str, str]] = cli("deals", "show", deal["external_id"], "--json").document["history"]
    return found


def test_every_action_is_kept_with_who_and_why(
    cli: Cli, configured: Path, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    for one in crm.ids()[:2]:
        crm.edit(one, stage="Unheard Of")
    cli("pull", "planhat")
    first, second = cli("parked", "list", "--json").document["parked"]
    monkeypatch.setenv("DEALSYNC_AS", "carol")
    cli("parked", "retry", first["id"], "--reason", "mended")
    cli("parked", "discard", second["id"], "--reason", "a test deal", "--as", "dan")
    cli("parked", "discard", second["id"], "--reason", "again")
    cli("pause", "planhat")
    kept = cli("audit", "--json").document["audit"]
    assert [(one["who"], one["action"], one["target"], one["reason"]) for one in kept] == [
        (getpass.getuser(), "pull", None, None),
        ("carol", "parked retry", str(first["id"]), "mended"),
        ("dan", "parked discard", str(second["id"]), "a test deal"),
        ("carol", "parked discard", str(second["id"]), "again"),
        ("carol", "pause", None, None),
    ]
    assert [one["outcome"] for one in kept][2:4] == ["discarded", "was discarded already"]
    assert cli("audit", "--json", "--after", kept[1]["id"], "--limit", 1).document["audit"] == [kept[2]]
    assert cli("audit", "--connection", "planhat", "--json").document["audit"] == kept
    assert cli("audit", "--connection", "other").code == 2
    assert "a test deal" in cli("audit").out


def test_parked_entries_are_retried_by_reason_and_field(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.edit(crm.ids()[0], stage="Unheard Of")
    crm.edit(crm.ids()[1], total="a lot")
    cli("pull", "planhat")
    stage, amount = sorted(
        cli("parked", "list", "--json").document["parked"], key=lambda one: one["reason"], reverse=True
    )
    assert (stage["reason"], amount["field"]) == ("UNKNOWN_STAGE", "amount_cents")
    (retried,) = cli("parked", "retry", "--code", "UNKNOWN_STAGE", "--json").document["retried"]
    assert retried["read"] == 1
    (retried,) = cli("parked", "retry", "--field", "amount_cents", "--json").document["retried"]
    assert retried["read"] == 1
    assert cli("parked", "retry", "--code", "NO_SUCH", "--json").document == {"retried": []}
    assert cli("parked", "retry", "--code", "UNKNOWN_STAGE", "--all").code == 2
    shown = cli("parked", "show", stage["id"], "--json").document
    assert shown["age_seconds"] >= 0
    assert shown["newer_passed"] is False
    assert {"raw", "reason", "field", "mapping_version"} <= set(shown)
    crm.edit(crm.ids()[0], stage="Closed Won")
    cli("pull", "planhat")
    assert cli("parked", "show", stage["id"], "--json").document["newer_passed"] is True


def test_each_step_of_a_backfill_is_kept_with_who_and_why(cli: Cli, configured: Path):
    planned = cli("backfill", "start", "planhat", "--until", "2001-01-01", "--dry-run", "--as", "ann", "--reason", "r1")
    assert planned.code == 0, planned.err
    (one,) = cli("backfill", "list", "--json").document["backfills"]
    for step, why in (("cancel", "r2"), ("resume", "r3"), ("retry", "r4")):
        assert cli("backfill", step, one["id"], "--as", "ann", "--reason", why).code == 0
    assert cli("backfill", "start", "planhat", "--since", "2030-01-01", "--as", "bob").code == 2
    assert cli("backfill", "start", "planhat", "--since", "2001-01-01", "--as", "bob").code == 0
    kept = [(row["who"], row["action"], row["reason"]) for row in cli("audit", "--json").document["audit"]]
    assert kept == [
        ("ann", "backfill start", "r1"),
        ("ann", "backfill cancel", "r2"),
        ("ann", "backfill resume", "r3"),
        ("ann", "backfill retry", "r4"),
        ("bob", "backfill start", None),
    ]


def test_who_reads_repairs_and_rebuilds_by_command_is_kept_with_the_reason(cli: Cli, configured: Path):
    for command, why in (("pull", "r1"), ("sweep", "r2"), ("reconcile", "r3"), ("reconcile --repair", "r4")):
        verb, *options = command.split()
        assert cli(verb, "planhat", *options, "--as", "ann", "--reason", why).code == 0
    assert cli("pull", "planht", "--as", "ann").code == 2
    assert cli("recover", "planhat", "--as", "bob").code == 0
    assert cli("recover", "planhat", "--send", "--as", "bob").code == 0
    kept = [(one["who"], one["action"], one["reason"]) for one in cli("audit", "--json").document["audit"]]
    assert kept == [
        ("ann", "pull", "r1"),
        ("ann", "sweep", "r2"),
        ("ann", "reconcile", "r3"),
        ("ann", "reconcile --repair", "r4"),
        ("bob", "recover --send", None),
    ]


def test_a_checkpoint_is_shown_and_reset_with_a_reason(cli: Cli, configured: Path):
    assert "its next pull reads everything" in cli("checkpoint", "show", "planhat").err
    read = cli("pull", "planhat", "--json").document["read"]
    (one,) = cli("checkpoint", "show", "planhat", "--json").document["checkpoints"]
    assert (one["stream"], set(one)) == ("pull", {"stream", "cursor", "run", "moved_at"})
    assert "pull" in cli("checkpoint", "show", "planhat").out
    assert cli("checkpoint", "reset", "planhat").code == 2
    assert cli("checkpoint", "reset", "planhat", "--reason", " ").code == 2
    assert cli("checkpoint", "reset", "planht", "--reason", "x").code == 2
    said = cli("checkpoint", "reset", "planhat", "--reason", "a restore", "--as", "ann")
    assert said.out == "planhat: the next pull reads everything\n"
    assert cli("checkpoint", "reset", "planhat", "--reason", "again", "--json").document["reset"] is False
    again = cli("pull", "planhat", "--json").document
    assert (again["read"], again["events"]) == (read, 0)
    assert ("ann", "checkpoint reset") in [
        (one["who"], one["action"]) for one in cli("audit", "--json").document["audit"]
    ]
