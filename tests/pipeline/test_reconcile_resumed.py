"""Reconcile gone on with: what was read of the source is not asked for again, and what is found is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text, update

from connectors.faults import Unavailable
from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import refused
from ledger.port import LedgerUnavailable
from pipeline import settings
from pipeline.mapping_files import shipped
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.reconcile_reading import STREAM
from pipeline.recover import recover
from pipeline.run import Run
from pipeline.store.side_tables import source_sides
from pipeline.store.tables import checkpoints
from pipeline.wiring import App
from tests.pipeline.reconciling import append, named, tamper
from tests.pipeline.world import NAME, TOKEN, rows

CUT_AT = 16
"""The offset of the page that does not come: two pages before it are kept."""


@pytest.fixture
def quiet(app: App) -> App:
    pull(app, NAME)
    publish(app)
    return app


def cut(app: App, crm: PlanhatSimulator, **options: bool) -> None:
    """A reconcile that loses its source half way."""
    crm.faults.sometimes(1.0, refused(503), where=lambda request: request.query.get("offset") == str(CUT_AT))
    with pytest.raises(Unavailable):
        reconcile(app, NAME, **options)
    crm.faults.clear()


def offsets(crm: PlanhatSimulator, doing: Callable[[], object]) -> list[int]:
    """Where the pages began that the source was asked for."""
    before = len(crm.log)
    doing()
    return [int(call.query["offset"]) for call in crm.log[before:] if call.path == "/deals"]


def document(app: App, **options: bool) -> dict[str, Any]:
    """What a reconcile finds, without what says which run it was and how often rows on two pages were seen."""
    told = reconcile(app, NAME, **options).as_json()
    return {key: value for key, value in told.items() if key not in ("run", "seconds", "notes", "read", "unchanged")}


def kept(app: App) -> int:
    with app.store.read() as tx:
        return int(tx.execute(select(func.count()).select_from(source_sides)).scalar_one())


def disturbed(app: App, crm: PlanhatSimulator) -> None:
    """One deal of each end of the list is altered, one is extra and one is missing."""
    tamper(app, crm.ids()[0], amount_cents=4711)
    tamper(app, crm.ids()[-1], stage="elsewhere")
    crm.create(total=1234, currency="USD", updatedAt="2020-01-01T00:00:00.000Z")
    append(app, named("nobody"), {"amount_cents": 5, "stage": "x", "close_date": None, "owner_external_id": None})


def test_only_the_rest_is_asked_for_and_the_same_is_found(quiet: App, crm: PlanhatSimulator):
    disturbed(quiet, crm)
    whole = offsets(crm, lambda: document(quiet))
    wanted = document(quiet)
    cut(quiet, crm)
    assert 0 < kept(quiet) < 40
    found: list[dict[str, Any]] = []
    rest = offsets(crm, lambda: found.append(document(quiet)))
    assert found == [wanted]
    assert len(found[0]["differences"]) == 4
    assert (min(rest), sorted(rest)) == (CUT_AT, [one for one in sorted(whole) if one >= CUT_AT])
    assert kept(quiet) == 0
    assert offsets(crm, lambda: document(quiet)) == whole


def test_a_ledger_that_breaks_off_is_listed_again_and_the_source_is_not(
    quiet: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    disturbed(quiet, crm)
    wanted = document(quiet)
    listing = quiet.ledger.deals

    def breaking() -> Iterator[Any]:
        yield next(listing())
        raise LedgerUnavailable("it is away")

    with monkeypatch.context() as patched:
        patched.setattr(quiet.ledger, "deals", breaking)
        with pytest.raises(LedgerUnavailable):
            reconcile(quiet, NAME)
    found: list[dict[str, Any]] = []
    assert offsets(crm, lambda: found.append(document(quiet))) == []
    assert found == [wanted]


def test_what_moved_between_the_two_parts_is_no_difference(quiet: App, crm: PlanhatSimulator):
    cut(quiet, crm)
    with quiet.store.read() as tx:
        read = tx.execute(select(source_sides.c.source_id)).scalars().all()
    crm.edit(read[0], total=4711)
    crm.edit(next(one for one in crm.ids() if one not in read), total=815)
    crm.delete(read[1])
    crm.create(total=99, currency="USD")
    pull(quiet, NAME)
    publish(quiet)
    result = reconcile(quiet, NAME)
    assert (result.differences, dict(result.pending)) == ([], {"moving": 1})
    again = reconcile(quiet, NAME)
    assert [one.kind for one in again.differences] == ["extra"]  # what no sweep has proven gone yet
    assert not again.pending


def test_a_repair_needs_the_records_and_begins_anew_where_only_states_were_kept(quiet: App, crm: PlanhatSimulator):
    disturbed(quiet, crm)
    cut(quiet, crm)
    assert min(offsets(crm, lambda: reconcile(quiet, NAME, repair=True))) == 0
    cut(quiet, crm, repair=True)
    assert min(offsets(crm, lambda: reconcile(quiet, NAME))) == CUT_AT


def test_a_repair_that_was_cut_off_while_it_mended_mends_the_rest(
    quiet: App, crm: PlanhatSimulator, monkeypatch: pytest.MonkeyPatch
):
    disturbed(quiet, crm)

    def dies(_run: Run, _ids: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "retell", dies)
        with pytest.raises(KeyboardInterrupt):
            reconcile(quiet, NAME, repair=True)
    landed = rows(quiet)["outbox"]
    assert landed == 1
    assert offsets(crm, lambda: reconcile(quiet, NAME, repair=True)) == []
    assert rows(quiet)["outbox"] == 3
    publish(quiet)
    assert [one.source_id for one in reconcile(quiet, NAME).differences] == ["nobody"]


def test_another_mapping_begins_anew(quiet: App, crm: PlanhatSimulator, tmp_path: Path):
    cut(quiet, crm)
    table = tmp_path / "other.toml"
    table.write_text(shipped("planhat").replace('from = "total"', 'from = "mrr"', 1))
    config = tmp_path / "dealsync.toml"
    config.write_text(config.read_text().replace('source = "planhat"', f'source = "planhat"\nmapping = "{table.name}"'))
    quiet.settings = settings.load(config, {"PLANHAT_TOKEN": TOKEN})
    assert min(offsets(crm, lambda: reconcile(quiet, NAME))) == 0


def test_a_read_that_was_left_alone_for_days_begins_anew(quiet: App, crm: PlanhatSimulator):
    cut(quiet, crm)
    with quiet.store.write() as tx:
        old = update(checkpoints).where(checkpoints.c.stream == STREAM)
        tx.execute(old.values(moved_at="2020-01-01T00:00:00.000Z"))
    assert min(offsets(crm, lambda: reconcile(quiet, NAME))) == 0


def test_a_recovery_goes_on_with_nothing_that_a_backup_may_have_held(quiet: App, crm: PlanhatSimulator):
    cut(quiet, crm)
    assert min(offsets(crm, lambda: recover(quiet, NAME))) == 0
    assert kept(quiet) == 0


def test_it_says_that_it_went_on_and_since_when(quiet: App, crm: PlanhatSimulator):
    cut(quiet, crm)
    result = reconcile(quiet, NAME)
    assert any("records were read before the last run was cut off" in note for note in result.summary.notes)
    assert result.summary.read == result.summary.unchanged >= 40


def test_no_session_is_held_while_the_source_is_read(open_world: Callable[..., App], crm: PlanhatSimulator):
    app = open_world(crm)
    pull(app, NAME)
    publish(app)
    held: list[int] = []
    inner = crm.transport()

    def watched(request: httpx.Request) -> httpx.Response:
        if app.store.engine.dialect.name == "postgresql":
            with app.store.read() as tx:
                laid = "SELECT count(*) FROM pg_class WHERE relname IN ('source_side', 'ledger_side')"
                held.append(tx.execute(text(laid)).scalar_one())
        return inner.handle_request(request)

    app.transports = {NAME: httpx.MockTransport(watched)}
    assert reconcile(app, NAME).summary.clean
    assert set(held) <= {0}
