"""What LeadLex's thin lists come to in the store: through the real pipeline, on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline import settings
from pipeline.browse import list_deals
from pipeline.fetch import fetch
from pipeline.pull import pull
from pipeline.sweep import sweep
from pipeline.wiring import App, open_app
from tests.connectors.leadlex.reading import BASE_URL, Tenant
from tests.connectors.leadlex.test_whole import singles

NAME = "firm"
CONFIG = """\
[store]
url = "sqlite:///{folder}/store.db"
[connections.firm]
source = "leadlex"
base_url = "{base_url}"
token = {{ env = "LEADLEX_TOKEN" }}
default_currency = "USD"
park_limit = 1.0
[connections.firm.options]
requests_per_minute = 1000000
requests_per_day = 10000000
page_size = 10
{options}
"""


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Opens an app over a workspace, with more lines for its options."""
    opened = []

    def make(tenant: Tenant, options: str = "") -> App:
        file = tmp_path / "dealsync.toml"
        file.write_text(CONFIG.format(folder=tmp_path, base_url=BASE_URL, options=options))
        config = settings.load(file, {"LEADLEX_TOKEN": tenant.credentials["token"]})
        opened.append(open_app(config, transports={NAME: tenant.transport()}, give_up_after_s=2.0))
        return opened[-1].__enter__()

    yield make
    for app in opened:
        app.__exit__(None, None, None)


def states(app: App) -> dict[str, dict[str, Any]]:
    return {deal["source_id"]: deal["state"] for deal in list_deals(app)}


def test_sweeps_of_a_thin_list_cost_their_pages_and_change_nothing(connect: Callable[..., App]):
    tenant = Tenant(40, thin_rows=True)
    app = connect(tenant)
    pull(app, NAME)
    assert any(state["close_date"] for state in states(app).values())
    before, asked = states(app), singles(tenant)
    for _ in range(2):
        tenant.clock.advance(timedelta(days=1))
        swept = sweep(app, NAME)
        assert (swept.events, swept.doubts, swept.read) == (0, [], 40)
    assert (states(app), singles(tenant)) == (before, asked)


def test_a_parked_deal_is_not_read_again_by_itself_until_it_changes(connect: Callable[..., App]):
    tenant = Tenant(12, thin_rows=True)
    tenant.spoil(tenant.ids()[0])
    app = connect(tenant)
    assert pull(app, NAME).parked == 1
    asked = singles(tenant)
    sweep(app, NAME)
    assert singles(tenant) == asked


def test_without_the_fallback_no_value_comes_and_goes(connect: Callable[..., App]):
    tenant = Tenant(12, thin_rows=True)
    app = connect(tenant, "get_one_fallback = false")
    pull(app, NAME)
    assert {state["close_date"] for state in states(app).values()} == {None}
    for one in tenant.ids():
        assert fetch(app, NAME, one).events == 0
    assert sweep(app, NAME).events == 0
