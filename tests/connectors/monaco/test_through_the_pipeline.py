"""What Monaco's own ways become in the store: through the real pipeline, on SQLite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.simulated_wire import refused
from pipeline import settings
from pipeline.browse import list_deals
from pipeline.faults import SettingsError
from pipeline.pull import pull
from pipeline.store import connections, references
from pipeline.wiring import App, open_app
from tests.connectors.monaco.reading import Organization

NAME = "monaco"
CONFIG = """\
[store]
url = "sqlite:///{folder}/store.db"
[connections.monaco]
source = "monaco"
base_url = "https://api.monaco.com"
token = {{ env = "MONACO_TOKEN" }}
default_currency = "USD"
{connection}
[connections.monaco.options]
amount_unit = "minor"
{options}
"""
SHOWN = 'enum_values = "display_value"'


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[..., App]]:
    """Opens an app over an organization, with more lines for the connection and for its options."""
    opened = []

    def make(made: Organization, options: str = "", connection: str = "") -> App:
        file = tmp_path / "dealsync.toml"
        file.write_text(CONFIG.format(folder=tmp_path, connection=connection, options=options))
        config = settings.load(file, {"MONACO_TOKEN": made.credentials["token"]})
        opened.append(open_app(config, transports={NAME: made.transport()}, give_up_after_s=2.0))
        return opened[-1].__enter__()

    yield make
    for app in opened:
        app.__exit__(None, None, None)


def sources(app: App) -> set[Any]:
    """What is projected of the custom field Lead Source."""
    return {deal["state"]["lead_source"] for deal in list_deals(app) if "lead_source" in deal["state"]}


def grown_old(app: App) -> None:
    """The reference data was read long ago."""
    with app.store.write() as tx:
        row = connections.find(tx, NAME)
        assert row is not None
        references.note(tx, references.last_read(tx, row.id, "choices")._replace(read_at="2026-01-01T00:00:00.000Z"))


def relabel(made: Organization, label: str) -> None:
    """An admin calls the choice `outbound` something else."""
    field = next(one for one in made.make.custom_fields.values() if one["name"] == "Lead Source")
    field["words"] = {**field["words"], "outbound": label}
    made.clock.advance(timedelta(days=2))


def test_choices_pass_by_their_keys_and_renaming_one_changes_no_deal(connect: Callable[..., App]):
    made = Organization(30)
    app = connect(made)
    pull(app, NAME)
    assert sources(app) == {"outbound"}
    relabel(made, "Cold call")
    assert pull(app, NAME).events == 0


def test_choices_pass_as_what_people_are_shown_where_that_is_configured(connect: Callable[..., App]):
    made = Organization(30)
    app = connect(made, SHOWN)
    bearing = pull(app, NAME).events
    assert sources(app) == {"Outbound"}
    assert pull(app, NAME).events == 0
    relabel(made, "Cold call")
    grown_old(app)
    assert 0 < pull(app, NAME).events < bearing
    assert sources(app) == {"Cold call"}


def test_a_schema_that_may_not_be_read_any_more_leaves_the_words_that_are_known(connect: Callable[..., App]):
    made = Organization(30)
    app = connect(made, SHOWN)
    pull(app, NAME)
    made.faults.sometimes(1.0, refused(403), lambda request: "schemas" in request.path)
    grown_old(app)
    summary = pull(app, NAME)
    assert [line.partition(" ")[0] for line in summary.lacks] == ["choices"]
    assert (summary.events, sources(app)) == (0, {"Outbound"})


def test_owners_by_an_address_that_monaco_does_not_show_are_refused_before_anything_runs(connect: Callable[..., App]):
    with pytest.raises(SettingsError, match=r"monaco\.owners: monaco shows no e-mail address.*owners\.csv"):
        connect(Organization(1), connection='owners = "email"')
