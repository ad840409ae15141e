"""The simulated tenant behaves as the contract says, switch by switch."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from connectors.cpod.simulated_hooks import Encoding
from connectors.cpod.simulated_tokens import CLIENT_ID
from connectors.simulated_sender import Outgoing
from tests.connectors.cpod.reading import DEALS, Tenant


def listed(tenant: Tenant, **query: Any) -> dict[str, Any]:
    answer = tenant.ask("GET", DEALS, params=query)
    assert answer.status_code == 200, answer.text
    return dict(json.loads(answer.content, parse_float=Decimal))


# -- the same seed


def test_the_same_seed_and_calls_give_the_same_bytes():
    one, other = Tenant(20, seed=7), Tenant(20, seed=7)
    for tenant in (one, other):
        tenant.set_stage(tenant.ids()[0], "closed_lost")
    assert one.ask("GET", DEALS).content == other.ask("GET", DEALS).content
    assert Tenant(20, seed=8).ids() != one.ids()


@pytest.mark.parametrize(("ids", "looks"), [("deal_ulid", "deal_01"), ("deal-uuid", "deal-01"), ("uuid", "01")])
def test_ids_come_in_three_styles_and_in_the_order_of_creation(ids: str, looks: str):
    tenant = Tenant(30, ids=ids)
    assert all(deal.startswith(looks) for deal in tenant.ids())
    assert len(set(tenant.ids())) == 30
    assert tenant.ids() == sorted(tenant.ids(), key=lambda deal: tenant.get(deal)["created_at"])
    assert tenant.create() == tenant.ids()[-1]


# -- tokens


def test_a_token_ends_with_its_life():
    tenant = Tenant(3, token_life_s=60)
    token = tenant.desk.issue(_swap())["access_token"]  # type: ignore[index]
    headers = {"Authorization": f"Bearer {token}"}
    assert tenant.ask("GET", DEALS, headers=headers).status_code == 200
    tenant.clock.advance(60)
    assert tenant.ask("GET", DEALS, headers=headers).status_code == 401


def _swap() -> Any:
    from connectors.simulated_wire import Request

    body = json.dumps({"client_id": CLIENT_ID, "client_secret": "sandbox", "grant_type": "client_credentials"})
    return Request(method="POST", path="/api/v1/auth/token", body=body.encode())


def test_only_health_and_the_token_endpoint_are_open():
    tenant = Tenant(3)
    none = {"Authorization": ""}
    assert tenant.ask("GET", "/health", headers=none).status_code == 200
    assert tenant.ask("GET", DEALS, headers=none).status_code == 401
    assert tenant.ask("GET", "/api/v1/nothing").status_code == 404


# -- lists


@pytest.mark.parametrize(
    ("switches", "keys"),
    [
        ({}, ["data", "next_cursor", "has_more", "total"]),
        ({"camel": True}, ["data", "nextCursor", "hasMore", "total"]),
        ({"paging": "page"}, ["data", "has_more", "total"]),
        ({"show_total": False}, ["data", "next_cursor", "has_more"]),
        ({"envelope": "legacy_items"}, ["items", "nextCursor", "total"]),
        ({"envelope": "legacy_people"}, ["data", "hasMore"]),
        ({"envelope": "bare_data"}, ["data"]),
    ],
)
def test_lists_come_in_the_contracts_envelopes(switches: dict[str, Any], keys: list[str]):
    tenant = Tenant(60, **switches)
    page = listed(tenant)
    assert list(page) == keys
    assert [row["id"] for row in page[keys[0]]] == tenant.ids()[:9:-1]
    assert page.get("total", 60) == 60


def test_known_filters_narrow_and_unknown_ones_are_ignored_unless_refused():
    tenant = Tenant(60)
    won = {deal["id"] for deal in tenant.truth() if deal["stage"] == "closed_won"}
    assert {row["id"] for row in listed(tenant, stage="closed_won", limit=500)["data"]} == won
    assert listed(tenant, colour="red")["total"] == 60
    tenant.switches.ignored_params = frozenset({"stage"})
    assert listed(tenant, stage="closed_won")["total"] == 60
    tenant.switches.refuse_unknown_params = True
    assert tenant.ask("GET", DEALS, params={"colour": "red"}).status_code == 422


def test_the_list_can_be_searched_and_sorted():
    tenant = Tenant(60)
    assert 0 < listed(tenant, search="acme")["total"] < 60
    stamps = [row["updated_at"] for row in listed(tenant, sort="-updated_at", limit=500)["data"]]
    assert stamps == sorted(stamps, reverse=True)
    first = listed(tenant, sort="updated_at", limit=20)
    then = listed(tenant, sort="updated_at", limit=20, cursor=first["next_cursor"])
    assert first["data"][-1]["updated_at"] <= then["data"][0]["updated_at"]


@pytest.mark.parametrize("changed", [{"stage": "lead"}, {"include_deleted": "true"}])
def test_a_cursor_dies_when_the_filters_change(changed: dict[str, str]):
    tenant = Tenant(60)
    cursor = listed(tenant)["next_cursor"]
    assert tenant.ask("GET", DEALS, params={"cursor": cursor}).status_code == 200
    assert tenant.ask("GET", DEALS, params={"cursor": cursor, **changed}).status_code == 400
    assert tenant.ask("GET", DEALS, params={"cursor": "nonsense"}).status_code == 400


def test_too_large_a_page_is_clamped_or_refused():
    tenant = Tenant(30, max_limit=7)
    assert len(listed(tenant, limit=9)["data"]) == 7
    tenant.switches.over_limit = "refuse"
    assert tenant.ask("GET", DEALS, params={"limit": 9}).status_code == 422


def test_what_is_written_late_is_seen_late():
    tenant = Tenant(5, late_commit_s=30)
    deal = tenant.new_deal(amount=Decimal(5), stage="lead")
    assert listed(tenant)["total"] == 5
    assert deal in tenant.ids()
    tenant.clock.advance(31)
    assert listed(tenant)["total"] == 6


# -- writes


def create(tenant: Tenant, **fields: Any) -> Any:
    return tenant.ask("POST", DEALS, json={"name": "x", "stage": "lead", "value": 10, "currency": "USD", **fields})


def test_a_deal_is_created_once_for_each_deal_number():
    tenant = Tenant(3)
    made = create(tenant, deal_number="DEAL-X-1")
    assert (made.status_code, made.json()["version"]) == (201, 1)
    assert create(tenant, deal_number="DEAL-X-1").status_code == 409
    key = {"Idempotency-Key": "k"}
    first, second = (tenant.ask("POST", DEALS, json={"name": "y"}, headers=key).json()["id"] for _ in range(2))
    assert first != second
    tenant.switches.idempotency = True
    assert tenant.ask("POST", DEALS, json={"name": "y"}, headers=key).json()["id"] == second


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"stage": "closed_lost"}, 422),
        ({"stage": "closed_lost", "loss_reason": "price", "loss_category": "commercial"}, 201),
        ({"value": "10"}, 422),
        ({"colour": "red"}, 422),
        ({"id": "mine", "tenant_id": "other", "version": 9}, 201),
    ],
)
def test_what_a_create_may_say(fields: dict[str, Any], status: int):
    tenant = Tenant(3)
    made = create(tenant, **fields)
    assert made.status_code == status
    if status == 201:
        assert (made.json()["version"], made.json()["tenant_id"]) == (1, "simulated")


def test_a_patch_counts_versions_and_refuses_an_older_one():
    tenant = Tenant(3)
    deal = tenant.ids()[0]
    path, version = f"{DEALS}/{deal}", tenant.get(deal)["version"]
    assert tenant.ask("PATCH", path, json={"value": 5, "version": version}).json()["version"] == version + 1
    assert tenant.ask("PATCH", path, json={"value": 6, "version": version}).status_code == 409
    assert tenant.ask("PATCH", path, json={"value": 6}, headers={"If-Match": f'"{version}"'}).status_code == 409
    assert tenant.ask("PATCH", path, json={"stage": "closed_lost"}).status_code == 422
    assert tenant.ask("PATCH", f"{DEALS}/none", json={}).status_code == 404
    assert tenant.ask("PATCH", path, content=b"nonsense").status_code == 400


def test_a_delete_is_soft_and_a_restore_raises_the_version():
    tenant = Tenant(3)
    deal = tenant.ids()[0]
    path, version = f"{DEALS}/{deal}", tenant.get(deal)["version"]
    assert tenant.ask("DELETE", path).status_code == 204
    assert tenant.ask("DELETE", path).status_code == 404
    assert deal not in tenant.ids()
    assert tenant.get(deal)["deleted_at"] is not None
    assert tenant.ask("PATCH", path, json={"value": 5}).status_code == 404
    back = tenant.ask("PATCH", path, json={"is_deleted": False}).json()
    assert (back["is_deleted"], back["deleted_at"], back["version"]) == (False, None, version + 2)


def test_closing_stamps_the_actual_date_and_each_move_grows_the_audit_log():
    tenant = Tenant(3)
    deal = tenant.new_deal(amount=Decimal("48000.50"), stage="lead")
    for stage in ("proposal", "closed_won", "negotiation"):
        tenant.set_stage(deal, stage)
    log = tenant.get(deal)["audit_log"]
    assert [(entry["from_stage"], entry["to_stage"]) for entry in log] == [
        ("lead", "proposal"),
        ("proposal", "closed_won"),
        ("closed_won", "negotiation"),
    ]
    assert tenant.get(deal)["actual_close_date"] is None
    tenant.switches.reopening_clears = False
    tenant.set_stage(deal, "closed_won")
    tenant.set_stage(deal, "lead")
    assert tenant.get(deal)["actual_close_date"] is not None
    assert b'"value":48000.5,' in tenant.ask("GET", f"{DEALS}/{deal}").content


def test_json_fields_may_be_texts_and_their_log_still_grows():
    tenant = Tenant(3, quoted_json=True, money_as_text=True)
    deal = tenant.new_deal(amount=Decimal("48000.50"), stage="lead")
    tenant.set_stage(deal, "proposal")
    tenant.set_stage(deal, "closed_won")
    made = tenant.get(deal)
    assert [entry["to_stage"] for entry in json.loads(made["audit_log"])] == ["proposal", "closed_won"]
    assert isinstance(made["custom_fields"], str)
    assert made["value"] == "48000.50"


def test_a_version_may_stand_still():
    tenant = Tenant(3, version_moves=False)
    deal = tenant.ids()[0]
    version = tenant.get(deal)["version"]
    tenant.set_amount(deal, Decimal(5))
    assert tenant.get(deal)["version"] == version


def test_a_purged_deal_leaves_no_trace():
    tenant = Tenant(3)
    deal = tenant.ids()[0]
    tenant.purge(deal)
    assert tenant.ask("GET", f"{DEALS}/{deal}").status_code == 404
    assert listed(tenant, include_deleted="true")["total"] == 2


def test_own_records_and_an_applications_records_narrow_lists_and_single_reads():
    tenant = Tenant(10, own_records=True)
    deal = tenant.ids()[0]
    assert listed(tenant)["total"] == 0
    assert tenant.ask("GET", f"{DEALS}/{deal}").status_code == 404
    tenant.switches.own_records, tenant.switches.app_id = False, "app-1"
    made = create(tenant).json()
    assert made["app_id"] == "app-1"
    assert [row["id"] for row in listed(tenant)["data"]] == [made["id"]]
    assert [deal["id"] for deal in tenant.truth()] == [made["id"]]


# -- webhooks, events, audit


class Receiver:
    """Keeps what it is sent and answers what it is told to."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[Outgoing] = []

    def __call__(self, delivery: Outgoing) -> int:
        self.got.append(delivery)
        return self.statuses.pop(0) if self.statuses else 202

    @property
    def events(self) -> list[str]:
        return [json.loads(delivery.body)["type"] for delivery in self.got]


