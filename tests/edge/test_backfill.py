"""Backfill from the command line: documents, exit codes, and words that say what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import Request, rate_limited, refused
from edge.words import left
from tests.edge.conftest import TOKEN, Cli

SHAPE = {"id", "connection", "state", "since", "until", "chunks", "records", "rate", "eta_seconds"}


@pytest.fixture
def crm() -> PlanhatSimulator:
    return PlanhatSimulator(seed=7, deals=60, token=TOKEN)


@pytest.fixture
def configured(configured: Path) -> Path:
    with configured.open("a") as file:
        file.write("page_size = 10\npage_overlap = 2\n")
    return configured


def some_page(request: Request) -> bool:
    return request.query.get("offset") == "26"


def test_start_ends_with_the_summary_and_list_shows_it(cli: Cli, configured: Path):
    ended = cli("backfill", "start", "planhat", "--json")
    assert (ended.code, ended.err) == (0, "")
    summary = ended.document
    assert (summary["connection"], summary["read"], summary["applied"], summary["events"]) == ("planhat", 60, 60, 60)
    [one] = cli("backfill", "list", "--json").document["backfills"]
    assert one.keys() >= SHAPE
    assert (one["id"], one["state"], one["records"], one["percent"]) == (summary["run"], "done", 60, 100)
    assert one["chunks"] == {"done": 9, "failed": 0, "pending": 0, "total": 9}
    [shown] = cli("backfill", "show", one["id"], "--json").document["backfills"]
    assert [part["state"] for part in shown["plan"]] == ["done"] * 9
    assert cli("publish", "--json").document["published"] == 60


def test_a_person_reads_a_table(cli: Cli, configured: Path):
    assert cli("backfill", "list").err == "dealsync: there are no backfills\n"
    cli("backfill", "start", "planhat", "--since", "2024-01-01")
    told = cli("backfill", "list").out
    assert "done" in told
    assert "100%" in told
    assert "2024-01-01" in cli("backfill", "show", "1").out


def test_a_dry_run_says_what_will_be_done_and_resume_does_it(cli: Cli, configured: Path):
    ended = cli("backfill", "start", "planhat", "--dry-run", "--json")
    assert (ended.code, ended.document["events"]) == (0, 0)
    assert ended.document["expected"]["creates"] == 60
    number = ended.document["run"]
    assert cli("deals", "list", "--json").document == {"deals": []}
    [planned] = cli("backfill", "list", "--json").document["backfills"]
    assert (planned["state"], planned["expected"]["creates"]) == ("planned", 60)
    assert cli("backfill", "resume", number, "--json").document["events"] == 60
    told = cli("backfill", "start", "planhat", "--dry-run")
    assert "60 unchanged" in told.out
    assert "backfill resume 2" in told.err


def test_a_dry_run_says_how_much_money_it_moves(cli: Cli, configured: Path, crm: PlanhatSimulator):
    cli("pull", "planhat")
    before = next(record for record in crm.truth() if record["_id"] == crm.ids()[0])["total"]
    crm.edit(crm.ids()[0], total=before + 25)
    assert "moves +25.00 USD" in cli("backfill", "start", "planhat", "--dry-run").out


def test_a_failed_chunk_ends_with_5_and_says_how_to_go_on(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.faults.sometimes(1.0, refused(400), where=some_page)
    ended = cli("backfill", "start", "planhat")
    assert ended.code == 5
    assert "1 of its 9 chunks failed" in ended.err
    assert "400" in cli("backfill", "show", "1").out
    assert cli("backfill", "resume", "1").code == 2
    crm.faults.clear()
    assert cli("backfill", "retry", "1").code == 0
    assert len(cli("deals", "list", "--json").document["deals"]) == 60


def test_a_parked_record_ends_with_5(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.edit(crm.ids()[0], stage="Unheard Of")
    ended = cli("backfill", "start", "planhat", "--json")
    assert (ended.code, ended.document["parked"]) == (5, 1)


def test_a_source_that_is_away_or_refuses_us_ends_as_everywhere(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.faults.sometimes(1.0, refused(503), where=some_page)
    assert cli("backfill", "start", "planhat", "--give-up-after", "0s").code == 6
    crm.faults.clear()
    crm.switches.forbidden = True
    assert cli("backfill", "resume", "1").code == 4
    crm.switches.forbidden = False
    assert cli("backfill", "retry", "1").code == 0


def test_a_used_up_quota_ends_with_6_and_says_when_it_goes_on(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.faults.at(20, rate_limited("600"))
    ended = cli("backfill", "start", "planhat")
    assert (ended.code, "600 s" in ended.err) == (6, True)


def test_another_backfill_of_the_range_ends_with_7(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.faults.sometimes(1.0, refused(503), where=some_page)
    cli("backfill", "start", "planhat", "--give-up-after", "0s")
    crm.faults.clear()
    assert cli("backfill", "pause", "1").code == 0
    ended = cli("backfill", "start", "planhat", "--since", "2024-06-01")
    assert (ended.code, "backfill resume 1" in ended.err) == (7, True)
    assert cli("backfill", "cancel", "1", "--json").document["backfills"][0]["state"] == "cancelled"
    assert cli("backfill", "start", "planhat").code == 0
    assert cli("backfill", "pause", "2").code == 2


@pytest.mark.parametrize("given", ["yesterday", "2026-02-30", "2026-01-01T10:00:00", "01/02/2026", ""])
def test_a_bound_that_is_no_time_ends_with_2(given: str, cli: Cli, configured: Path):
    ended = cli("backfill", "start", "planhat", "--since", given)
    assert (ended.code, "--since" in ended.err) == (2, True)


def test_bounds_are_days_or_times_with_a_zone(cli: Cli, configured: Path):
    cli("backfill", "start", "planhat", "--since", "2024-05-01", "--until", "2024-06-01T02:00:00+02:00")
    [one] = cli("backfill", "list", "--json").document["backfills"]
    assert (one["since"], one["until"]) == ("2024-05-01T00:00:00.000Z", "2024-06-01T00:00:00.000Z")
    assert cli("backfill", "start", "planhat", "--since", "2024-06-01", "--until", "2024-06-01").code == 2
    assert cli("backfill", "start", "planhat", "--since", "2999-01-01").code == 2


def test_without_a_broker_nothing_is_left_to_workers(cli: Cli, configured: Path):
    assert cli("backfill", "start", "planhat", "--no-wait").code == 2
    assert cli("backfill", "list", "--json").document == {"backfills": []}


def test_who_did_it_is_kept(cli: Cli, configured: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEALSYNC_AS", "ada")
    cli("backfill", "start", "planhat")
    assert ("ada", "backfill start", "backfill 1") in [
        (one["who"], one["action"], one["target"]) for one in json.loads(cli("audit", "--json").out)["audit"]
    ]


def test_time_that_is_left_is_told_in_two_units():
    assert [left(seconds) for seconds in (None, 0, 12, 250, 7500, 273_600)] == [
        None, "0s", "12s", "4m 10s", "2h 5m", "3d 4h",
    ]  # fmt: skip
