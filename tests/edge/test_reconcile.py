"""Reconcile and recover on the command line: what scripts read, and what the commands end with."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from tests.edge.conftest import Cli

SUMMARY = ["run", "connection", "read", "applied", "unchanged", "superseded", "parked", "out_of_scope", "events"]
SUMMARY += ["published", "seconds"]


@pytest.fixture
def settled(cli: Cli, configured: Path) -> Path:
    assert cli("pull", "planhat").code == 0
    assert cli("publish").code == 0
    return configured


def cheat(folder: Path, source_id: str, cents: int) -> None:
    """Somebody writes to the ledger's tables behind everybody's back."""
    with sqlite3.connect(folder / "dealsync.db") as db:
        db.execute(
            "UPDATE ledger_deals SET state = json_set(state, '$.amount_cents', ?) WHERE external_id = ?",
            (cents, f"planhat:{source_id}"),
        )


def test_agreement_ends_with_0_and_says_how_far_it_reaches(cli: Cli, settled: Path):
    ended = cli("reconcile", "planhat", "--json")
    document = ended.document
    assert ended.code == 0
    assert list(document)[: len(SUMMARY)] == SUMMARY
    assert (document["connection"], document["differences"], document["delta_cents"]) == ("planhat", [], 0)
    assert {"month", "source", "projection", "ledger", "ok"} <= document["windows"][0].keys()
    assert [one["verified_through"] for one in cli("status", "--json").document["connections"]] == [
        document["verified_through"]
    ]
    assert f"verified through {document['verified_through']}" in cli("status").out


def test_a_difference_ends_with_8_in_json_and_in_words_until_it_is_mended(
    cli: Cli, settled: Path, crm: PlanhatSimulator
):
    deal = crm.ids()[2]
    held = cli("deals", "show", f"planhat:{deal}", "--json").document["state"]["amount_cents"]
    cheat(settled.parent, deal, 5)
    ended = cli("reconcile", "planhat", "--json")
    assert ended.code == 8
    [found] = ended.document["differences"]
    assert found == {
        "external_id": f"planhat:{deal}",
        "kind": "differs",
        "where": "ledger",
        "fields": ["amount_cents"],
        "source_amount_cents": held,
        "ledger_amount_cents": 5,
        "delta_cents": 5 - held,
    }
    assert ended.document["delta_cents"] == 5 - held
    words = cli("reconcile", "planhat")
    assert words.code == 8
    assert f"planhat:{deal}" in words.out
    assert "FAIL" in words.out
    assert "0.05 USD" in words.out
    repaired = cli("reconcile", "planhat", "--repair")
    assert repaired.code == 8
    assert "dealsync publish" in repaired.err
    assert cli("publish").code == 0
    assert cli("reconcile", "planhat").code == 0


def test_a_long_list_of_differences_is_cut_for_people_only(cli: Cli, settled: Path, crm: PlanhatSimulator):
    for _ in range(25):
        crm.create(total=1, currency="USD")
    words = cli("reconcile", "planhat")
    assert "5 more" in words.err
    assert len(cli("reconcile", "planhat", "--json").document["differences"]) == 25


def test_a_read_in_doubt_ends_with_5_and_claims_no_extras(cli: Cli, settled: Path, crm: PlanhatSimulator):
    crm.switches.hidden = frozenset(crm.ids())
    ended = cli("reconcile", "planhat", "--json")
    assert (ended.code, ended.document["differences"], ended.document["verified_through"]) == (5, [], None)
    assert ended.document["pending"] == {"unwitnessed": len(crm.ids())}
    assert "no witness of absence" in ended.err


def test_the_usual_faults_end_with_the_usual_codes(cli: Cli, settled: Path, crm: PlanhatSimulator):
    assert cli("reconcile", "nobody", "--json").code == 2
    assert cli("recover", "nobody").code == 2
    crm.faults.next(refused(401), times=5)
    assert cli("reconcile", "planhat").code == 4
    crm.faults.clear()
    crm.faults.sometimes(1.0, refused(503))
    assert cli("recover", "planhat", "--give-up-after", "1s").code == 6


def test_recover_shows_first_and_sends_only_when_told(cli: Cli, settled: Path, crm: PlanhatSimulator):
    deal = crm.ids()[2]
    cheat(settled.parent, deal, 5)
    with sqlite3.connect(settled.parent / "dealsync.db") as db:
        for table in ("deals", "events", "receipts", "outbox", "checkpoints", "connections", "raw_blocks"):
            db.execute(f"DELETE FROM {table}")
    look = cli("recover", "planhat", "--json")
    assert (look.code, look.document["sent"], look.document["events"]) == (0, False, 0)
    assert [one["external_id"] for one in look.document["differences"]] == [f"planhat:{deal}"]
    assert list(look.document)[: len(SUMMARY)] == SUMMARY
    words = cli("recover", "planhat")
    assert f"planhat:{deal}" in words.out
    assert "nothing was changed" in words.out
    assert "--send" in words.err
    assert cli("deals", "list", "--json").document == {"deals": []}
    sent = cli("recover", "planhat", "--send", "--json")
    assert (sent.code, sent.document["sent"], sent.document["events"]) == (0, True, 1)
    published = cli("publish", "--json").document
    assert (published["published"], published["applied"]) == (1, 1)
    assert cli("reconcile", "planhat").code == 0
    assert cli("ledger", "verify").code == 0
    assert cli("doctor").code == 0