def test_each_write_is_told_in_the_contracts_event_record():
    tenant, receiver = Tenant(3), Receiver()
    tenant.notify(receiver)
    deal = tenant.new_deal(amount=None, stage="lead")
    tenant.touch(deal)
    tenant.set_stage(deal, "proposal")
    tenant.delete(deal)
    tenant.restore(deal)
    told = ["deal.created", "deal.updated", "deal.stage_changed", "deal.deleted", "deal.updated"]
    assert receiver.events == told
    body = json.loads(receiver.got[2].body)
    assert body["payload"] == {"id": deal, "stage": "proposal", "version": 3}
    assert (body["resourceId"], body["resourceType"]) == (deal, "deal")


@pytest.mark.parametrize("encoding", ["sha256=hex", "hex", "base64"])
@pytest.mark.parametrize("timestamped", [True, False])
def test_deliveries_are_signed_with_the_secret_of_the_day(encoding: Encoding, timestamped: bool):
    tenant, receiver = Tenant(3), Receiver()
    tenant.notify(receiver, encoding=encoding, timestamped=timestamped)
    tenant.webhook_secret = "rotated"
    tenant.touch(tenant.ids()[0])
    (delivery,) = receiver.got
    at = delivery.headers.get("X-Cpod-Timestamp")
    assert (at is not None) is timestamped
    signed = delivery.body if at is None else at.encode() + b"." + delivery.body
    mac = hmac.new(b"rotated", signed, hashlib.sha256).digest()
    right = {"sha256=hex": f"sha256={mac.hex()}", "hex": mac.hex(), "base64": base64.b64encode(mac).decode()}
    assert delivery.headers["X-Cpod-Signature"] == right[encoding]


