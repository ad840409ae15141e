"""Nothing is deleted by absence alone; what is really gone goes once, and what comes back comes back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from connectors.faults import Fault
from connectors.simulated_wire import Mishap, html, refused
from connectors.source import Source
from tests.conformance import oracles
from tests.conformance.world import FAR, Rewrite, World, Worlds, every_source, id_of, rewritten


def half(rows: list) -> list:
    return rows[: len(rows) // 2]


def none(rows: list) -> list:
    return []


def all_but(world: World, hidden: set[str]) -> Rewrite:
    return lambda rows: [row for row in rows if id_of(row, hidden) is None]


def sweeps(world: World, times: int = 3) -> None:
    """Sweeps that may fail, as the source's faults make them."""
    for _ in range(times):
        world.crm.clock.advance(FAR)
        try:
            world.sweep()
        except Fault:
            continue


@every_source
@pytest.mark.parametrize("rewrite", [none, half], ids=["empty lists", "short pages"])
def test_lists_that_show_too_little_delete_nothing(world: Worlds, source: Source, rewrite: Rewrite):
    one = world(source)
    one.pull()
    one.crm.faults.sometimes(1.0, rewritten(one.crm, rewrite))
    sweeps(one)
    assert oracles.buried(one) == set()
    one.settle()
    oracles.agrees(one)


@every_source
@pytest.mark.parametrize("recount", [False, True])
def test_rows_hidden_from_lists_that_a_single_read_shows_are_not_deleted(world: Worlds, source: Source, recount: bool):
    one = world(source, page_size=50)  # of one page, what it counts can be told anew
    one.pull()
    hidden = set(one.crm.ids()[::3])
    one.crm.faults.sometimes(1.0, rewritten(one.crm, all_but(one, hidden), recount=recount))
    sweeps(one)
    assert oracles.buried(one) == set()


@every_source
@pytest.mark.parametrize("status", [401, 403, 400, 500, 503])
def test_an_answer_that_proves_nothing_deletes_nothing(world: Worlds, source: Source, status: int):
    """Rows vanish from the lists and from what these count, and the single read answers something that is no 404."""
    one = world(source, page_size=50)  # of one page, what it counts can be told anew
    one.pull()
    hidden = set(one.crm.ids()[:2])
    singles = refused(status)
    one.crm.faults.sometimes(1.0, singles, lambda request: any(one_id in request.path for one_id in hidden))
    one.crm.faults.sometimes(1.0, rewritten(one.crm, all_but(one, hidden), recount=True))
    before = len(one.crm.log)
    sweeps(one)
    assert oracles.buried(one) == set()
    asked = [call.path for call in one.crm.log[before:]]
    assert any(one_id in path for path in asked for one_id in hidden), "the single reads were never tried"


MISHAPS: dict[str, Callable[[], Mishap]] = {
    "401": lambda: refused(401),
    "403": lambda: refused(403),
    "404": lambda: refused(404),
    "500": lambda: refused(500),
    "a page for people": html,
}


@every_source
@pytest.mark.parametrize("mishap", MISHAPS)
def test_a_source_that_answers_everything_badly_loses_nothing(world: Worlds, source: Source, mishap: str):
    one = world(source)
    one.pull()
    before = oracles.rows(one)["events"]
    one.crm.faults.sometimes(1.0, MISHAPS[mishap]())
    sweeps(one)
    with pytest.raises(Fault):
        one.pull()
    assert oracles.rows(one)["events"] == before
    one.settle()
    oracles.agrees(one)


@every_source
def test_a_deleted_deal_gets_one_tombstone(world: Worlds, source: Source):
    """Two complete sweeps have to miss it, unless the source itself says that it is gone."""
    one = world(source)
    one.pull()
    one.crm.clock.advance(FAR)
    gone = one.crm.ids()[4]
    one.crm.delete(gone)
    one.pull()
    one.sweep()
    assert oracles.buried(one) == (set() if source.promises.delete_signal == "none" else {gone})
    one.sweep()
    assert oracles.buried(one) == {gone}
    one.sweep()
    one.pull()
    one.publish()
    assert oracles.told(one)[gone] == ["upsert", "delete"]
    oracles.agrees(one)


@every_source
def test_a_deal_that_comes_back_is_told_again(world: Worlds, source: Source):
    one = world(source)
    one.pull()
    one.crm.clock.advance(FAR)
    back = one.crm.ids()[4]
    one.crm.delete(back)
    one.sweep()
    one.sweep()
    one.crm.clock.advance(60)
    try:
        one.crm.restore(back)
    except NotImplementedError:
        pytest.skip(f"{source.name} knows no restoring")
    one.pull()
    one.sweep()
    one.publish()
    assert oracles.told(one)[back] == ["upsert", "delete", "upsert"]
    assert not oracles.ledger(one)[back].get("deleted")
    oracles.agrees(one)


@every_source
def test_a_deal_missed_by_one_sweep_only_is_not_counted_on(world: Worlds, source: Source):
    one = world(source)
    one.pull()
    hidden = {one.crm.ids()[3]}
    for _ in range(3):
        one.crm.faults.sometimes(1.0, rewritten(one.crm, all_but(one, hidden)))
        sweeps(one, 1)
        one.crm.faults.clear()
        sweeps(one, 1)
    assert oracles.buried(one) == set()


@every_source
def test_a_deal_made_after_the_sweep_began_is_not_missed_by_it(world: Worlds, source: Source):
    one = world(source, deals=40)
    one.pull()
    made: list[str] = []

    def make(_: object) -> None:
        if len(made) < 3:
            made.append(one.crm.new_deal(amount=Decimal(9), stage=one.crm.stages[0]))

    for _ in range(3):
        made.clear()
        one.crm.before_list = make
        one.sweep()
    one.crm.before_list = None
    assert oracles.buried(one) == set()
    one.settle()
    oracles.agrees(one)
