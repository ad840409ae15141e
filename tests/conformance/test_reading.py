"""Nothing is missed, whatever the rows do while they are read, and nothing is told twice."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from sqlalchemy import text

from connectors.faults import Unavailable
from connectors.simulation import START, SimClock
from connectors.source import Source
from pipeline.pull import pull
from pipeline.summary import Summary
from tests.conformance import oracles
from tests.conformance.world import FAR, NAME, World, Worlds, every_source


class Died(Exception):
    """The process is dead after a page it has committed."""


def after(pages: int):
    """A process that dies when so many pages have been committed."""
    left = pages

    def progress(_: Summary) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Died

    return progress


def move_rows(world: World, random: Random) -> None:
    """From now on rows come, go and change places before each page of the list."""
    crm = world.crm

    def work(_: object) -> None:
        for _ in range(random.randrange(3)):
            ids = crm.ids()
            match random.randrange(4):
                case 0 if len(ids) > 12:
                    crm.delete(random.choice(ids))
                case 1:
                    crm.new_deal(amount=Decimal(random.randrange(100, 9_000)), stage=random.choice(crm.stages))
                case 2:
                    crm.touch(random.choice(ids))
                case _:
                    crm.set_amount(random.choice(ids), Decimal(random.randrange(100, 9_000)))

    crm.before_list = work


@every_source
def test_a_first_pull_ends_with_the_ledger_that_the_source_calls_for(world: Worlds, source: Source):
    one = world(source)
    summary = one.pull()
    one.publish()
    assert summary.events == len(one.crm.ids()) - len(oracles.parked(one)) > 0
    oracles.agrees(one)


@every_source
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_that_move_between_pages_are_not_missed(world: Worlds, source: Source, seed: int):
    one = world(source, deals=40, seed=seed)
    there = set(one.crm.ids())
    for read in (one.pull, one.sweep):
        move_rows(one, Random(seed))
        read()
        oracles.has_seen(one, there & set(one.crm.ids()))
    one.settle()
    oracles.agrees(one)


@every_source
def test_what_changes_while_a_slow_pull_reads_is_found_by_it_or_by_the_next_one(world: Worlds, source: Source):
    """Each page takes longer than any overlap reads again; no sweep makes up for what a watermark has passed over.

    A vendor that may tell its time tells it here: simulated time lies in the past of the database's clock.
    """
    one = world(source, deals=30)
    if hasattr(switches := getattr(one.crm, "switches", None), "date_header"):
        switches.date_header = True
    one.pull()
    one.crm.clock.advance(FAR)
    for deal in one.crm.ids():
        one.crm.set_amount(deal, Decimal(100))
    deals = iter([*one.crm.ids(), *one.crm.ids()])
    amounts = iter(range(200, 300))

    def work(_: Summary) -> None:
        one.crm.clock.advance(timedelta(minutes=12))
        if (deal := next(deals, None)) is not None:
            one.crm.set_amount(deal, Decimal(next(amounts)))

    for _ in range(30):  # the clock may jump while the next page is on its way: it is then not answered in time
        with suppress(Unavailable):
            pull(one.app, NAME, progress=work)
            break
    one.crm.clock.advance(60)
    one.pull()
    one.publish()
    oracles.agrees(one)


@every_source
def test_rows_that_share_a_time_stamp_across_a_page_boundary_are_not_missed(world: Worlds, source: Source):
    one = world(source, clock=SimClock(tick=timedelta()))
    one.pull()
    one.crm.clock.advance(FAR)
    for number, deal in enumerate(one.crm.ids()):
        one.crm.set_amount(deal, Decimal(100 + number))
    one.pull()
    changed = [one.crm.new_deal(amount=Decimal(7), stage=one.crm.stages[0]) for _ in range(3)]
    one.crm.set_amount(one.crm.ids()[0], Decimal(55))  # at the very moment that the watermark now shows
    one.pull()
    one.publish()
    oracles.has_seen(one, set(changed))
    oracles.agrees(one)


@every_source
def test_what_becomes_visible_late_is_not_missed(world: Worlds, source: Source):
    """A write that commits seconds after its own time stamp, behind what a pull has read meanwhile."""
    one = world(source)
    switches = getattr(one.crm, "switches", None)
    if not hasattr(switches, "late_commit_s"):
        pytest.skip(f"the simulator of {source.name} has no late commits")
    one.pull()
    one.crm.clock.advance(FAR)
    late, *others = one.crm.ids()
    switches.late_commit_s = 30.0
    one.crm.set_amount(late, Decimal(41))
    switches.late_commit_s = 0.0
    for other in others[:12]:  # more than fit into the page that a pull looks at anyway
        one.crm.clock.advance(1)
        one.crm.set_amount(other, Decimal(42))
    one.pull()
    one.crm.clock.advance(60)
    one.pull()
    one.publish()
    oracles.agrees(one)


@every_source
def test_a_pull_resumes_after_a_death_between_any_two_pages(world: Worlds, source: Source):
    """Life number n dies after n pages, until one outlives its pull; people go on working in between.

    The second time it is changes that are read, spread over more time than any overlap reads again.
    """
    one = world(source, deals=30)
    _die_and_live(one, one.pull)
    one.pull()
    one.publish()
    oracles.agrees(one)
    for deal in one.crm.ids():
        one.crm.clock.advance(FAR)
        one.crm.set_amount(deal, Decimal(4321))
    _die_and_live(one, one.pull)
    one.pull()
    one.publish()
    oracles.agrees(one)


@every_source
def test_a_sweep_resumes_after_a_death_between_any_two_pages(world: Worlds, source: Source):
    one = world(source, deals=30)
    one.pull()
    _die_and_live(one, one.sweep)
    one.settle()
    oracles.agrees(one)


def _die_and_live(one: World, verb) -> None:
    random = Random(3)
    for life in range(1, 60):
        try:
            verb(after(life))
        except Died:
            ids = one.crm.ids()
            one.crm.set_amount(random.choice(ids), Decimal(random.randrange(1, 10_000)))
            one.crm.new_deal(amount=Decimal(life), stage=one.crm.stages[0])
        else:
            assert life > 3, "the read had too few pages to die between"
            return
    raise AssertionError("no life came to its end")


@every_source
def test_pages_seen_again_add_nothing(world: Worlds, source: Source):
    one = world(source)
    one.pull()
    one.publish()
    before = oracles.rows(one)
    with one.app.store.engine.begin() as tx:
        tx.execute(text("DELETE FROM checkpoints"))
    again = one.pull()
    one.sweep()
    one.publish()
    assert (again.events, oracles.rows(one)) == (0, before)
    assert again.read >= len(one.crm.ids())


@every_source
def test_a_write_that_changes_nothing_makes_no_event(world: Worlds, source: Source):
    one = world(source)
    one.pull()
    one.crm.clock.advance(FAR)
    for deal in one.crm.ids():
        one.crm.touch(deal)
    assert one.pull().events == 0
    one.publish()
    oracles.agrees(one)


@every_source
def test_there_and_back_again_is_three_events(world: Worlds, source: Source):
    one = world(source)
    deal = one.crm.new_deal(amount=Decimal(100), stage=one.crm.stages[0])
    for amount in (Decimal(100), Decimal(200), Decimal(100)):
        one.crm.clock.advance(FAR)
        one.crm.set_amount(deal, amount)
        one.pull()
    assert oracles.told(one)[deal] == ["upsert", "amount_change", "amount_change"]
    assert one.crm.clock.now > START


@every_source
def test_each_stage_word_of_the_tenant_is_known_to_the_shipped_table(world: Worlds, source: Source):
    one = world(source)
    deals = [one.crm.new_deal(amount=Decimal(5), stage=stage) for stage in one.crm.stages]
    one.pull()
    one.publish()
    stages = [oracles.ledger(one)[deal]["stage"] for deal in deals]
    assert stages[-2:] == ["closed_won", "closed_lost"]
    assert all(stages)
    assert not {"closed_won", "closed_lost"} & set(stages[:-2])


@every_source
def test_a_deal_that_cannot_be_mapped_is_parked_and_holds_nobody_back(world: Worlds, source: Source):
    one = world(source)
    one.pull()
    one.crm.clock.advance(FAR)
    odd, well = one.crm.ids()[:2]
    one.crm.spoil(odd)
    one.crm.set_amount(well, Decimal(77))
    one.pull()
    one.publish()
    assert oracles.parked(one) == {odd}
    oracles.agrees(one)
    one.crm.clock.advance(FAR)
    one.crm.set_stage(odd, one.crm.stages[0])
    one.pull()
    one.publish()
    assert oracles.parked(one) == set()
    oracles.agrees(one)
