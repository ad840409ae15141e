"""What a relay's delivery says, and what is none; and that the simulated relay keeps its contract."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import timedelta

import pytest

from connectors.hints import Hint
from connectors.monaco.webhook import WEBHOOKS, hear
from connectors.simulated_sender import Outgoing
from tests.connectors.monaco.reading import Organization


def body(**changed: object) -> bytes:
    said = {"id": "evt_01", "type": "opportunity.updated", "occurred_at": "2026-04-21T12:00:00Z",
            "data": {"id": "opp_abc123", "object": "opportunity"}}  # fmt: skip
    return json.dumps(said | changed).encode()


def test_a_delivery_is_a_hint_at_its_opportunity_and_at_no_version():
    heard = hear(body())
    assert (heard.event, heard.hints, heard.known) == ("opportunity.updated", (Hint("opp_abc123"),), True)
    assert heard.said_at == "2026-04-21T12:00:00.000Z"
    assert hear(body(type="opportunity.deleted")).hints == (Hint("opp_abc123", deleted=True),)


@pytest.mark.parametrize("event", ["opportunity.created", "opportunity.stage_changed"])
def test_whatever_happened_to_an_opportunity_is_worth_a_look(event: str):
    assert hear(body(type=event)).hints == (Hint("opp_abc123"),)


def test_events_about_other_things_are_acknowledged():
    assert not hear(body(type="account.updated", data={"id": "acc_1", "object": "account"})).known
    assert len(hear(body(type="x" * 500)).event) == 64


@pytest.mark.parametrize(
    "said",
    [b"", b"null", b"[]", b"{}", b"{" * 5000, b'{"type":1}', body(data=None), body(data={"object": "opportunity"}),
     body(data={"id": "", "object": "opportunity"}), body(data={"id": 7, "object": "opportunity"})],
)  # fmt: skip
def test_a_body_that_is_not_as_the_contract_says_is_a_value_error(said: bytes):
    with pytest.raises(ValueError, match="delivery"):
        hear(said)


def test_the_simulated_relay_signs_the_time_and_the_body():
    made = Organization(5)
    sent: list[Outgoing] = []
    statuses = iter([500, 200, 200])

    def post(one: Outgoing) -> int:
        sent.append(one)
        return next(statuses)

    made.notify(post)
    made.touch(deal := made.ids()[0])
    made.clock.advance(timedelta(minutes=2))
    made.delete(deal)
    first, again, deleted = sorted(sent, key=lambda one: one.headers["X-Monaco-Delivery-Id"])
    for one in sent:
        signed = one.headers[WEBHOOKS.timestamp_header].encode() + b"." + one.body
        digest = hmac.new(made.webhook_secret.encode(), signed, hashlib.sha256).hexdigest()
        assert one.headers[WEBHOOKS.signature_header] == f"sha256={digest}"
    assert first.headers[WEBHOOKS.delivery_header] == again.headers[WEBHOOKS.delivery_header]
    assert first.headers[WEBHOOKS.timestamp_header] != again.headers[WEBHOOKS.timestamp_header]
    assert hear(deleted.body).hints == (Hint(deal, deleted=True),)


def test_what_the_machine_and_silent_writes_do_is_not_relayed():
    made = Organization(5)
    sent: list[Outgoing] = []
    made.notify(lambda one: sent.append(one) or 200)  # type: ignore[func-returns-value]
    made.rewrite(made.ids()[0])
    made.silent(made.ids()[1], account_id="acc_2")
    made.rename_tag("Partner", "Ally")
    assert sent == []
