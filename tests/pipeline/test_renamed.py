"""A connection that is given another name: all its deals would be told of anew, so nothing lands before a person says
whose they are; and where somebody said wrong, doctor notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from connectors.planhat.simulator import PlanhatSimulator
from pipeline import settings
from pipeline.backfill import start
from pipeline.browse import list_deals
from pipeline.faults import SettingsError
from pipeline.fetch import fetch
from pipeline.invariants import doctor
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.sweep import sweep
from pipeline.wiring import App, open_app
from tests.pipeline.world import NAME, TOKEN

OTHER = "other"
Renamed = Callable[..., App]


@pytest.fixture
def renamed(open_world: Callable[..., App], crm: PlanhatSimulator, tmp_path: Path) -> Iterator[Renamed]:
    """The store of a connection that was pulled and published, opened with the connection under another name."""
    before = open_world(crm)
    pull(before, NAME)
    publish(before)
    with ExitStack() as stack:

        def opened(*keys: str, shows: PlanhatSimulator = crm) -> App:
            file = tmp_path / "dealsync.toml"
            source = "\n".join(['source = "planhat"', *keys])
            text = file.read_text().replace(f"connections.{NAME}", f"connections.{OTHER}")
            file.write_text(text.replace('source = "planhat"', source))
            config = settings.load(file, {"PLANHAT_TOKEN": TOKEN})
            return stack.enter_context(open_app(config, transports={OTHER: shows.transport()}))

        yield opened


def wrong(app: App) -> list[str]:
    return [check.message for check in doctor(app) if not check.ok]


def deals(app: App) -> int:
    return len(list(list_deals(app, connection=OTHER)))


def test_nothing_lands_under_another_name_before_a_person_says_whose_deals_these_are(
    renamed: Renamed, crm: PlanhatSimulator
):
    app = renamed()
    for read in (
        lambda: pull(app, OTHER),
        lambda: sweep(app, OTHER),
        lambda: fetch(app, OTHER, crm.ids()[0]),
        lambda: start(app, OTHER, (None, None)),
    ):
        with pytest.raises(SettingsError, match=f"as one of {NAME}, which is configured no more") as told:
            read()
        assert f'external_id_prefix = "{NAME}"' in str(told.value)
        assert f'external_id_prefix = "{OTHER}"' in str(told.value)
    assert deals(app) == 0
    assert wrong(app) == []


def test_an_account_that_has_nothing_in_common_with_the_old_one_is_read(renamed: Renamed):
    app = renamed(shows=PlanhatSimulator(seed=77, deals=9, token=TOKEN))
    pull(app, OTHER)
    assert deals(app) == 9


def test_a_connection_that_took_over_the_ids_of_the_old_name_tells_of_no_deal_twice(renamed: Renamed):
    app = renamed(f'external_id_prefix = "{NAME}"')
    pull(app, OTHER)
    publish(app)
    assert deals(app) == 40
    assert wrong(app) == []


def test_doctor_tells_of_deals_that_were_told_of_under_the_old_name_and_under_the_new_one(renamed: Renamed):
    app = renamed(f'external_id_prefix = "{OTHER}"')
    assert wrong(app) == []
    pull(app, OTHER)
    (said,) = wrong(app)
    assert f"40 deals of {NAME}, which is configured no more, are told of by {OTHER} as well" in said
