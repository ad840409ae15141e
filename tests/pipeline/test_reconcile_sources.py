"""Reconcile of every source, cut off again and again, and under a quota that does not last for it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.faults import RateLimited
from connectors.leadlex.simulated_switches import Switches
from connectors.leadlex.simulator import LeadlexSimulator
from connectors.registry import source
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import Reconciliation, reconcile
from pipeline.summary import Summary
from pipeline.wiring import App
from tests.pipeline.reconciling import append
from tests.pipeline.test_backfill_sources import world
from tests.pipeline.world import ledger_states


def found(result: Reconciliation) -> dict[str, Any]:
    told = result.as_json()
    return {name: told[name] for name in ("windows", "differences", "pending", "delta_cents", "verified_through")}


def some_pages(app: App) -> Reconciliation | None:
    """A reconcile that is stopped when four of its pages are kept, if it does not come to its end before.

    The first may be the last one of the run before, once more, and at some sources the last one bears no records.
    """
    pages = 0

    def stop(_: Summary) -> None:
        nonlocal pages
        pages += 1
        if pages == 4:
            raise KeyboardInterrupt

    try:
        return reconcile(app, "eu", progress=stop)
    except KeyboardInterrupt:
        return None


@pytest.mark.parametrize("name", ["planhat", "monaco", "leadlex", "cpod"])
def test_every_source_that_is_cut_off_again_and_again_is_found_as_in_one_go(
    name: str, tmp_path: Path, database_url: str
):
    crm = source(name).simulator(seed=3, deals=220)
    options: dict[str, Any] = {"plan": "org"} if name == "leadlex" else {"requests_per_minute": 100_000}
    if name == "planhat":
        options["page_overlap"] = 2
    with world(tmp_path, database_url, name, crm, **options) as app:
        pull(app, "eu")
        publish(app)
        altered, state = next(iter(sorted(ledger_states(app).items())))
        append(app, altered, {**state, "amount_cents": 4711})
        before = len(crm.log)
        wanted = found(reconcile(app, "eu"))
        whole = len(crm.log) - before
        assert [one["external_id"] for one in wanted["differences"]] == [altered]
        result, asked = None, []
        while result is None:
            assert len(asked) < 20
            before = len(crm.log)
            result = some_pages(app)
            asked.append(len(crm.log) - before)
        assert found(result) == wanted
        assert len(asked) > 2
        assert max(asked) < whole


def test_a_quota_that_does_not_last_for_it_is_used_day_after_day_until_it_is_done(tmp_path: Path, database_url: str):
    """LeadLex's smallest plan, with forty requests a day for thirty pages, which the pulls need as well."""
    crm = LeadlexSimulator(seed=3, deals=600, switches=Switches(requests_per_day=40, date_header=True))
    with world(tmp_path, database_url, "leadlex", crm, plan="org", reserve=0.5) as app:
        by_day(crm, lambda: pull(app, "eu"))
        publish(app)
        result, days = by_day(crm, lambda: reconcile(app, "eu"))
        assert days > 1
        assert (result.differences, dict(result.pending)) == ([], {})
        assert sum(window.tallies["source"].count for window in result.windows) == 600
        assert result.summary.read < 700


def by_day(crm: LeadlexSimulator, doing: Any) -> tuple[Any, int]:
    """Try every day until it is done; what came of it, and on which day."""
    for days in range(1, 12):
        try:
            return doing(), days
        except RateLimited:
            midnight = crm.clock.now.replace(hour=0, minute=0, second=1) + timedelta(days=1)
            crm.clock.advance(midnight - crm.clock.now)
    raise AssertionError("it was never done")
