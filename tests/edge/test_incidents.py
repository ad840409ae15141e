"""Incidents on the command line: an answer that is no retry of ours stays until a person says what was found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deals.events import Event
from ledger.clock import utc_now
from ledger.embedded import EmbeddedLedger
from pipeline.settings import load
from pipeline.store import outbox
from pipeline.store.outbox import BEGINNING, WHENEVER
from pipeline.wiring import open_app
from tests.edge.conftest import Cli


@pytest.fixture
def incident(cli: Cli, configured: Path) -> int:
    """The number of an incident: the ledger holds something else under the keys of three events."""
    cli("pull", "planhat")
    with open_app(load(configured, os.environ)) as app:
        with app.store.read() as tx:
            ours = [head.event for head in outbox.heads(tx, after=BEGINNING, due=WHENEVER, limit=3)]
        theirs = [Event(one.external_id, "upsert", one.dedup_key, b'{"amount_cents":1}') for one in ours]
        EmbeddedLedger(app.store.engine, now=utc_now).append(theirs)
    published = cli("publish")
    assert (published.code, "3 events have keys under which the ledger holds" in published.err) == (0, True)
    (one,) = cli("incidents", "list", "--json").document["incidents"]
    return int(one["id"])


def test_an_incident_is_listed_with_what_it_means_and_shown_with_its_events(cli: Cli, incident: int):
    (one,) = cli("incidents", "list", "--json").document["incidents"]
    assert (one["outcome"], one["events"], one["state"]) == ("conflict", 3, "open")
    assert f"planhat:{one['source_id']}" in cli("incidents", "list").out
    shown = cli("incidents", "show", incident, "--json").document
    assert [set(met) for met in shown["met"]] == [
        {"connection", "source_id", "revision", "domain_event_id", "settled_at"}
    ] * 3
    assert len({met["source_id"] for met in shown["met"]}) == 3
    assert one["domain_event_id"] in {met["domain_event_id"] for met in shown["met"]}
    lines = cli("incidents", "show", incident).out.splitlines()
    assert len(lines) == len(shown) - 1 + 1 + 3
    assert cli("incidents", "show", 99).code == 2


def test_an_incident_is_seen_by_everybody_until_it_is_acknowledged_with_a_reason(cli: Cli, incident: int):
    assert cli("status", "--json").document["ledger"]["incidents"] == 3
    doctor = cli("doctor")
    assert f"dealsync incidents acknowledge {incident}" in doctor.out + doctor.err
    assert cli("incidents", "acknowledge", incident).code == 2
    assert cli("incidents", "acknowledge", incident, "--reason", " ").code == 2
    said = cli("incidents", "acknowledge", incident, "--as", "ann", "--reason", "a second deployment", "--json")
    assert said.document == {"acknowledged": 3}
    assert cli("status", "--json").document["ledger"]["incidents"] == 0
    doctor = cli("doctor")
    assert "incidents acknowledge" not in doctor.out + doctor.err
    assert "there are no incidents" in cli("incidents", "list").err


def test_what_was_acknowledged_stays_known_with_who_did_it_and_why(cli: Cli, incident: int):
    cli("incidents", "acknowledge", incident, "--as", "ann", "--reason", "a second deployment")
    again = cli("incidents", "acknowledge", incident, "--reason", "again")
    assert (again.code, "acknowledged by ann" in again.err) == (2, True)
    assert cli("incidents", "acknowledge", 99, "--reason", "none").code == 2
    (one,) = cli("incidents", "list", "--all", "--json").document["incidents"]
    assert (one["state"], one["decided_by"], one["note"]) == ("acknowledged", "ann", "a second deployment")
    did = cli("audit", "--json").document["audit"][-1]
    assert (did["who"], did["action"], did["target"]) == ("ann", "incidents acknowledge", str(incident))
    assert (did["reason"], did["outcome"]) == (
        "a second deployment",
        "3 events that have keys under which the ledger holds something else",
    )
