"""Browse on both databases: deals are listed one connection after the other, each once, wherever a page ends."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.browse import list_deals
from pipeline.faults import Unknown
from pipeline.pull import pull
from pipeline.wiring import App
from tests.pipeline.world import NAME, TOKEN

OTHERS = ("a", "planhat", "planhat-eu2", "zz")
SECTION = """
[connections.{name}]
source = "planhat"
base_url = "https://api.planhat.test"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
[connections.{name}.options]
requests_per_minute = 1000000
"""


@pytest.fixture
def several(open_world: Callable[..., App], crm: PlanhatSimulator) -> App:
    """Five connections, pulled in an order of their own; one of them has no deals."""
    app = open_world(crm, extra="".join(SECTION.format(name=name) for name in OTHERS))
    app.transports = {
        name: PlanhatSimulator(seed=seed, deals=0 if name == "planhat" else 5, token=TOKEN).transport()
        for seed, name in enumerate((NAME, *OTHERS))
    }
    for name in ("zz", NAME, "a", "planhat", "planhat-eu2"):
        pull(app, name)
    return app


@pytest.mark.parametrize("size", [1, 2, 5, 7, 1000])
def test_deals_are_walked_by_connection_and_id_each_once(several: App, size: int):
    whole = list(list_deals(several))
    places = [(one["connection"], one["source_id"]) for one in whole]
    assert places == sorted(places)
    assert list(dict.fromkeys(name for name, _ in places)) == ["a", NAME, "planhat-eu2", "zz"]
    walked = page = list(list_deals(several, limit=size))
    while page:
        page = list(list_deals(several, limit=size, after=walked[-1]["external_id"]))
        walked = walked + page
    assert walked == whole


def test_one_connection_s_deals_are_listed_alone(several: App):
    whole = list(list_deals(several))
    assert list(list_deals(several, connection="zz")) == [one for one in whole if one["connection"] == "zz"]
    assert list(list_deals(several, connection="planhat")) == []
    assert list(list_deals(several, connection="a", after=whole[-1]["external_id"])) == [], "beyond all of its own"
    with pytest.raises(Unknown):
        list(list_deals(several, connection="zzz"))
