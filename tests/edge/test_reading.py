"""The commands that look: deals, explain, parked, status, doctor, check, mapping, ledger."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from tests.edge.conftest import Cli


@pytest.fixture
def odd(crm: PlanhatSimulator) -> str:
    """A deal nobody can map."""
    one = crm.ids()[0]
    crm.edit(one, stage="Unheard Of", total=1234)
    return one


@pytest.fixture
def pulled(cli: Cli, configured: Path, crm: PlanhatSimulator, odd: str) -> Path:
    cli("pull", "planhat")
    cli("publish")
    return configured


def test_deals_list_has_the_promised_shape_and_pages(cli: Cli, pulled: Path):
    whole = cli("deals", "list", "--json").document["deals"]
    assert len(whole) == 11
    assert set(whole[0]) == {"external_id", "connection", "source_id", "revision", "deleted", "state"}
    first = cli("deals", "list", "--json", "--limit", 4).document["deals"]
    rest = cli("deals", "list", "--json", "--after", first[-1]["external_id"]).document["deals"]
    assert [*first, *rest] == whole
    assert cli("deals", "list", "--json", "--connection", "planhat").document["deals"] == whole
    assert cli("deals", "list", "--connection", "other").code == 2


def test_deals_list_is_a_table_for_a_person(cli: Cli, pulled: Path):
    header, *rows = cli("deals", "list").out.splitlines()
    assert header.split() == ["DEAL", "REV", "STAGE", "AMOUNT", "CLOSE", "OWNER"]
    assert len(rows) == 11
    assert all(row.startswith("planhat:") for row in rows)


def test_an_empty_list_is_still_a_document(cli: Cli, configured: Path):
    assert cli("deals", "list", "--json").document == {"deals": []}
    assert cli("parked", "list", "--json").document == {"parked": []}
    assert "there are no deals" in cli("deals", "list").err


def test_deals_show_and_explain_a_deal(cli: Cli, pulled: Path, crm: PlanhatSimulator):
    external_id = f"planhat:{crm.ids()[1]}"
    shown = cli("deals", "show", external_id)
    assert "revision 1: upsert because of source_change" in shown.out
    assert cli("deals", "show", external_id, "--json").document["history"][0]["event_type"] == "upsert"
    explained = cli("explain", external_id, "--json").document
    assert set(explained) >= {"external_id", "revision", "fields", "event", "receipt"}
    assert set(explained["fields"]["amount_cents"]) >= {
        *("value", "from", "raw", "rule", "mapping_version", "cause", "observed_at")
    }
    told = cli("explain", external_id).out
    assert told.startswith(f"{external_id}, revision 1\n  amount_cents ")
    assert "ledger: appended as dom_" in told
    assert cli("explain", "planhat:none").code == 2


def test_parked_entries_are_listed_shown_retried_and_discarded(cli: Cli, pulled: Path, crm: PlanhatSimulator, odd: str):
    (entry,) = cli("parked", "list", "--json").document["parked"]
    assert set(entry) == {"id", "connection", "source_id", "reason", "field", "message", "since"}
    assert (entry["connection"], entry["source_id"], entry["reason"]) == ("planhat", odd, "UNKNOWN_STAGE")
    assert "Unheard Of" in cli("parked", "list").out
    assert odd in cli("parked", "show", entry["id"], "--json").document["raw"]
    assert "Unheard Of" in cli("parked", "show", entry["id"]).out
    assert cli("parked", "retry").code == 2
    assert cli("parked", "retry", entry["id"], "--all").code == 2
    assert cli("parked", "retry", "--connection", "other").code == 2
    retried = cli("parked", "retry", entry["id"], "--json")
    assert retried.code == 5
    assert retried.document["retried"][0]["parked"] == 1
    (entry,) = cli("parked", "list", "--json").document["parked"]
    assert cli("parked", "discard", entry["id"], "--reason", " ").code == 2
    assert cli("parked", "discard", entry["id"], "--reason", "a test deal", "--json").document == {"discarded": 1}
    assert cli("parked", "list", "--json").document == {"parked": []}
    assert cli("parked", "discard", entry["id"], "--reason", "again").out.startswith("0 discarded")
    assert cli("parked", "show", 999).code == 2
    assert cli("parked", "retry", "--all").code == 0


def test_status_has_the_promised_shape(cli: Cli, pulled: Path):
    found = cli("status", "--json").document
    (connection,) = found["connections"]
    assert set(connection) >= {"name", "source", "state", "last_success", "deals", "parked", "outbox"}
    assert (connection["deals"], connection["parked"], connection["outbox"]) == (11, 1, 0)
    assert found["ledger"]["kind"] == "embedded"
    told = cli("status").out
    assert told.splitlines()[0].startswith("CONNECTION")
    assert "ledger (embedded)" in told


def test_doctor_and_verify_find_a_sound_store_sound_and_a_damaged_one_damaged(cli: Cli, pulled: Path, tmp_path: Path):
    healthy = cli("doctor", "--json")
    assert (healthy.code, healthy.document["ok"]) == (0, True)
    verdict = cli("ledger", "verify", "--json")
    assert (verdict.code, verdict.document) == (0, {"ok": True, "events": 11, "deals": 11, "first_bad": None})
    assert cli("ledger", "verify").out == "the ledger is whole: 11 events, 11 deals\n"
    with sqlite3.connect(tmp_path / "dealsync.db") as database:
        database.execute("UPDATE ledger_deals SET state = replace(state, 'amount_cents\":', 'amount_cents\":1')")
        database.execute("DELETE FROM receipts WHERE source_id IN (SELECT min(source_id) FROM receipts)")
    database.close()
    broken = cli("ledger", "verify", "--json")
    assert (broken.code, broken.document["ok"]) == (8, False)
    assert set(broken.document["first_bad"]) == {"table", "row", "why"}
    assert cli("ledger", "verify").err.startswith("dealsync: the ledger is damaged: ledger_deals row ")
    sick = cli("doctor")
    assert sick.code == 8
    assert "FAIL" in sick.out
    assert cli("ledger", "rebuild", "--json").document == {"deals": 11}
    assert cli("ledger", "verify").code == 0


def test_check_tries_every_connection_and_ends_by_the_first_trouble(
    cli: Cli, configured: Path, monkeypatch: pytest.MonkeyPatch
):
    well = cli("check", "--json")
    assert (well.code, well.document["ok"]) == (0, True)
    assert all(set(one) == {"connection", "what", "ok", "message"} for one in well.document["findings"])
    assert cli("check", "planhat").out.startswith("ok   planhat: ")
    assert cli("check", "planhat", "--quiet").out == ""
    assert cli("check", "other").code == 2
    monkeypatch.setenv("PLANHAT_TOKEN", "wrong-canary-2")
    refused = cli("check")
    assert refused.code == 4
    assert "FAIL planhat" in refused.out
    assert "wrong-canary-2" not in refused.out


def test_check_says_which_address_to_paste_and_never_its_secret_part(
    cli: Cli, configured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plain = configured.read_text()
    hook = "[connections.planhat.webhook]\nsecrets = [{ env = 'HOOK_SECRET' }]\n"
    configured.write_text(plain + hook)
    assert "ok   planhat: webhook address: the source sends its deliveries to https://YOUR-HOST/webhooks/planhat\n" in (
        cli("check").out
    )
    configured.write_text(
        f"{plain}{hook}tolerance = '5m'\npath_segments = [{{ env = 'HOOK_PATH' }}, {{ file = 'next' }}]\n"
    )
    absent = cli("check")
    assert absent.code == 3
    assert "path_segments[0]: the environment variable HOOK_PATH is not set" in absent.out
    segments = ("path-canary-" + "q" * 24, "path-canary-" + "w" * 24)
    monkeypatch.setenv("HOOK_PATH", segments[0])
    (tmp_path / "next").write_text(segments[1] + "\n")
    well = cli("check", "--json")
    (told,) = [one["message"] for one in well.document["findings"] if one["what"] == "webhook address"]
    assert told == (
        "the source sends its deliveries to https://YOUR-HOST/webhooks/planhat/SEGMENT, where SEGMENT is what the "
        f"variable HOOK_PATH or the file {tmp_path / 'next'} holds; "
        "of its settings, tolerance can go: nothing is decided by it here"
    )
    for ended in (well, cli("check"), cli("status", "--json"), cli("status"), cli("doctor")):
        assert ended.code == 0
        assert "canary" not in ended.out + ended.err
    monkeypatch.setenv("HOOK_PATH", "short-canary")
    refused = cli("check")
    assert (refused.code, "canary" in refused.out + refused.err) == (3, False)
    assert "a path segment must be 24 to 200 letters" in refused.out


def test_check_of_an_empty_configuration_says_so(cli: Cli, tmp_path: Path):
    (tmp_path / "dealsync.toml").write_text("")
    ended = cli("check")
    assert ended.code == 0
    assert "there is no connection in the configuration yet" in ended.err


def test_mapping_lint_tells_every_problem_of_a_table(cli: Cli, configured: Path, tmp_path: Path):
    assert cli("mapping", "lint", "planhat").out == "planhat: the table is sound\n"
    (tmp_path / "bad.toml").write_text('source = "planhat"\n[deals.amuont]\nfrom = 3\n[x]\n')
    ended = cli("mapping", "lint", "bad.toml")
    assert (ended.code, ended.out) == (3, "")
    assert len(ended.err.splitlines()) >= 2
    assert cli("mapping", "lint", "bad.toml", "--json").document["ok"] is False
    assert cli("mapping", "lint", "planht").code == 2


def test_mapping_drift_lists_what_is_neither_mapped_nor_ignored(cli: Cli, configured: Path, crm: PlanhatSimulator):
    crm.switches.ignored_params = frozenset(["select"])  # it shows more than it is asked for
    cli("pull", "planhat")
    empty = cli("mapping", "drift", "planhat")
    assert (empty.code, empty.out) == (0, "")
    assert "is mapped or ignored" in empty.err
    for number, one in enumerate(crm.ids()[:3]):
        crm.edit(one, **({"brandNew": 1, "alsoNew": 2} if number else {"brandNew": 1}))
    cli("pull", "planhat")
    assert "`dealsync mapping drift planhat` lists them" in cli("status").out
    found = cli("mapping", "drift", "planhat", "--json").document
    assert found["connection"] == "planhat"
    assert [(one["key"], one["records"]) for one in found["drift"]] == [("brandNew", 3), ("alsoNew", 2)]
    assert all(one["first_seen"] <= one["last_seen"] for one in found["drift"])
    assert cli("mapping", "drift", "planhat", "--limit", 1, "--json").document["drift"] == found["drift"][:1]
    shown = cli("mapping", "drift", "planhat").out.splitlines()
    assert [line.split()[:2] for line in shown[1:]] == [["brandNew", "3"], ["alsoNew", "2"]]
    assert cli("mapping", "drift", "planht").code == 2


def test_mapping_show_lists_every_rule(cli: Cli, configured: Path):
    rules = cli("mapping", "show", "planhat", "--json").document["rules"]
    assert {"kind", "field", "from", "rule", "note"} == set(rules[0])
    assert "'Closed Won' is closed_won" in cli("mapping", "show", "planhat").out


def test_a_suggested_table_reads_what_the_shipped_one_could_not(cli: Cli, pulled: Path, tmp_path: Path, odd: str):
    assert "Unheard Of" in cli("mapping", "suggest", "planhat").out
    assert cli("mapping", "suggest", "planhat", "--output", "mine.toml").code == 0
    assert cli("mapping", "suggest", "planhat", "--output", "mine.toml").code == 2
    assert "Unheard Of" in cli("mapping", "suggest", "planhat", "--json").document["toml"]
    assert cli("mapping", "lint", "mine.toml").code == 0
    pulled.write_text(pulled.read_text().replace("token =", 'mapping = "mine.toml"\ntoken ='))
    again = cli("pull", "planhat", "--json")
    assert again.code == 0, again.err
    assert cli("parked", "list", "--json").document == {"parked": []}


def test_the_demo_proves_itself(cli: Cli):
    ended = cli("demo", "--deals", 20)
    assert ended.code == 0, ended.out + ended.err
    assert ended.out.rstrip().endswith("Proven: nothing lost, nothing doubled.")
    assert "UNKNOWN_STAGE" in ended.out
    assert ended.err == ""


def test_a_suggested_table_counts_each_deal_once(cli: Cli, configured: Path, crm: PlanhatSimulator):
    assert f"({len(crm.ids())} deals, 0 opportunities)" in cli("mapping", "suggest", "planhat").out


def test_mapping_preview_tells_what_a_table_would_change(cli: Cli, pulled: Path, tmp_path: Path):
    text = cli("mapping", "suggest", "planhat", "--json").document["toml"]
    (tmp_path / "mine.toml").write_text(text)
    found = cli("mapping", "preview", "planhat", "mine.toml", "--json").document
    assert (found["deals"], found["changed"], found["parked"], found["resolved"]) == (11, 0, 1, 1)
    assert "1 of 1 parked records could be read" in cli("mapping", "preview", "planhat", "mine.toml").out
    assert "parked for UNKNOWN_STAGE at stage: 1 records" in cli("mapping", "preview", "planhat").out
    assert cli("mapping", "preview", "planhat", "none.toml").code == 3
