"""Mapping preview: what it foretells is what the next pull with that table does, and it does nothing itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline import settings
from pipeline.faults import SettingsError, Unknown
from pipeline.mapping_files import shipped
from pipeline.mapping_preview import preview
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import list_parked
from pipeline.wiring import App
from tests.pipeline.world import NAME, TOKEN, projected, rows


@pytest.fixture
def pulled(app: App, crm: PlanhatSimulator) -> App:
    """Forty deals of which one is in a stage that the shipped table does not know."""
    pull(app, NAME)
    stages = {name.partition(":")[2]: deal["stage"] for name, deal in projected(app).items()}
    crm.edit(next(one for one in crm.ids() if stages[one] == "closed_won"), stage="Odd")
    assert pull(app, NAME).parked == 1
    publish(app)
    return app


def table(folder: Path, *changes: tuple[str, str]) -> Path:
    """The shipped table with some of its lines changed."""
    text = shipped("planhat")
    for line, other in changes:
        assert line in text
        text = text.replace(line, other, 1)
    file = folder / "tried.toml"
    file.write_text(text)
    return file


def use(app: App, folder: Path, file: Path) -> None:
    config = folder / "dealsync.toml"
    config.write_text(config.read_text().replace('source = "planhat"', f'source = "planhat"\nmapping = "{file.name}"'))
    app.settings = settings.load(config, {"PLANHAT_TOKEN": TOKEN})


NEGOTIATION = '"Negotiation" = "negotiation"'


def test_the_table_in_force_changes_nothing(pulled: App) -> None:
    found = preview(pulled, NAME)
    assert (found.deals, found.unchanged, found.changed, found.unreadable) == (40, 40, 0, 0)
    assert (found.parked, found.resolved) == (1, 0)
    assert found.reasons == {("UNKNOWN_STAGE", "stage"): 1}
    assert (found.fields, found.stages, found.examples) == ({}, {}, [])


def test_what_is_foretold_is_what_the_next_pull_does(pulled: App, tmp_path: Path) -> None:
    file = table(tmp_path, (NEGOTIATION, '"Negotiation" = "closed_won"\n"Odd" = "odd"'))
    before = projected(pulled)
    found = preview(pulled, NAME, file)
    assert found.changed > 0
    use(pulled, tmp_path, file)
    assert preview(pulled, NAME).as_json() == found.as_json()

    summary = pull(pulled, NAME)
    after = projected(pulled)
    moved = {name for name in before if before[name] != after[name]}
    resolved = {name for name in moved if after[name]["stage"] == "odd"}
    assert len(moved - resolved) == found.changed
    assert len(resolved) == found.resolved == 1
    assert summary.events == found.changed + found.resolved
    assert list(list_parked(pulled)) == []
    told = {(one["before"], one["after"]): one["deals"] for one in found.as_json()["stages"]}
    assert told == Counter((before[name]["stage"], after[name]["stage"]) for name in moved - resolved)
    assert found.fields == {"stage": found.changed}
    assert preview(pulled, NAME).changed == 0


def test_money_is_told_as_the_difference_of_all_amounts(pulled: App, tmp_path: Path) -> None:
    before = projected(pulled)
    file = table(tmp_path, ('from = "total"', 'from = "mrr"'))
    found = preview(pulled, NAME, file)
    use(pulled, tmp_path, file)
    pull(pulled, NAME)
    after = projected(pulled)
    totals = [sum(deal["amount_cents"] or 0 for deal in deals.values()) for deals in (before, after)]
    assert sum(found.money.values()) == totals[1] - totals[0] != 0


def test_what_deals_in_other_currencies_would_move_is_told_in_the_ledgers(
    open_world: Callable[..., App], crm: PlanhatSimulator, tmp_path: Path
) -> None:
    app = open_world(crm, connection='currency_policy = "pass"')
    for one, currency in zip(crm.ids(), ["EUR", "GBP", "USD"], strict=False):
        crm.edit(one, total=500, mrr=20, currency=currency)
    pull(app, NAME)
    told = preview(app, NAME, table(tmp_path, ('from = "total"', 'from = "mrr"'))).as_json()["money"]
    assert list(told) == ["USD"]
    use(app, tmp_path, tmp_path / "tried.toml")
    before = projected(app)
    pull(app, NAME)
    after = projected(app)
    assert told["USD"] == sum((after[one]["amount_cents"] or 0) - (before[one]["amount_cents"] or 0) for one in after)


def test_records_that_would_be_parked_are_counted_by_their_reason(pulled: App, tmp_path: Path) -> None:
    negotiating = sum(deal["stage"] == "negotiation" for deal in projected(pulled).values())
    assert negotiating > 1
    found = preview(pulled, NAME, table(tmp_path, (NEGOTIATION, "")))
    assert (found.unreadable, found.changed) == (negotiating, 0)
    assert found.reasons == {("UNKNOWN_STAGE", "stage"): negotiating + 1}


def test_examples_show_both_sides_and_no_more_of_them_than_wanted(pulled: App, tmp_path: Path) -> None:
    file = table(tmp_path, (NEGOTIATION, '"Negotiation" = "closed_won"'))
    found = preview(pulled, NAME, file, examples=2)
    assert found.changed > len(found.examples) == 2
    for example in found.examples:
        assert example["fields"] == {"stage": {"before": "negotiation", "after": "closed_won"}}
        assert projected(pulled)[example["external_id"]]["stage"] == "negotiation"


def test_nothing_is_asked_and_nothing_is_stored(pulled: App, crm: PlanhatSimulator, tmp_path: Path) -> None:
    asked, stored = len(crm.log), (rows(pulled), projected(pulled), list(list_parked(pulled)))
    preview(pulled, NAME, table(tmp_path, (NEGOTIATION, '"Negotiation" = "closed_won"')))
    assert len(crm.log) == asked
    assert (rows(pulled), projected(pulled), list(list_parked(pulled))) == stored
    assert pull(pulled, NAME).events == 0


def test_a_connection_that_was_never_pulled_has_nothing_to_show(app: App) -> None:
    found = preview(app, NAME)
    assert (found.deals, found.parked) == (0, 0)


def test_a_table_that_cannot_be_used_and_a_connection_that_is_none_are_said(pulled: App, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('source = "planhat"\n[x]\n')
    with pytest.raises(SettingsError):
        preview(pulled, NAME, tmp_path / "bad.toml")
    with pytest.raises(Unknown):
        preview(pulled, "nobody")
