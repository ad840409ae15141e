"""What a source's tenant sends is heard as what it means."""

from __future__ import annotations

from decimal import Decimal

import pytest

from connectors.hints import Heard
from connectors.simulated_sender import Outgoing
from connectors.source import Found, Source
from tests.conformance.world import World, Worlds, every_source


class Inbox:
    """Takes every delivery of a tenant."""

    def __init__(self, world: World, **settings: object) -> None:
        self.world = world
        self.got: list[Outgoing] = []
        self.sender = world.crm.notify(self, **settings)

    def __call__(self, delivery: Outgoing) -> int:
        self.got.append(delivery)
        return 202

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
            assert heard.walk or deal in {hint.source_id for hint in heard.hints}
        inbox.got.clear()
        write()
    last = inbox.heard()
    assert any(hint.deleted for heard in last for hint in heard.hints) or any(heard.walk for heard in last)


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