def test_a_failed_delivery_comes_again_under_the_same_id_and_given_up_after_five():
    tenant, receiver = Tenant(3), Receiver(*[500] * 9)
    sender = tenant.notify(receiver)
    tenant.touch(tenant.ids()[0])
    for _ in range(10):
        tenant.clock.advance(60)
        tenant.settle()
    assert len(receiver.got) == 5
    assert len({delivery.headers["X-Cpod-Delivery"] for delivery in receiver.got}) == 1
    assert len({delivery.headers["X-Cpod-Timestamp"] for delivery in receiver.got}) == 5
    assert sender.gave_up == 1


def test_a_webhook_pauses_itself_and_stays_silent_until_it_is_enabled_again():
    tenant, receiver = Tenant(3), Receiver(*[500] * 3)
    tenant.notify(receiver, disable_after=3, retries=())
    deal = tenant.ids()[0]
    for _ in range(5):
        tenant.touch(deal)
    assert len(receiver.got) == 3
    (hook,) = tenant.ask("GET", "/api/v1/integration/webhooks").json()["data"]
    assert (hook["consecutive_failures"], hook["paused_at"] is None) == (3, False)
    path = f"/api/v1/integration/webhooks/{hook['id']}"
    assert tenant.ask("PATCH", path, json={"enabled": True}).json()["paused_at"] is None
    tenant.touch(deal)
    assert len(receiver.got) == 4


