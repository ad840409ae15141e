"""Reconcile holds pages and groups in memory, never all deals; what differs is found among ten thousand."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from benchmarks.tenant import Tenant
from pipeline import settings
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.recover import recover
from pipeline.wiring import App, migrate, open_app
from tests.pipeline.reconciling import tamper
from tests.pipeline.world import CONFIG, NAME, TOKEN

pytestmark = pytest.mark.long

DEALS = 10_000
STATES_MB = 6
"""What the states of all these deals would take, once."""


def served(tenant: Tenant) -> httpx.MockTransport:
    """The tenant's list, in pages, and its single reads, in process."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/deals":
            deal = tenant.one(request.url.path.removeprefix("/deals/"))
            return httpx.Response(200, content=deal) if deal else httpx.Response(404, json={})
        offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
        newest_first = request.url.params["sort"] == "-updatedAt"
        return httpx.Response(200, content=tenant.page(offset, limit, newest_first=newest_first))

    return httpx.MockTransport(answer)


def peak_mb(doing: Callable[[], object]) -> float:
    """What is alive at most, garbage left out: an app lets a lot of that gather, since it goes by itself."""
    gathering = gc.get_threshold()
    gc.collect()
    gc.set_threshold(1000, 5, 5)
    tracemalloc.start()
    try:
        doing()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()
        gc.set_threshold(*gathering)


@pytest.mark.timeout(600)
def test_ten_thousand_deals_are_compared_in_the_memory_of_a_few_pages(tmp_path: Path, database_url: str):
    file = tmp_path / "dealsync.toml"
    text = CONFIG.replace("page_size = 10", "page_size = 500").replace("page_overlap = 2", "revenue_model = 'deals'")
    file.write_text(text.format(url=database_url, connection="", extra=""))
    config = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
    migrate(config)
    tenant = Tenant(DEALS)
    with open_app(config, transports={NAME: served(tenant)}) as app:
        pull(app, NAME)
        publish(app)
        few(app)
        assert peak_mb(lambda: reconcile(app, NAME, repair=True)) < STATES_MB
        assert peak_mb(lambda: recover(app, NAME)) < STATES_MB
        tenant.switch("one_percent")
        result = reconcile(app, NAME)
        assert len(result.differences) == DEALS // 100
        assert result.delta_cents == -50_000 * DEALS // 100


def few(app: App) -> None:
    """One deal that differs, so that the looking deal by deal is measured too."""
    tamper(app, next(app.ledger.deals()).external_id.removeprefix(f"{NAME}:"), stage="elsewhere")
