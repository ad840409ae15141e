"""The page server of the benchmarks answers as every contender is told it does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest

from benchmarks import appending, monaco_sweep, report, stage
from benchmarks.measure import Failed, Spent
from benchmarks.results import FIRST, POSTGRESQL, Figure, Result, Table
from benchmarks.stage import PageServer
from benchmarks.tenant import Tenant

DEALS = 2_500


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    with stage.page_server(DEALS) as running:
        yield running


@pytest.fixture
def pages(server: PageServer) -> PageServer:
    server.show("initial")
    return server


def listed(pages: PageServer, **asked: object) -> list[dict[str, Any]]:
    answer = httpx.get(f"{pages.url}/deals", params={key: str(value) for key, value in asked.items()})
    return list(answer.raise_for_status().json())


def everything(pages: PageServer, sort: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := listed(pages, sort=sort, limit=2_000, offset=len(found)):
        found += page
    return found


def test_a_deal_has_25_fields_five_custom_values_and_about_900_bytes():
    page = Tenant(2_000).page(0, 2_000, newest_first=False)
    deal = json.loads(page)[0]
    assert (len(deal), len(deal["custom"])) == (25, 5)
    assert 850 <= len(page) / 2_000 <= 950


def test_two_tenants_of_one_seed_are_the_same_bytes_and_of_two_seeds_are_not():
    one, same, other = Tenant(50), Tenant(50), Tenant(50, seed=21)
    assert one.page(0, 50, newest_first=True) == same.page(0, 50, newest_first=True)
    assert one.page(0, 50, newest_first=True) != other.page(0, 50, newest_first=True)


def test_a_tenant_too_large_to_be_held_ready_draws_the_same_deals():
    ready, drawn = Tenant(300), Tenant(300, kept_ready=0)
    for tenant in (ready, drawn):
        tenant.switch("two_percent")
    assert ready.page(0, 300, newest_first=True) == drawn.page(0, 300, newest_first=True)
    assert ready.total_cents() == drawn.total_cents()


def test_pages_in_order_of_id_show_every_deal_once_and_end_with_an_empty_page(pages: PageServer):
    ids = [deal["_id"] for deal in everything(pages, "_id")]
    assert ids == sorted(set(ids))
    assert len(ids) == DEALS
    assert listed(pages, sort="_id", limit=2_000, offset=DEALS) == []


def test_pages_may_overlap_and_a_limit_beyond_the_most_is_clamped(pages: PageServer):
    first, second = listed(pages, sort="_id", limit=10), listed(pages, sort="_id", limit=10, offset=7)
    assert first[7:] == second[:3]
    assert len(listed(pages, sort="_id", limit=5_000)) == 2_000


@pytest.mark.parametrize("edition", ["initial", "one_percent", "two_percent"])
def test_descending_updated_at_is_monotonic_in_every_edition(pages: PageServer, edition: str):
    pages.show(edition)  # type: ignore[arg-type]
    moments = [deal["updatedAt"] for deal in everything(pages, "-updatedAt")]
    assert moments == sorted(moments, reverse=True)
    assert len(set(moments)) == DEALS


def test_one_per_cent_is_changed_and_comes_first(pages: PageServer):
    before = {deal["_id"]: deal for deal in everything(pages, "_id")}
    pages.show("one_percent")
    after = everything(pages, "-updatedAt")
    changed = [deal for deal in after if deal != before[deal["_id"]]]
    assert changed == after[: DEALS // 100]
    assert all(deal["total"] != before[deal["_id"]]["total"] for deal in changed)
    assert any(deal["stage"] != before[deal["_id"]]["stage"] for deal in changed)


@pytest.mark.parametrize("edition", ["initial", "one_percent", "two_percent"])
def test_the_sum_that_contenders_are_held_against_is_the_sum_shown(pages: PageServer, edition: str):
    promised = pages.show(edition)  # type: ignore[arg-type]
    assert sum(round(deal["total"] * 100) for deal in everything(pages, "_id")) == promised


def test_one_deal_is_the_row_of_the_list_and_an_unknown_one_is_404(pages: PageServer):
    pages.show("one_percent")
    newest = listed(pages, sort="-updatedAt", limit=1)[0]
    assert httpx.get(f"{pages.url}/deals/{newest['_id']}").json() == newest
    for unknown in ("65f0c0ffee00dea1ffffffff", "no-such-id", "000000000000000000000001"):
        assert httpx.get(f"{pages.url}/deals/{unknown}").status_code == 404


def test_a_contender_that_lost_a_cent_does_not_count():
    with pytest.raises(Failed, match="landed 10 deals with 999 cents, the source shows 10 with 1,000"):
        stage.must_equal((10, 999), (10, 1_000))


def test_every_event_of_the_appending_benchmark_is_as_wide_as_a_mapped_deal_and_is_taken(postgres_url: str):
    assert all(540 <= len(one.state) <= 600 for one in appending.events(100))
    found = appending.rates(100, postgres_url)
    assert min(found.appended, found.floor, found.indexed) > 0
    with psycopg.connect(postgres_url) as session:
        for table in appending.TABLES:
            assert session.execute(f"SELECT count(*) FROM {table.name}").fetchone() == (100 * appending.ROUNDS,)


def test_the_sweep_of_a_simulated_organization_is_whole_and_its_requests_are_counted():
    found = monaco_sweep.figures(700)
    assert {title.partition(" of ")[0] for title in found} == {f"monaco: {name}" for name in monaco_sweep.PASSES}
    assert {value for title, value in found.items() if "requests (least: 2)" in title} <= {2, 3, 4, 5}
    assert all(value > 0 for value in found.values())


def test_the_report_holds_each_ratio_against_its_goal():
    def spent(wall_s: float) -> Spent:
        return Spent(wall_s=wall_s, working_s=None, cpu_s=1.0, peak_mb=100.0)

    table = Table(1_000, machine=["2 cores"])
    table.results = [Result(POSTGRESQL, FIRST, spent(1.0), "pull + publish")]
    table.results += [Result("plain script", FIRST, spent(8.1)), Result("dlt as documented", FIRST, spent(2.9))]
    table.figures = [Figure("memory", 301.0, "MB", at_most=300.0)]
    lines = report.render(table).splitlines()
    assert [line.split("|")[-2].strip() for line in lines if "plain script" in line and ">= 8x" in line] == ["met"]
    assert [line.split("|")[-2].strip() for line in lines if "documented" in line and ">= 3x" in line] == ["**missed**"]
    assert [line.split("|")[-2].strip() for line in lines if "memory" in line and "<= 300" in line] == ["**missed**"]
