"""What cPod's own ways become in the store and the ledger: through the real pipeline, on SQLite."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from connectors.faults import Unintelligible
from pipeline import settings
from pipeline.browse import show_deal
from pipeline.mapping_files import shipped
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.sweep import sweep
from pipeline.wiring import App, open_app
from tests.connectors.cpod.reading import Tenant

NAME = "cpod"
ENV = {"CPOD_ID": "client-of-the-sandbox", "CPOD_SECRET": "sandbox"}


class Connected:
    """A tenant and a connection to it."""

    def __init__(self, tenant: Tenant, app: App) -> None:
        self.tenant = tenant
        self.app = app

    def pull(self) -> Any:
        return pull(self.app, NAME)

    def events(self, deal: str) -> list[tuple[str, str | None]]:
        """The types and stages of a deal's events, in their order."""
        with self.app.store.engine.connect() as tx:
            sql = "SELECT event_type, state FROM events WHERE source_id = :deal ORDER BY revision"
            rows = tx.execute(text(sql), {"deal": deal}).all()
        found = []
        for kind, state in rows:
            body = state if isinstance(state, str) else bytes(state).decode()
            stage = re.search(r'"stage":"(\w+)"', body)
            found.append((kind, stage and stage.group(1)))
        return found


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Any]:
    """Makes connected tenants: `connect(tenant, mapping=..., **options)`."""
    opened: list[Any] = []

    def make(tenant: Tenant, *, table: str | None = None, **options: Any) -> Connected:
        lines = ["[store]", f'url = "sqlite:///{tmp_path / "store.db"}"', f"[connections.{NAME}]", 'source = "cpod"']
        lines += ['base_url = "https://api.cyberpod.app"', 'default_currency = "USD"']
        lines += ['client_id = { env = "CPOD_ID" }', 'client_secret = { env = "CPOD_SECRET" }']
        if table is not None:
            (tmp_path / "mine.toml").write_text(table)
            lines += [f'mapping = "{tmp_path / "mine.toml"}"']
        lines += [f"[connections.{NAME}.options]", "requests_per_minute = 1000000"]
        lines += [f"{key} = {str(value).lower()}" for key, value in options.items()]
        file = tmp_path / "dealsync.toml"
        file.write_text("\n".join(lines) + "\n")
        app = open_app(settings.load(file, ENV), transports={NAME: tenant.transport()}, give_up_after_s=5.0)
        opened.append(app)
        return Connected(tenant, app.__enter__())

    yield make
    for app in opened:
        app.__exit__(None, None, None)


@pytest.mark.parametrize("hops", [True, False])
def test_stage_moves_between_two_pulls_are_events_of_their_own_unless_they_are_switched_off(connect: Any, hops: bool):
    one = connect(Tenant(5), audit_log_hops=hops)
    deal = one.tenant.new_deal(amount=Decimal(100), stage="lead")
    one.pull()
    for stage in ("proposal", "negotiation", "closed_won"):
        one.tenant.set_stage(deal, stage)
    one.pull()
    stages = [stage for _, stage in one.events(deal)]
    assert stages == ["lead", *(["proposal", "negotiation"] if hops else []), "closed_won"]


@pytest.mark.parametrize("quoted_json", [True, False])
def test_stage_moves_that_are_kept_the_newest_first_are_told_in_the_order_they_were_made(
    connect: Any, quoted_json: bool
):
    one = connect(Tenant(5, audit_log_order="newest", quoted_json=quoted_json))
    deal = one.tenant.new_deal(amount=Decimal(100), stage="lead")
    one.pull()
    for stages in (("proposal", "negotiation"), ("closed_lost", "negotiation", "closed_won")):
        for stage in stages:
            one.tenant.set_stage(deal, stage)
        one.pull()
    told = ["lead", "proposal", "negotiation", "closed_lost", "negotiation", "closed_won"]
    assert [stage for _, stage in one.events(deal)] == told


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_a_deal_that_went_in_circles_within_a_second_is_told_as_it_went(connect: Any, order: str):
    """It ends where its first move led, and all moves bear one time: only where each went on from is left to tell."""
    one = connect(Tenant(5, audit_log_order=order))
    deal = one.tenant.new_deal(amount=Decimal(100), stage="lead")
    one.pull()
    told = ["lead"]
    for stages in (("proposal", "negotiation", "lead", "proposal"), ("negotiation", "proposal", "lead", "proposal")):
        for stage in stages:
            one.tenant.set_stage(deal, stage)
        one.pull()
        told += stages
    assert [stage for _, stage in one.events(deal)] == told


def test_a_deleted_deal_gets_its_tombstone_with_the_next_pull_and_a_restored_one_comes_back(connect: Any):
    one = connect(Tenant(5))
    deal = one.tenant.ids()[0]
    one.pull()
    one.tenant.delete(deal)
    one.pull()
    one.pull()
    one.tenant.restore(deal)
    one.pull()
    assert [kind for kind, _ in one.events(deal)] == ["upsert", "delete", "upsert"]


def test_a_client_that_becomes_an_applications_deletes_nothing(connect: Any):
    one = connect(Tenant(30))
    one.pull()
    one.tenant.switches.app_id = "app-1"
    one.tenant.desk.revoke()
    for _ in range(3):
        assert sweep(one.app, NAME).doubts
    assert one.pull().events == 0
    assert show_deal(one.app, f"{NAME}:{one.tenant.ids()[0]}")["deleted"] is False


def test_a_purged_deal_is_proven_gone_by_two_sweeps_and_a_single_read(connect: Any):
    one = connect(Tenant(30))
    one.pull()
    deal = one.tenant.ids()[0]
    one.tenant.purge(deal)
    sweep(one.app, NAME)
    assert [kind for kind, _ in one.events(deal)] == ["upsert"]
    sweep(one.app, NAME)
    assert [kind for kind, _ in one.events(deal)] == ["upsert", "delete"]


def test_another_envelope_in_mid_life_lands_nothing_and_leaves_the_checkpoint(connect: Any):
    one = connect(Tenant(30))
    one.pull()
    one.tenant.switches.envelope = "legacy_items"
    one.tenant.touch(one.tenant.ids()[0])
    with pytest.raises(Unintelligible, match='envelope = "items/camel"'):
        one.pull()
    one.tenant.switches.envelope = "current"
    assert one.pull().events == 0


def test_the_lines_that_look_things_up_bring_names_quotes_and_totals(connect: Any):
    table = re.sub(r"^# (\w+ = \{.*look_up.*)$", r"\1", shipped("cpod"), flags=re.M)
    one = connect(Tenant(20), table=table)
    one.pull()
    publish(one.app)
    deal = one.tenant.get(one.tenant.ids()[-2])
    state = show_deal(one.app, f"{NAME}:{deal['id']}")["state"]
    account = one.tenant.tables["accounts"].latest(deal["account_id"]) or {}
    assert state["account_name"] == account["name"]
    assert (state["quote_status"], state["line_item_count"], state["line_item_total"]) == (
        "sent",
        2,
        Decimal("1000.01"),
    )
    owners = {user["id"]: user["display_name"] for user in one.tenant.people["users"]}
    assert state["owner_name"] == owners.get(deal["owner_id"])


def test_an_unchanged_tenant_is_read_and_nothing_is_written(connect: Any):
    one = connect(Tenant(50))
    first, second = one.pull(), one.pull()
    assert (first.applied, second.read, second.unchanged, second.events) == (50, 50, 50, 0)
