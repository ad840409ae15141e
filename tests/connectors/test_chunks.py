"""Chunks: every source cuts its deals into parts that hold each of them, read in any order, resumed anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from connectors.chunks import MOST, ChunkPlan, Divisible, Span, chunk_rows, chunks_of, label_of, pages_of
from connectors.faults import Refused, Unintelligible
from connectors.monaco.simulated_switches import Switches as MonacoSwitches
from connectors.planhat.chunks import MIXED
from connectors.planhat.simulator import PlanhatSimulator
from connectors.registry import source
from connectors.simulated_crm import SimulatedCrm
from connectors.simulated_wire import refused
from connectors.source import Account, Cursor, Page, Reader
from connectors.times import instant

SOURCES = ("planhat", "monaco", "leadlex", "cpod")
CREATED = {"planhat": "createdAt", "monaco": "created_at", "leadlex": "created_date", "cpod": "created_at"}
CUT = SOURCES[:3]
"""Sources whose deals lie in more than one part."""


def simulated(name: str, deals: int, **settings: Any) -> Any:
    return source(name).simulator(seed=3, deals=deals, **settings)


def opened(name: str, crm: Any, **options: Any) -> Divisible:
    kind = source(name)
    given = {"amount_unit": "major", **crm.options, "page_size": 10, "requests_per_minute": 1_000_000}
    if name == "planhat":
        given["page_overlap"] = 2
    if name == "leadlex":
        given["plan"] = "org"
    else:
        given["requests_per_hour"] = 1_000_000
    account = Account(
        name="eu",
        base_url="https://api.test/functions/v1/api-gateway" if name == "leadlex" else "https://api.test",
        credentials=crm.credentials,
        options=kind.options(**{**given, **options}),
        fields={},
        now=crm.clock.text,
        give_up_after_s=0.0,
        transport=crm.transport(),
    )
    reader = kind.open(account)
    assert isinstance(reader, Divisible)
    return reader


def read(reader: Divisible, plan: ChunkPlan, cursor: Cursor | None = None) -> list[str]:
    return [record.source_id for page in reader.chunk(plan, cursor) for record in page.records]


def created(name: str, crm: SimulatedCrm) -> dict[str, str]:
    """When each deal was created, by its id."""
    return {deal.get("id", deal.get("_id", "")): instant(deal[CREATED[name]]) or "" for deal in crm.truth()}


in_every_source = pytest.mark.parametrize("name", SOURCES)


@in_every_source
def test_every_deal_belongs_to_a_part_and_to_one_only(name: str):
    crm = simulated(name, 137)
    reader = opened(name, crm)
    parts = [read(reader, plan) for plan in reader.chunks(None, None)]
    assert sorted(one for part in parts for one in part) == sorted(crm.ids())
    assert (len(parts) > 3) == (name in CUT)


@in_every_source
def test_parts_are_within_the_bounds(name: str):
    crm = simulated(name, 137)
    made = created(name, crm)
    times = [f"{at[:19]}.000Z" for at in sorted(made.values())]
    for since, until in ((times[40], None), (None, times[90]), (times[40], times[90])):
        reader = opened(name, crm)
        found = {one for plan in reader.chunks(since, until) for one in read(reader, plan)}
        assert found == {one for one, at in made.items() if (since or "") <= at < (until or "~")}


@in_every_source
def test_a_part_that_was_cut_off_after_any_page_is_read_on_there(name: str):
    crm = simulated(name, 60)
    for plan in opened(name, crm).chunks(None, None):
        pages = list(opened(name, crm).chunk(plan, None))
        whole = {record.source_id for page in pages for record in page.records}
        for place, page in enumerate(pages):
            if page.cursor is not None:
                before = {record.source_id for early in pages[: place + 1] for record in early.records}
                assert before | set(read(opened(name, crm), plan, page.cursor)) == whole


@in_every_source
def test_no_deal_is_missed_while_others_come_and_go(name: str):
    """Planned, then the list is shortened and lengthened before and while each part is read, the last part first."""
    crm = simulated(name, 137)
    reader = opened(name, crm)
    plans = list(reader.chunks(None, None))
    doomed = crm.ids()[::3]
    stays = set(crm.ids()) - set(doomed)
    found: set[str] = set()
    for plan in reversed(plans):
        for page in opened(name, crm).chunk(plan, None):
            found |= {record.source_id for record in page.records}
            if doomed:
                crm.delete(doomed.pop(0))
                crm.new_deal(amount=Decimal(5), stage=crm.stages[0])
    assert stays <= found


@in_every_source
def test_an_empty_list_is_read_in_no_time(name: str):
    crm = simulated(name, 0)
    reader = opened(name, crm)
    assert [one for plan in reader.chunks(None, None) for one in read(reader, plan)] == []


@pytest.mark.parametrize("name", CUT)
def test_a_page_that_cannot_be_read_is_the_trouble_of_its_own_part(name: str):
    crm = simulated(name, 137)
    reader = opened(name, crm)
    plans = list(reader.chunks(None, None))
    crm.faults.next(refused(400))
    with pytest.raises(Unintelligible):
        read(reader, plans[1])
    assert read(reader, plans[2])
    assert read(reader, plans[1])


def test_a_list_without_an_order_is_one_part_with_its_bounds_minded():
    crm = simulated("planhat", 60)
    crm.switches.ignored_params = frozenset({"sort"})
    made = created("planhat", crm)
    times = [f"{at[:19]}.000Z" for at in sorted(made.values())]
    reader = opened("planhat", crm)
    [plan] = reader.chunks(times[20], times[40])
    assert set(read(reader, plan)) == {one for one, at in made.items() if times[20] <= at < times[40]}


def test_a_list_that_loses_its_order_fails_the_part_instead_of_missing_a_deal():
    crm = simulated("planhat", 60)
    reader = opened("planhat", crm)
    plans = list(reader.chunks(None, None))
    crm.switches.ignored_params = frozenset({"sort"})
    with pytest.raises(Unintelligible, match=MIXED):
        [read(reader, plan) for plan in plans]


def test_deals_that_may_not_be_seen_are_not_taken_for_none():
    crm = simulated("planhat", 20)
    crm.switches.forbidden = True
    with pytest.raises(Refused):
        list(opened("planhat", crm).chunks(None, None))


def test_planning_looks_at_one_row_where_a_part_begins():
    crm = PlanhatSimulator(seed=3, deals=3000)
    plans = list(opened("planhat", crm, page_size=100, page_overlap=10).chunks(None, None))
    assert len(crm.log) <= len(plans) + 2 * 12
    assert all(call.query["limit"] == "1" for call in crm.log[2:])


def test_deals_of_one_moment_are_never_torn_apart():
    """As many opportunities as fill three parts were imported in the same second."""
    crm = simulated("monaco", 0, switches=MonacoSwitches())
    reader = opened("monaco", crm)
    for _ in range(45):
        crm.new_deal(amount=Decimal(5), stage=crm.stages[0])
    plans = list(reader.chunks(None, None))
    assert sorted(one for plan in plans for one in read(reader, plan)) == sorted(crm.ids())


def test_an_export_plans_in_a_single_request_what_counting_takes_many_for():
    crm = simulated("leadlex", 137)
    plans = list(opened("leadlex", crm, use_csv_export=True).chunks(None, None))
    by_export, crm.log = len(crm.log), []
    counted = list(opened("leadlex", crm).chunks(None, None))
    assert (by_export, len(crm.log) > by_export) == (3, True)
    assert [low.place["high"] == high.place["low"] for low, high in pairwise(plans)] == [True] * (len(plans) - 1)
    assert len(plans) <= len(counted)


def test_a_plan_leaves_most_of_a_small_days_requests_for_reading():
    crm = simulated("leadlex", 2000)
    reader = opened("leadlex", crm, plan="starter", requests_per_day=None)
    plans = list(reader.chunks(None, None))
    assert (2 < len(plans) <= 20, len(crm.log) < 40) == (True, True)


def test_a_list_that_heeds_no_filter_or_does_not_count_is_one_part():
    deaf = simulated("leadlex", 40)
    deaf.switches.ignored_params = frozenset({"created_after", "created_before"})
    mute = simulated("leadlex", 40)
    mute.switches.total = "absent"
    for crm in (deaf, mute):
        reader = opened("leadlex", crm)
        [plan] = reader.chunks(None, None)
        assert set(read(reader, plan)) == set(crm.ids())


class Plain:
    """A reader that cannot be cut."""

    def everything(self, cursor: Cursor | None) -> Iterator[Page]:
        yield Page(records=(), requested_at="2026-01-01T00:00:00.000Z", cursor=cursor, doubts=("a doubt",))


def test_a_source_that_cannot_be_cut_has_one_part_and_its_doubts_are_notes():
    reader: Reader = Plain()  # type: ignore[assignment]
    [plan] = chunks_of(reader, "2026-01-01T00:00:00.000Z", None)
    [page] = pages_of(reader, plan, {"a": 1})
    assert (page.doubts, page.notes, page.cursor) == ((), ("a doubt",), {"a": 1})


@pytest.mark.parametrize("total", [1, 99, 100, 101, 2_000, 50_000, 1_000_000, 30_000_000])
def test_chunks_are_whole_pages_and_never_too_many(total: int):
    rows = chunk_rows(total, 100)
    assert rows % 100 == 0
    assert 1 <= -(-total // rows) <= MOST
    assert rows == 100 or total / rows > 9


def test_a_window_is_told_in_words():
    assert label_of(None, None) == "everything"
    assert label_of("2026-01-31T00:00:00.000Z", "2026-02-01T10:30:00.000Z") == (
        "created from 2026-01-31 before 2026-02-01T10:30:00Z"
    )


def test_a_span_takes_in_its_beginning_and_leaves_its_end_to_the_next():
    span = Span("2026-01-31T00:00:00.000Z", "2026-02-01T00:00:00.000Z")
    inside = ["2026-01-31T00:00:00.000Z", "2026-01-31T23:59:59.999Z", None]
    outside = ["2026-01-30T23:59:59.999Z", "2026-02-01T00:00:00.000Z"]
    assert [span.holds(moment) for moment in inside + outside] == [True, True, True, False, False]
    assert all(Span().holds(moment) for moment in inside + outside)
