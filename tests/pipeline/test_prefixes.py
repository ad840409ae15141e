"""A prefix that is changed half way would put each deal into the ledger twice: nothing is read until it is put back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline.faults import SettingsError
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.status import status
from pipeline.sweep import sweep
from pipeline.wiring import App
from tests.pipeline.world import NAME, TOKEN, ledger_states, rows

OTHER = 'external_id_prefix = "crm"'


def test_whatever_reads_is_refused_and_says_which_prefix_to_write(
    open_world: Callable[..., App], crm: PlanhatSimulator
):
    before = open_world(crm)
    pull(before, NAME)
    publish(before)
    known = rows(before)
    app = open_world(crm, OTHER)
    crm.edit(crm.ids()[0], total=99)
    for read in (pull, sweep, lambda *those: reconcile(*those, repair=True)):
        with pytest.raises(SettingsError, match=f"like {NAME}:.*'crm' each would be paid twice") as caught:
            read(app, NAME)
        assert f"write external_id_prefix = {NAME!r}" in str(caught.value)
    assert rows(app) == known
    told = status(app)["connections"][0]
    assert told["state"] == "failing"
    assert "would be paid twice" in told["reason"]
    back = open_world(crm, f'external_id_prefix = "{NAME}"')
    assert pull(back, NAME).events == 1
    told = status(back)["connections"][0]
    assert (told["state"], told["reason"]) == ("ok", None)


def test_a_prefix_is_chosen_freely_before_the_first_deal(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(PlanhatSimulator(seed=7, deals=0, token=TOKEN))
    pull(app, NAME)
    app = open_world(crm, OTHER)
    sweep(app, NAME)
    publish(app)
    assert {name.partition(":")[0] for name in ledger_states(app)} == {"crm"}


def test_a_store_in_which_both_prefixes_were_used_is_read_under_either(
    open_world: Callable[..., App], crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    pull(open_world(crm), NAME)
    app, last = open_world(crm, OTHER), max(crm.ids())
    with monkeypatch.context() as unguarded:
        unguarded.setattr("pipeline.run.prefixes.told_otherwise", lambda *_: None)
        crm.edit(last, total=99)
        assert pull(app, NAME).events == 1
    assert pull(app, NAME).events == 0
    assert pull(open_world(crm), NAME).events == 0
