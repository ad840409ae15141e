"""Pull, sweep, fetch and publish from the command line: summaries, exit codes, and secrets that stay where they are."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from tests.edge.conftest import TOKEN, Cli
from tests.servers import reserved_port

KEYS = {
    *("run", "connection", "read", "applied", "unchanged", "superseded", "parked", "out_of_scope"),
    *("events", "published", "seconds"),
}


@pytest.fixture
def unreachable(configured: Path) -> Iterator[Path]:
    text = configured.read_text()
    with reserved_port() as port:
        configured.write_text("\n".join(_at(line, port) for line in text.splitlines()))
        yield configured


def _at(line: str, port: int) -> str:
    return f'base_url = "http://127.0.0.1:{port}"' if line.startswith("base_url") else line


def test_pull_then_publish_then_nothing_left_to_do(cli: Cli, configured: Path):
    pulled = cli("pull", "planhat", "--json")
    assert (pulled.code, pulled.err) == (0, "")
    assert set(pulled.document) == KEYS
    assert (pulled.document["applied"], pulled.document["events"]) == (12, 12)
    assert pulled.document["connection"] == "planhat"
    published = cli("publish", "--json")
    assert (published.code, published.document["published"], published.document["connection"]) == (0, 12, None)
    again = cli("pull", "planhat", "--json").document
    assert (again["applied"], again["events"]) == (0, 0)
    assert cli("publish", "--json").document["published"] == 0


def test_a_person_gets_one_line(cli: Cli, configured: Path):
    ended = cli("pull", "planhat")
    assert ended.out.startswith("pull planhat (run 1): ")
    assert "12 applied" in ended.out
    assert len(ended.out.splitlines()) == 1
    assert cli("publish").out.startswith("publish (run 2): 12 in the ledger in ")
    assert cli("publish", "--quiet").out == ""


def test_two_sweeps_and_a_404_delete_a_deal(cli: Cli, configured: Path, crm: PlanhatSimulator):
    cli("pull", "planhat")
    crm.delete(crm.ids()[0])
    assert cli("sweep", "planhat", "--json").document["events"] == 0
    assert cli("sweep", "planhat", "--json").document["events"] == 1


def test_a_doubted_sweep_ends_with_5_and_says_why(cli: Cli, configured: Path, crm: PlanhatSimulator):
    cli("pull", "planhat")
    for one in crm.ids():
        crm.delete(one)
    ended = cli("sweep", "planhat")
    assert ended.code == 5
    assert "this read is no witness of absence: " in ended.err


def test_fetch_reads_one_deal(cli: Cli, configured: Path, crm: PlanhatSimulator):
    ended = cli("fetch", "planhat", crm.ids()[0], "--json")
    assert (ended.code, ended.document["read"], ended.document["events"]) == (0, 1, 1)


def test_a_parked_record_ends_the_pull_with_5(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.edit(crm.ids()[0], stage="Unheard Of")
    ended = cli("pull", "planhat", "--json")
    assert (ended.code, ended.document["parked"], ended.document["applied"]) == (5, 1, 11)
    assert "`dealsync parked list` says why" in cli("sweep", "planhat").out


def test_an_unknown_connection_ends_with_2(cli: Cli, configured: Path):
    ended = cli("pull", "planht")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"dealsync: there is no connection 'planht' in {configured}; did you mean 'planhat'?\n"


def test_a_refused_token_ends_with_4(cli: Cli, configured: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PLANHAT_TOKEN", "wrong-canary-1")
    ended = cli("pull", "planhat")
    assert ended.code == 4
    assert "401" in ended.err
    assert "wrong-canary-1" not in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_missing_secret_ends_with_3(cli: Cli, configured: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("PLANHAT_TOKEN")
    ended = cli("pull", "planhat")
    assert ended.code == 3
    assert ended.err == (
        "dealsync: connections.planhat.token: the environment variable PLANHAT_TOKEN is not set; set it to the secret\n"
    )


def test_a_source_that_does_not_answer_ends_with_6_when_patience_does(cli: Cli, unreachable: Path):
    ended = cli("pull", "planhat", "--give-up-after", "0s")
    assert ended.code == 6
    assert len(ended.err.splitlines()) == 1
    assert cli("pull", "planhat", "--give-up-after", "soon").code == 2


def test_a_source_that_answers_nonsense_ends_with_6(cli: Cli, configured: Path, crm: PlanhatSimulator):
    from connectors.simulated_wire import html

    crm.faults.next(html(), times=100)
    ended = cli("pull", "planhat", "--give-up-after", "0s")
    assert ended.code == 6
    assert "html" in ended.err.lower()


def test_a_store_that_cannot_be_opened_ends_with_6(cli: Cli, configured: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DEALSYNC__STORE__URL", "sqlite:////no/such/folder/x.db")
    ended = cli("pull", "planhat")
    assert ended.code == 6
    assert "Check that the folder exists" in ended.err


def test_a_postgresql_store_must_be_migrated_first(
    cli: Cli, configured: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEALSYNC__STORE__URL", postgres_url)
    ended = cli("pull", "planhat")
    assert ended.code == 3
    assert "dealsync migrate" in ended.err
    migrated = cli("migrate", "--json")
    assert migrated.code == 0
    assert migrated.document["done"]
    assert cli("migrate").out == "the store is up to date\n"
    assert cli("pull", "planhat").code == 0


def test_a_pull_under_way_elsewhere_ends_with_7(cli: Cli, configured: Path):
    from pipeline.settings import load
    from pipeline.store import leases
    from pipeline.wiring import open_app

    with open_app(load(configured, os.environ)) as app, leases.hold(app.store, "connection planhat"):
        ended = cli("pull", "planhat")
    assert ended.code == 7
    assert len(ended.err.splitlines()) == 1


def test_logs_are_json_on_stderr_and_carry_run_and_connection(
    cli: Cli, configured: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEALSYNC_LOG_LEVEL", "debug")
    ended = cli("pull", "planhat", "--json")
    assert ended.document["applied"] == 12
    lines = [json.loads(line) for line in ended.err.splitlines()]
    started = next(line for line in lines if line["event"] == "run.started")
    assert (started["run"], started["connection"]) == (ended.document["run"], "planhat")
    assert any("/deals" in str(line) for line in lines), "requests are logged at debug"


def test_no_output_of_any_command_shows_the_token(
    cli: Cli, configured: Path, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DEALSYNC_LOG_LEVEL", "debug")
    crm.edit(crm.ids()[0], name=f"named after {TOKEN}", stage="Unheard Of")
    forms = [TOKEN, quote(TOKEN, safe=""), TOKEN.encode().hex(), base64.b64encode(TOKEN.encode()).decode()[:-4]]
    commands = ["pull planhat", "sweep planhat", "publish", "status", "doctor", "check", "parked list", "ledger verify"]
    for auth, format in (("bearer", "json"), ("basic", "console")):
        monkeypatch.setenv("DEALSYNC__CONNECTIONS__PLANHAT__OPTIONS__AUTH", auth)
        monkeypatch.setenv("DEALSYNC_LOG_FORMAT", format)
        for command in commands:
            ended = cli(*command.split())
            assert ended.out + ended.err
            assert not [form for form in forms if form in ended.out + ended.err], command
