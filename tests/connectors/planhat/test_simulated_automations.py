"""Automations burst, lose, double and switch themselves off, as contract section 14 says."""

from __future__ import annotations

import json
from datetime import timedelta

import httpx
import pytest

from connectors.simulated_sender import Outgoing


class Receiver:
    """Takes deliveries and answers as it is told."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.got: list[Outgoing] = []

    def __call__(self, delivery: Outgoing) -> int:
        self.got.append(delivery)
        return self.status

    @property
    def bodies(self) -> list[dict]:
        return [json.loads(delivery.body) for delivery in self.got]


def bulk(made, count: int) -> list[str]:
    ids = made.ids()[:count]
    made.ask("PUT", "/deals", json=[{"_id": one, "comment": "bulk"} for one in ids])
    return ids


@pytest.fixture
def made(tenant):
    return tenant()


@pytest.fixture
def receiver():
    return Receiver()


def test_each_write_rings_with_the_admins_template_and_headers(made, receiver):
    made.automate(receiver, headers=lambda: {"X-Planhat-Secret": "s3cret"})
    deal = made.create()
    stamp = made.get(deal)["updatedAt"]
    made.touch(deal)
    made.delete(deal)
    assert [(body["op"], body["id"]) for body in receiver.bodies] == [
        ("create", deal), ("update", deal), ("delete", deal),
    ]  # fmt: skip
    assert receiver.bodies[0] == {
        "v": 1, "tenant": "simulated", "model": "Deal", "op": "create", "id": deal, "updatedAt": stamp,
    }  # fmt: skip
    assert receiver.bodies[2]["updatedAt"] == "undefined"
    assert receiver.got[0].headers == {"X-Planhat-Secret": "s3cret"}


def test_an_automation_looks_at_the_writes_it_was_built_for(made, receiver):
    made.automate(receiver, ops=frozenset({"delete"}))
    made.touch(made.ids()[0])
    made.delete(made.ids()[0])
    assert [body["op"] for body in receiver.bodies] == ["delete"]


def test_silent_changes_and_cascades_ring_nothing(made, receiver):
    made.automate(receiver)
    deal = made.ids()[0]
    made.silent(deal, total=1)
    made.rename_stage("Negotiation", "Other")
    made.delete_company(made.get(deal)["companyId"])
    assert receiver.got == []


def test_a_bulk_upsert_is_a_burst(made, receiver):
    made.automate(receiver)
    ids = bulk(made, 8)
    assert [body["id"] for body in receiver.bodies] == ids


def test_a_burst_may_come_in_no_order(made, receiver):
    made.automate(receiver, shuffle=True)
    ids = bulk(made, 8)
    got = [body["id"] for body in receiver.bodies]
    assert got != ids
    assert sorted(got) == ids


def test_runs_are_lost_and_doubled_by_chance(made):
    losing, doubling = Receiver(), Receiver()
    automation = made.automate(losing, loss=0.5)
    made.automate(doubling, duplicate=0.5)
    for deal in made.ids():
        made.touch(deal)
    assert 2 < len(losing.got) < 18
    assert automation.lost == 20 - len(losing.got)
    assert 22 < len(doubling.got) < 38
    assert {body["id"] for body in doubling.bodies} == set(made.ids())


def test_a_failed_run_is_never_tried_again(made):
    receiver = Receiver(503)
    made.automate(receiver)
    made.touch(made.ids()[0])
    receiver.status = 200
    made.touch(made.ids()[1])
    assert [body["id"] for body in receiver.bodies] == made.ids()[:2]


def test_ten_failures_in_a_day_switch_it_off_until_a_person_notices(made):
    receiver = Receiver(500)
    automation = made.automate(receiver)
    bulk(made, 15)
    assert len(receiver.got) == 10
    assert not automation.enabled
    receiver.status = 200
    made.touch(made.ids()[0])
    made.clock.advance(timedelta(days=2))
    made.touch(made.ids()[0])
    assert len(receiver.got) == 10
    automation.enable()
    made.touch(made.ids()[0])
    assert len(receiver.got) == 11


def test_failures_of_yesterday_do_not_count(made):
    receiver = Receiver(500)
    automation = made.automate(receiver)
    bulk(made, 9)
    made.clock.advance(timedelta(hours=24))
    bulk(made, 9)
    assert automation.enabled
    assert len(receiver.got) == 18


def test_a_receiver_that_cannot_be_reached_is_a_failure_too(made):
    def unreachable(delivery: Outgoing) -> int:
        raise httpx.ConnectError("no route")

    automation = made.automate(unreachable, disable_after=2)
    bulk(made, 2)
    assert not automation.enabled


def test_the_receiver_may_read_the_record_at_once(made):
    seen = []

    def deliver(delivery: Outgoing) -> int:
        seen.append(made.read(f"/deals/{json.loads(delivery.body)['id']}")["total"])
        return 202

    made.automate(deliver)
    made.edit(made.ids()[0], total=42)
    assert seen == [42]
