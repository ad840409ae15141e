"""What LeadLex's deliveries say, in each shape they come in, and which of them are believed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from connectors.hints import Hint
from connectors.leadlex.simulated_hooks import signed, told
from connectors.leadlex.webhook import MANY, WEBHOOKS, hear
from connectors.signatures import Unproven, Verifier
from connectors.simulated_sender import Outgoing
from tests.connectors.leadlex.reading import Tenant

AT = "2026-05-04T09:12:31Z"
EDITED = "2026-05-04T09:12:30Z"


def body(event: str, data: Any, **others: Any) -> bytes:
    return json.dumps({"event": event, "timestamp": AT, "workspace_id": "w1", "data": data, **others}).encode()


@pytest.mark.parametrize(
    "data",
    [
        {"deal": {"id": "d1", "name": "x", "updated_date": EDITED}},
        {"id": "d1", "name": "x", "updated_date": EDITED},
        {"deal": {"id": "d1", "updated_date": "2026-05-04T09:12:30.000+00:00"}},
    ],
)
def test_an_update_names_the_deal_and_the_version_it_has(data: Any):
    heard = hear(body("deal.updated", data))
    assert heard.hints == (Hint("d1", "2026-05-04T09:12:30.000Z"),)
    assert (heard.event, heard.known, heard.pull, heard.workspace) == ("deal.updated", True, False, "w1")
    assert heard.said_at == "2026-05-04T09:12:31.000Z"


@pytest.mark.parametrize("data", [{"deal": {"id": "d1", "updated_date": None}}, {"deal_id": "d1"}, {"deal": "d1"}])
def test_a_deal_never_edited_or_only_named_has_no_version_to_wait_for(data: Any):
    assert hear(body("deal.created", data)).hints == (Hint("d1"),)


@pytest.mark.parametrize("data", [{"deal": {"id": "d1"}}, {"id": "d1"}, {"deal_id": "d1"}])
def test_an_end_is_announced_in_three_shapes(data: Any):
    assert hear(body("deal.deleted", data)).hints == (Hint("d1", None, deleted=True),)


@pytest.mark.parametrize("key", ["deals", "deal_ids", "items"])
@pytest.mark.parametrize("wrap", [lambda one: {"id": one, "name": "x"}, lambda one: one, lambda one: {"deal_id": one}])
def test_a_bulk_event_names_its_deals_as_objects_or_as_ids(key: str, wrap: Any):
    heard = hear(body("deal.bulk_updated", {key: [wrap("d1"), wrap("d2"), wrap("d1")], "count": 2}))
    assert heard.hints == (Hint("d1"), Hint("d2"))
    assert not heard.pull


@pytest.mark.parametrize(
    "data",
    [
        {"deal_ids": [f"d{number}" for number in range(MANY + 1)], "count": MANY + 1},
        {"deals": [{"id": "d1"}], "count": 2},
        {"deals": [], "count": 0},
        {"count": 5},
        None,
        "nonsense",
    ],
)
def test_a_bulk_event_with_too_many_deals_or_too_few_asks_for_a_pull(data: Any):
    heard = hear(body("deal.bulk_updated", data))
    assert (heard.pull, heard.hints) == (True, ())


def test_twenty_deals_are_looked_at_one_by_one():
    assert len(hear(body("deal.bulk_created", {"deal_ids": [f"d{n}" for n in range(MANY)]})).hints) == MANY


@pytest.mark.parametrize("data", [{}, None, {"deal": {}}, {"deal": {"id": ""}}, {"deal": {"id": 7}}, {"id": "d" * 201}])
def test_an_event_that_names_no_deal_asks_for_a_pull(data: Any):
    heard = hear(body("deal.updated", data))
    assert (heard.pull, heard.hints, heard.known) == (True, (), True)


@pytest.mark.parametrize("event", ["contact.merged", "campaign.paused", "deal.exploded", "x" * 300])
def test_events_that_are_none_of_ours_are_acknowledged(event: str):
    heard = hear(body(event, {"id": "d1"}))
    assert (heard.known, heard.hints, heard.pull, heard.event) == (False, (), False, event[:64])


def test_the_end_of_an_import_asks_for_a_pull():
    assert hear(body("import.completed", {"rows": 4})).pull


@pytest.mark.parametrize(
    "bad", [b"", b"[]", b"not json", b"[" * 100_000, b'{"data":{}}', b'{"event":7}', b'{"event":""}']
)
def test_what_is_no_event_is_an_error(bad: bytes):
    with pytest.raises(ValueError, match="delivery"):
        hear(bad)


# -- from the simulated sender to the verifier


class Receiver:
    """Verifies what comes, as the product does, and remembers what it was told."""

    def __init__(self, tenant: Tenant, *secrets: str) -> None:
        self.tenant = tenant
        workspace = tenant.workspace_id
        self.verifier = Verifier(WEBHOOKS, secrets or (tenant.webhook_secret,), "firm", workspace)
        self.hints: list[Hint] = []
        self.names: list[bytes] = []
        self.status = 202

    def __call__(self, attempt: Outgoing) -> int:
        headers = [(name.lower().encode(), value.encode()) for name, value in attempt.headers.items()]
        at = self.tenant.clock.now.timestamp()
        if self.status != 202:
            return self.status
        proof = self.verifier.verify(headers, attempt.body, at)
        heard = hear(attempt.body)
        self.verifier.admit(heard, at)
        self.names.append(proof.name)
        self.hints += heard.hints
        return 202


@pytest.mark.parametrize("payload", ["object", "bare", "partial"])
@pytest.mark.parametrize("deleted_as", ["deal", "id", "deal_id"])
def test_each_shape_that_is_sent_is_believed_and_names_its_deal(payload: str, deleted_as: str):
    tenant = Tenant(5, payload=payload, deleted_as=deleted_as)
    receiver = Receiver(tenant)
    tenant.notify(receiver)
    deal = tenant.create()
    tenant.edit(deal, estimated_value=1)
    tenant.delete(deal)
    created, updated, deleted = receiver.hints
    assert created == Hint(deal)
    assert (updated.source_id, updated.version) == (deal, "2026-03-02T08:00:00.000Z")
    assert deleted == Hint(deal, deleted=True)


@pytest.mark.parametrize("bulk_as", ["deals", "ids", "deal_ids", "items"])
def test_each_shape_of_a_bulk_event_names_its_deals(bulk_as: str):
    tenant = Tenant(5, bulk_as=bulk_as)
    receiver = Receiver(tenant)
    tenant.notify(receiver)
    tenant.edit_many(tenant.ids()[:3], priority="low")
    assert receiver.hints == [Hint(one) for one in tenant.ids()[:3]]


def test_a_delivery_sent_again_under_another_id_is_the_same_delivery():
    tenant = Tenant(5)
    receiver = Receiver(tenant)
    tenant.notify(receiver, duplicate=1.0)
    tenant.touch(tenant.ids()[0])
    first, second = tenant.hooks[0].sent
    assert first.headers["X-LeadLex-Delivery-ID"] != second.headers["X-LeadLex-Delivery-ID"]
    assert len(set(receiver.names)) == 1


def test_a_retry_seven_hours_later_is_still_believed():
    tenant = Tenant(5)
    receiver = Receiver(tenant)
    receiver.status = 503
    sender = tenant.notify(receiver)
    tenant.touch(tenant.ids()[0])
    for wait in (5, 30, 300, 3600):
        tenant.clock.advance(wait)
        tenant.settle()
    receiver.status = 202
    tenant.clock.advance(timedelta(hours=6))
    tenant.settle()
    assert sender.statuses == [503] * 5 + [202]
    assert [hint.source_id for hint in receiver.hints] == [tenant.ids()[0]]


def forged(tenant: Tenant, **changed: Any) -> Outgoing:
    deal = {"deal": {"id": tenant.ids()[0]}}
    at = changed.get("at", tenant.clock.text())
    workspace = changed.get("workspace", tenant.workspace_id)
    text = told("deal.updated", deal, timestamp=at, workspace_id=workspace)
    return signed(text, changed.get("secret", tenant.webhook_secret), timestamp=tenant.clock.text(), delivery="x")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"secret": "another"}, "wrong"),
        ({"workspace": "another"}, "foreign"),
        ({"at": "2026-03-01T07:59:00Z"}, "too_old"),
        ({"at": "2026-03-02T08:11:00Z"}, "too_early"),
    ],
)
def test_forgeries_and_replays_under_a_fresh_header_time_are_not_believed(changed: dict[str, str], reason: str):
    tenant = Tenant(5)
    with pytest.raises(Unproven) as refusal:
        Receiver(tenant)(forged(tenant, **changed))
    assert refusal.value.reason == reason


def test_a_changed_body_is_not_believed():
    tenant = Tenant(5)
    true = forged(tenant)
    with pytest.raises(Unproven):
        Receiver(tenant)(Outgoing(true.headers, true.body.replace(b"updated", b"deleted")))


def test_during_a_rotation_both_secrets_are_believed():
    tenant = Tenant(5)
    receiver = Receiver(tenant, "old", "new")
    for secret in ("old", "new"):
        assert receiver(forged(tenant, secret=secret)) == 202
