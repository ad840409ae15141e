"""What a source's tenant sends is believed when it is genuine, heard as what it means, and ends in the ledger."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from connectors.hints import Heard
from connectors.signatures import Unproven
from connectors.simulated_sender import Outgoing
from connectors.source import Found, Source
from pipeline.heed import heed
from pipeline.receive import doors
from pipeline.store import inbox
from tests.conformance import oracles
from tests.conformance.world import NAME, NEXT_SECRET, World, Worlds, every_source


class Inbox:
    """Takes every delivery of a tenant; what it is told to receive, it receives as the server does."""

    def __init__(self, world: World, **settings: object) -> None:
        self.world = world
        self.got: list[Outgoing] = []
        self.door = doors(world.app)[NAME]
        self.sender = world.crm.notify(self, **settings)

    def __call__(self, delivery: Outgoing) -> int:
        self.got.append(delivery)
        return 202

    def receive(self, delivery: Outgoing) -> bool:
        """Whether the delivery was not there yet. Raises `Unproven`."""
        headers = [(name.lower().encode(), value.encode()) for name, value in delivery.headers.items()]
        admitted = self.door.admit(headers, delivery.body, self.world.crm.clock.now.timestamp())
        with self.world.app.store.write() as tx:
            return bool(inbox.put(tx, [admitted]))

    def refuses(self, delivery: Outgoing) -> str:
        with pytest.raises(Unproven) as refused:
            self.receive(delivery)
        return refused.value.reason

    def heard(self) -> list[Heard]:
        return [self.world.source.webhooks.hear(delivery.body) for delivery in self.got]


@every_source
def test_each_kind_of_write_is_a_hint_at_its_deal(world: Worlds, source: Source):
    one = world(source)
    inbox = Inbox(one)
    deal = one.crm.new_deal(amount=Decimal(5), stage=one.crm.stages[0])
    for write in (
        lambda: one.crm.set_amount(deal, Decimal(6)),
        lambda: one.crm.set_stage(deal, one.crm.stages[-2]),
        lambda: one.crm.delete(deal),
    ):
        assert inbox.got, "nothing was sent"
        for heard in inbox.heard():
            assert heard.known
            assert heard.pull or deal in {hint.source_id for hint in heard.hints}
        inbox.got.clear()
        write()
    last = inbox.heard()
    assert any(hint.deleted for heard in last for hint in heard.hints) or any(heard.pull for heard in last)


@every_source
def test_every_delivery_tells_of_its_workspace_and_its_time_as_the_source_declares(world: Worlds, source: Source):
    one = world(source)
    box = Inbox(one)
    deal = one.crm.new_deal(amount=Decimal(5), stage=one.crm.stages[0])
    one.crm.set_stage(deal, one.crm.stages[-2])
    one.crm.delete(deal)
    told = {(heard.workspace is not None, heard.said_at is not None) for heard in box.heard()}
    assert told == {(source.webhooks.tells_workspace, source.webhooks.tells_time)}


@every_source
def test_the_version_in_a_hint_is_that_of_the_record(world: Worlds, source: Source):
    one = world(source)
    inbox, reader = Inbox(one), one.open_reader()
    for deal in one.crm.ids()[:3]:
        one.crm.set_amount(deal, Decimal(6))
        found = reader.one(deal)
        assert isinstance(found, Found)
        hints = [hint for heard in inbox.heard() for hint in heard.hints if hint.source_id == deal]
        assert hints
        assert {hint.version for hint in hints} <= {None, found.record.version}
    reader.close()


@every_source
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"nonsense", b'{"id":[]}', b"[" * 100_000, b"\xff\xfe"])
def test_nonsense_is_told_apart_and_never_anything_worse(source: Source, body: bytes):
    try:
        heard = source.webhooks.hear(body)
    except ValueError:
        return
    assert heard.hints == ()


# -- proof


@every_source
def test_a_forged_delivery_is_refused(world: Worlds, source: Source):
    one = world(source)
    box = Inbox(one)
    one.crm.set_amount(one.crm.ids()[0], Decimal(6))
    (genuine, *_) = box.got
    rules = source.webhooks
    carrier = rules.header if rules.scheme == "header" else rules.signature_header
    bare = {name: value for name, value in genuine.headers.items() if name.lower() != carrier.lower()}
    assert len(bare) < len(genuine.headers)
    assert box.refuses(replace(genuine, headers=bare)) == "unsigned"
    assert box.refuses(replace(genuine, headers={**bare, carrier: "0" * 64})) == "wrong"
    if rules.scheme != "header":  # a secret header says nothing of the body it came with
        assert box.refuses(replace(genuine, body=genuine.body + b" ")) == "wrong"
    assert box.receive(genuine)


@every_source
def test_while_a_secret_is_rotated_both_verify_and_no_third(world: Worlds, source: Source):
    one = world(source)
    box = Inbox(one)
    for secret in (one.crm.webhook_secret, NEXT_SECRET, "somebody else's"):
        one.crm.webhook_secret = secret
        box.got.clear()
        one.crm.clock.advance(1)
        one.crm.set_amount(one.crm.ids()[0], Decimal(len(secret)))
        if secret.startswith("somebody"):
            assert {box.refuses(delivery) for delivery in box.got} == {"wrong"}
        else:
            assert all(box.receive(delivery) for delivery in box.got)
        assert box.got


@every_source
def test_a_delivery_told_again_is_no_news_and_one_replayed_much_later_is_refused(world: Worlds, source: Source):
    one = world(source)
    one.pull()
    box = Inbox(one)
    one.crm.set_amount(one.crm.ids()[0], Decimal(6))
    (delivery, *_) = box.got
    assert box.receive(delivery)
    assert not box.receive(delivery)
    heed(one.app, NAME)
    events = oracles.rows(one)["events"]
    past = source.webhooks.past
    one.crm.clock.advance((past or timedelta(days=2)) + timedelta(minutes=1))
    if past is not None:
        assert box.refuses(delivery) == "too_old"
    else:
        assert not box.receive(delivery)
        heed(one.app, NAME)
    assert oracles.rows(one)["events"] == events


@every_source
def test_by_its_deliveries_alone_the_ledger_follows_the_tenant(world: Worlds, source: Source):
    """Doubled, overtaking one another, some of them lost: what is lost the next pull finds."""
    one = world(source)
    one.pull()
    box = Inbox(one, duplicate=0.4, shuffle=True)
    made = one.crm.new_deal(amount=Decimal(5), stage=one.crm.stages[0])
    for deal in one.crm.ids()[:4]:
        one.crm.set_amount(deal, Decimal(6))
        one.crm.set_stage(deal, one.crm.stages[-1])
    one.crm.set_amount(made, Decimal(7))
    one.crm.touch(made)
    for delivery in reversed(box.got):
        box.receive(delivery)
    lists = len([call for call in one.crm.log if call.status == 200])
    heed(one.app, NAME)
    one.publish()
    oracles.agrees(one)
    assert len([call for call in one.crm.log if call.status == 200]) > lists
    lost = one.crm.ids()[6]
    one.crm.set_amount(lost, Decimal(9))
    one.pull()
    one.publish()
    oracles.agrees(one)


@every_source
def test_a_deleted_deal_that_is_announced_is_buried_at_once(world: Worlds, source: Source):
    """Its delivery says so and a single read proves it: no sweep has to miss it."""
    one = world(source)
    one.pull()
    box = Inbox(one)
    gone = one.crm.ids()[2]
    one.crm.delete(gone)
    if not any(hint.deleted for heard in box.heard() for hint in heard.hints):
        pytest.skip(f"the deliveries of {source.name} announce no end of a deal")
    for delivery in box.got:
        box.receive(delivery)
    heed(one.app, NAME)
    one.publish()
    assert oracles.buried(one) == {gone}
    oracles.agrees(one)
