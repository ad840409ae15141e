"""Mapping tools: which keys of the records a table leaves unread, as long as it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.faults import Unknown
from pipeline.mapping_files import shipped
from pipeline.mapping_tools import drift
from pipeline.pull import pull
from pipeline.status import status
from pipeline.wiring import App
from tests.pipeline.world import NAME


def keys(app: App) -> list[tuple[str, int]]:
    return [(one["key"], one["records"]) for one in drift(app, NAME)]


def test_keys_that_are_neither_claimed_nor_ignored_are_listed_the_most_frequent_first(app: App, crm: PlanhatSimulator):
    crm.switches.ignored_params = frozenset(["select"])  # it shows more than it is asked for
    assert keys(app) == []
    for number, one in enumerate(crm.ids()[:3]):
        crm.edit(one, **dict.fromkeys(("zeal", "also", "brandNew")[: number + 1], 1))
    pull(app, NAME)
    assert keys(app) == [("zeal", 3), ("also", 2), ("brandNew", 1)]
    assert [one["key"] for one in drift(app, NAME, limit=1)] == ["zeal"]
    with pytest.raises(Unknown):
        drift(app, "planhat-us")


def test_a_key_that_a_table_claims_or_ignores_by_now_drifts_no_more(
    open_world: Callable[..., App], crm: PlanhatSimulator, tmp_path: Path
):
    crm.switches.ignored_params = frozenset(["select"])
    app = open_world(crm)
    crm.edit(crm.ids()[0], ours=1, theirs=2)
    pull(app, NAME)
    assert keys(app) == [("ours", 1), ("theirs", 1)]
    table = shipped("planhat").replace("[deals.ignored]\n", '[deals.ignored]\nours = "of no interest"\n', 1)
    (tmp_path / "own.toml").write_text(table)
    app = open_world(crm, f'mapping = "{tmp_path / "own.toml"}"')
    pull(app, NAME)
    assert [key for key, _ in keys(app)] == ["theirs"]
    assert status(app)["connections"][0]["drift"] == 1
