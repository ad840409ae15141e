"""After any history of edits the ledger equals what the tenant says, on both databases."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest

from connectors.faults import Fault
from connectors.simulated_wire import cut_json, html, lost_answer, refused, reset, truncated
from connectors.source import Source
from pipeline.fetch import fetch
from tests.conformance import oracles
from tests.conformance.world import NAME, World, Worlds, every_source

HISTORIES = int(os.environ.get("DEALSYNC_HISTORIES", "4"))
MISHAPS = (cut_json, html, lost_answer, reset, truncated, lambda: refused(503), lambda: refused(401))


class History:
    """People work in the CRM and we read it, in an order drawn from a seed."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.crm = world, world.crm
        self.random = Random(seed)
        self.trash: list[str] = []
        self.spoiled: set[str] = set()

    def live(self, steps: int) -> None:
        for _ in range(steps):
            self.random.choice((self.work, self.work, self.work, self.read))()

    def work(self) -> None:
        random, crm = self.random, self.crm
        ids = crm.ids()
        one = random.choice(ids)
        crm.clock.advance(random.choice((0, 1, 900, 90_000)))
        amount = random.choice((None, Decimal(0), Decimal("12.34"), Decimal(-5), Decimal(10) ** 12))
        match random.randrange(9):
            case 0 | 1:
                crm.set_amount(one, amount)
            case 2 | 3:
                crm.set_stage(one, random.choice(crm.stages))
            case 4:
                crm.new_deal(amount=amount, stage=random.choice(crm.stages))
            case 5:
                crm.touch(one)
            case 6 if len(ids) > 3:
                crm.delete(one)
                self.trash.append(one)
            case 7 if self.trash:
                with suppress(KeyError, NotImplementedError):  # too late, or the vendor knows no trash
                    crm.restore(self.trash.pop())
            case _:
                if len(ids) > 3:
                    crm.spoil(one)

    def read(self) -> None:
        random, world = self.random, self.world
        if random.random() < 0.3:
            world.crm.faults.at(len(world.crm.log) + random.randrange(1, 6), random.choice(MISHAPS)())
        one = random.choice(world.crm.ids())
        verb = random.choice((world.pull, world.pull, world.sweep, world.publish, lambda: fetch(world.app, NAME, one)))
        with suppress(Fault):
            verb()
        world.crm.faults.clear()

    def quiet(self) -> None:
        self.crm.clock.advance(timedelta(days=1))
        self.world.settle()
        self.world.sweep()
        self.world.publish()


def lived(one: World, seed: int, steps: int) -> None:
    history = History(one, seed)
    history.live(steps)
    history.quiet()
    oracles.agrees(one)
    before = oracles.rows(one)
    one.pull()
    one.sweep()
    one.publish()
    assert oracles.rows(one) == before, "running it again wrote something"


@every_source
@pytest.mark.parametrize("seed", range(HISTORIES))
def test_after_any_history_the_ledger_equals_the_tenant(world: Worlds, source: Source, seed: int):
    lived(world(source, deals=8, seed=seed), seed, 60)


@every_source
def test_on_postgresql_as_well(world: Worlds, source: Source, postgres_url: str):
    lived(world(source, deals=8, url=postgres_url), 11, 40)
