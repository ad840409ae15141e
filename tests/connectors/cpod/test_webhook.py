"""What a delivery of cPod's says, and what it does not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.cpod.webhook import hear
from connectors.hints import Hint

EXAMPLE: dict[str, Any] = {
    "id": "0d0c", "type": "deal.updated", "resourceId": "deal_01J", "resourceType": "deal",
    "organizationId": "b2c3", "workspaceId": None, "timestamp": "2026-03-28T16:05:00Z",
    "payload": {"id": "deal_01J", "stage": "closed_won", "version": 7},
}  # fmt: skip


def body(**changed: Any) -> bytes:
    return json.dumps({**EXAMPLE, **changed}).encode()


def test_the_contracts_example_hints_at_the_deal_and_the_version_it_has():
    heard = hear(body())
    assert heard.hints == (Hint("deal_01J", "000000000007"),)
    assert (heard.event, heard.known, heard.pull, heard.workspace) == ("deal.updated", True, False, "b2c3")
    assert heard.said_at == "2026-03-28T16:05:00.000Z"


def test_a_delete_is_announced_with_its_version():
    assert hear(body(type="deal.deleted")).hints == (Hint("deal_01J", "000000000007", deleted=True),)


@pytest.mark.parametrize("version", ["7", None, 7.5, -1, [7], True])
def test_a_version_that_is_no_count_is_none(version: Any):
    assert hear(body(payload={"id": "deal_01J", "version": version})).hints == (Hint("deal_01J"),)


def test_the_deal_may_be_named_in_the_payload_only_or_in_snake_case():
    assert hear(body(resourceId=None, payload={"id": "x"})).hints == (Hint("x"),)
    assert hear(b'{"type":"deal.created","resource_id":"y","organization_id":"o"}').hints == (Hint("y"),)


def test_a_delivery_that_names_no_deal_asks_for_a_pull():
    heard = hear(b'{"type":"deal.updated"}')
    assert (heard.hints, heard.pull) == ((), True)


def test_events_of_other_resources_are_acknowledged_and_not_looked_at():
    heard = hear(body(type="rfp.created"))
    assert (heard.known, heard.hints, heard.event) == (False, (), "rfp.created")


def test_a_new_word_for_what_happened_to_a_deal_is_looked_at():
    assert hear(body(type="deal.merged")).hints == (Hint("deal_01J", "000000000007"),)


@pytest.mark.parametrize("odd", [b"", b"[]", b"not json", b"[" * 100_000, b'{"resourceId":"x"}', b'{"type":7}'])
def test_what_is_no_event_record_is_an_error(odd: bytes):
    with pytest.raises(ValueError, match="no event record"):
        hear(odd)
