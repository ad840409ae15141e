"""Looking: explain, deals, status and the mapping tools, in the shapes that scripts rely on."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from ledger.memory import MemoryLedger
from ledger.port import LedgerUnavailable
from mappings.language import parse
from pipeline import settings
from pipeline.browse import list_deals, show_deal
from pipeline.explain import explain
from pipeline.faults import Unknown
from pipeline.fetch import fetch
from pipeline.mapping_files import shipped
from pipeline.mapping_tools import describe, lint, suggest
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.status import status
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.world import NAME, TOKEN, projected, rows

STANDARD = ["amount_cents", "stage", "close_date", "owner_external_id"]


def test_explain_follows_each_field_from_the_bytes_to_the_receipt(app: App, crm: PlanhatSimulator):
    one = crm.create(name="One", stage="Negotiation", total=Decimal("100.125"), currency="usd ")
    pull(app, NAME)
    assert explain(app, f"{NAME}:{one}")["receipt"] == {}
    publish(app)
    crm.edit(one, stage="Closed Won")
    pull(app, NAME)
    publish(app)
    told = explain(app, f"{NAME}:{one}")
    assert json.loads(json.dumps(told, default=str)).keys() >= {"external_id", "revision", "fields", "event", "receipt"}
    assert (told["external_id"], told["revision"], told["deleted"]) == (f"{NAME}:{one}", 2, False)
    assert list(told["fields"])[:4] == STANDARD
    for field in told["fields"].values():
        assert field.keys() >= {"value", "from", "raw", "rule", "mapping_version", "cause", "observed_at"}
        assert field["rule"]
    amount, stage = told["fields"]["amount_cents"], told["fields"]["stage"]
    assert (amount["value"], amount["raw"]["total"], amount["revision"]) == (10_012, Decimal("100.125"), 1)
    assert (stage["value"], stage["raw"], stage["from"], stage["revision"]) == ("closed_won", "Closed Won", "stage", 2)
    assert told["event"]["event_type"] == "stage_change"
    assert told["event"]["dedup_key"].startswith(f"{NAME}:{one}:2:")
    assert told["receipt"].keys() == {"outcome", "source_event_id", "domain_event_id", "deal_id", "settled_at"}


def test_explain_of_a_deleted_deal_says_what_made_it_so(app: App, crm: PlanhatSimulator):
    pull(app, NAME)
    gone = crm.ids()[3]
    crm.delete(gone)
    sweep(app, NAME)
    sweep(app, NAME)
    told = explain(app, f"{NAME}:{gone}")
    assert told["deleted"] is True
    assert told["fields"]["amount_cents"]["value"] == 0
    assert "tombstone" in told["fields"]["deleted"]["rule"]
    assert told["fields"]["stage"]["revision"] == 1
    assert show_deal(app, f"{NAME}:{gone}")["deleted"] is True


def test_explain_names_the_mapping_that_read_the_value(app: App, crm: PlanhatSimulator, tmp_path: Path):
    one = crm.create(name="One", stage="Negotiation", total=1, currency="USD")
    pull(app, NAME)
    before = explain(app, f"{NAME}:{one}")["fields"]["stage"]["mapping_version"]
    file = tmp_path / "dealsync.toml"
    (tmp_path / "mine.toml").write_text(shipped("planhat").replace('= "negotiation"', '= "haggling"'))
    file.write_text(file.read_text().replace('source = "planhat"', 'source = "planhat"\nmapping = "mine.toml"'))
    app.settings = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
    pull(app, NAME)
    fields = explain(app, f"{NAME}:{one}")["fields"]
    assert (fields["stage"]["value"], fields["stage"]["cause"]) == ("haggling", "mapping_change")
    assert fields["amount_cents"]["mapping_version"] == before != fields["stage"]["mapping_version"]


@pytest.mark.parametrize("name", ["nope", "planhat-eu", "planhat-eu:", "planhat-eu:nope", "other:x", ""])
def test_a_deal_that_is_not_there_is_told(app: App, name: str):
    pull(app, NAME)
    for verb in (explain, show_deal):
        with pytest.raises(Unknown, match="there is no deal"):
            verb(app, name)
    with pytest.raises(Unknown, match="there is no deal"):
        list(list_deals(app, after=name or "x"))


@pytest.mark.parametrize("size", [1, 7, 39, 40, 41, 1000])
def test_deals_are_listed_in_pages_of_any_size(app: App, crm: PlanhatSimulator, size: int):
    pull(app, NAME)
    whole = list(list_deals(app))
    assert [deal["source_id"] for deal in whole] == crm.ids()
    found: list[dict] = []
    while page := list(list_deals(app, limit=size, after=found[-1]["external_id"] if found else None)):
        assert len(page) <= size
        found.extend(page)
    assert found == whole
    assert list(list_deals(app, connection=NAME)) == whole
    assert list(list_deals(app, limit=0)) == []


def test_a_deal_whose_prefix_was_set_is_found_by_either_name(open_world, crm: PlanhatSimulator):
    app = open_world(crm, connection='external_id_prefix = "crm"')
    pull(app, NAME)
    publish(app)
    one = crm.ids()[0]
    assert explain(app, f"crm:{one}") == explain(app, f"{NAME}:{one}")
    assert {deal["external_id"] for deal in list_deals(app)} == {f"crm:{each}" for each in crm.ids()}
    assert {deal.external_id for deal in app.ledger.deals()} == {f"crm:{each}" for each in crm.ids()}


def test_status_has_its_shape_before_during_and_after(app: App, crm: PlanhatSimulator):
    (new,) = status(app)["connections"]
    assert (new["state"], new["last_success"], new["deals"], new["parked"], new["outbox"]) == ("new", None, 0, 0, 0)
    crm.edit(crm.ids()[0], stage="Odd")
    pull(app, NAME)
    found = status(app)
    (pulled,) = found["connections"]
    assert pulled.keys() >= {"name", "source", "state", "last_success", "deals", "parked", "outbox"}
    assert (pulled["state"], pulled["deals"], pulled["parked"], pulled["outbox"]) == ("ok", 39, 1, 39)
    assert (found["ledger"]["ok"], found["ledger"]["outbox"], found["ledger"]["last_publish"]) == (True, 39, None)
    publish(app)
    found = status(app)
    assert (found["connections"][0]["outbox"], found["ledger"]["outbox"]) == (0, 0)
    assert found["ledger"]["last_publish"]


def test_status_tells_of_a_ledger_that_is_away(app: App):
    class Away(MemoryLedger):
        def check(self) -> str:
            raise LedgerUnavailable("it does not answer")

    app.ledger = Away(now=app.store.now)
    told = status(app)["ledger"]
    assert (told["ok"], told["message"]) == (False, "it does not answer")


def test_a_fetch_waits_for_no_pull_and_leaves_the_checkpoint_alone(app: App, crm: PlanhatSimulator):
    from pipeline.store import leases

    with leases.hold(app.store, f"connection {NAME}"):
        assert fetch(app, NAME, crm.ids()[0]).applied == 1
    assert fetch(app, NAME, crm.ids()[0]).unchanged == 1
    assert pull(app, NAME).applied == len(crm.ids()) - 1
    with pytest.raises(Unknown):
        fetch(app, "nope", "x")


def test_a_suggested_table_counts_each_deal_once_reads_all_and_stores_nothing(app: App, crm: PlanhatSimulator):
    for one in crm.ids()[:5]:
        crm.edit(one, stage="Verbal Yes", custom={"Region": "EMEA"})
    written = suggest(app, NAME)
    line = next(line for line in written.splitlines() if '"Verbal Yes"' in line)
    assert "5" in line
    assert parse(written, name="suggested")
    assert projected(app) == {}
    assert rows(app)["events"] == 0


def test_lint_tells_every_problem_of_a_table_or_none(app: App, tmp_path: Path):
    assert lint(app.settings, NAME) == []
    bad = tmp_path / "bad.toml"
    bad.write_text('source = "planhat"\n[deals.amuont]\nfrom = 3\n')
    assert len(lint(None, str(bad))) >= 2
    assert len(lint(None, str(tmp_path / "none.toml"))) == 1
    assert {row.field for row in describe(app.settings, NAME)} >= set(STANDARD)