def test_webhooks_are_registered_without_ever_telling_a_secret():
    tenant = Tenant(3)
    path = "/api/v1/integration/webhooks"
    made = tenant.ask("POST", path, json={"name": "mine", "url": "https://x.example", "event_types": ["deal.*"]})
    assert made.status_code == 201
    assert tenant.webhook_secret not in made.text
    one = f"{path}/{made.json()['id']}"
    assert tenant.ask("GET", one).json()["vault_path"].startswith("webhooks/")
    assert tenant.ask("DELETE", one).status_code == 204
    assert tenant.ask("GET", one).status_code == 404


def data(tenant: Tenant, path: str, **query: Any) -> list[dict[str, Any]]:
    answer = tenant.ask("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def test_events_are_kept_for_ninety_days_and_the_audit_sequence_has_no_holes():
    tenant = Tenant(3, audit_scope=True)
    deal = tenant.ids()[0]
    tenant.touch(deal)
    tenant.clock.advance(timedelta(days=91))
    assert data(tenant, "/api/v1/events") == []
    tenant.set_stage(deal, "lead")
    tenant.delete(deal)
    assert len(data(tenant, "/api/v1/events")) == 2
    audited = data(tenant, "/api/v1/audit-events")
    assert [entry["sequence_id"] for entry in audited] == [1, 2, 3]
    assert audited[-1]["action"] == "deals.delete"
    assert tenant.ask("GET", "/api/v1/audit-events/2").json() == audited[1]
    assert tenant.ask("GET", "/api/v1/audit-events/4").status_code == 404


def test_the_event_history_is_asked_for_by_time_type_and_number():
    tenant = Tenant(3)
    deal = tenant.ids()[0]
    tenant.touch(deal)
    tenant.clock.advance(60)
    since = tenant.clock.text()
    tenant.set_stage(deal, "lead")
    tenant.delete(deal)
    assert [event["type"] for event in data(tenant, "/api/v1/events", since=since)][-1] == "deal.deleted"
    assert len(data(tenant, "/api/v1/events", types="deal.updated,deal.deleted")) == 2
    assert len(data(tenant, "/api/v1/events", limit=1)) == 1
    assert data(tenant, "/api/v1/events", resourceType="person") == []


def test_a_silent_gap_of_deliveries_shows_in_the_history_and_as_a_step_of_the_audit_sequence():
    tenant, receiver = Tenant(3, audit_scope=True), Receiver()
    tenant.notify(receiver, loss=1.0)
    tenant.touch(tenant.ids()[0])
    tenant.touch(tenant.ids()[1])
    assert not receiver.got
    assert [event["resourceId"] for event in data(tenant, "/api/v1/events")] == tenant.ids()[:2]
    assert len(data(tenant, "/api/v1/audit-events", after_sequence=0)) == 2
    assert [entry["sequence_id"] for entry in data(tenant, "/api/v1/audit-events", after_sequence=1)] == [2]


def test_audit_events_take_an_admin_scope():
    assert Tenant(3).ask("GET", "/api/v1/audit-events").status_code == 403


def test_a_cursor_lives_for_an_hour():
    tenant = Tenant(30)
    cursor = listed(tenant, limit=10)["next_cursor"]
    tenant.clock.advance(3600)
    assert tenant.ask("GET", DEALS, params={"limit": 10, "cursor": cursor}).status_code == 200
    tenant.clock.advance(1)
    assert tenant.ask("GET", DEALS, params={"limit": 10, "cursor": cursor}).status_code == 400


def test_an_extra_property_is_taken_where_writes_are_not_strict():
    body = {"name": "x", "stage": "lead", "unheard_of": 1}
    assert Tenant(3).ask("POST", DEALS, json=body).status_code == 422
    assert Tenant(3, strict_writes=False).ask("POST", DEALS, json=body).status_code == 201


def test_deals_may_be_in_foreign_currencies():
    found = {deal["currency"] for deal in Tenant(60, foreign_currency=1.0).truth()}
    assert found
    assert "USD" not in found


def test_a_silent_change_is_told_nobody():
    tenant, receiver = Tenant(3), Receiver()
    tenant.notify(receiver)
    before = tenant.get(tenant.ids()[0])
    tenant.silent(tenant.ids()[0], value=1)
    after = tenant.get(tenant.ids()[0])
    assert (after["updated_at"], after["version"]) == (before["updated_at"], before["version"])
    assert not receiver.got


@pytest.mark.parametrize("errors", ["detail", "list", "error", "message", "text", "html"])
def test_errors_come_in_every_shape(errors: str):
    answer = Tenant(3, errors=errors).ask("GET", f"{DEALS}/none")
    assert answer.status_code == 404
    assert answer.content


def test_a_page_costs_its_own_rows_only():
    """A page is put together from the rows' own bytes: no other row is looked at."""
    tenant = Tenant(300)
    looked_at: list[str] = []
    served = tenant.deals.served
    tenant.deals.served = lambda deal: (looked_at.append(deal), served(deal))[1]  # type: ignore[method-assign]
    listed(tenant, limit=10)
    looked_at.clear()
    listed(tenant, limit=10)
    assert len(looked_at) <= 12
