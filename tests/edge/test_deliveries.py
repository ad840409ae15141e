"""The command line shows what came by webhook and was not simply heeded."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from pipeline import settings
from pipeline.listen import listen
from pipeline.receive import doors
from pipeline.store import inbox
from pipeline.wiring import open_app
from tests.edge.conftest import TOKEN, Cli
from tests.pipeline.delivering import saying

HOOK = '[connections.planhat.webhook]\nsecrets = [{ env = "PLANHAT_TOKEN" }]\n'


@pytest.fixture
def received(configured: Path) -> Path:
    """One delivery of an unknown event, one that nobody can read, and one that waits."""
    configured.write_text(configured.read_text() + HOOK)
    with open_app(settings.load(configured, os.environ)) as app:
        door = doors(app)["planhat"]
        for body in (saying("c1").replace('"Deal"', '"Company"'), "no JSON", None, saying("d1")):
            if body is None:
                listen(app, "planhat")
                continue
            with app.store.write() as tx:
                inbox.put(tx, [door.admit([(b"x-planhat-secret", TOKEN.encode())], body.encode(), 0.0)])
            time.sleep(0.002)  # they are listed in their order by the millisecond
    return configured


def test_deliveries_are_listed_as_a_document_and_as_a_table(cli: Cli, received: Path):
    listed = cli("deliveries", "list", "--json").document["deliveries"]
    assert [one["state"] for one in listed] == ["unknown", "unreadable", "waiting"]
    assert all(one.keys() == {"id", "connection", "received_at", "state", "event", "why"} for one in listed)
    header, *lines = cli("deliveries", "list", "planhat").out.splitlines()
    assert header.split() == ["ID", "CONNECTION", "RECEIVED", "STATE", "EVENT", "OR", "WHY"]
    assert [line.split()[0] for line in lines] == [one["id"] for one in listed]
    assert "Company.update" in lines[0]


def test_they_are_chosen_by_connection_state_and_place(cli: Cli, received: Path):
    whole = cli("deliveries", "list", "--json").document["deliveries"]
    assert cli("deliveries", "list", "--state", "unknown", "--json").document["deliveries"] == whole[:1]
    assert cli("deliveries", "list", "planhat", "--limit", 1, "--json").document["deliveries"] == whole[:1]
    after = cli("deliveries", "list", "--after", whole[0]["id"], "--json").document["deliveries"]
    assert after == whole[1:]
    for wrong in (("other",), ("--after", "00"), ("--state", "heeded")):
        assert cli("deliveries", "list", *wrong).code == 2


def test_where_everything_was_heeded_there_is_nothing_to_show(cli: Cli, received: Path):
    with sqlite3.connect(received.parent / "dealsync.db") as store:
        store.execute("DELETE FROM inbox")
    assert cli("deliveries", "list", "--json").document == {"deliveries": []}
    assert "every delivery was heeded" in cli("deliveries", "list").err
