"""Status: a look at how everything is doing waits for nobody, and tells what passes by itself from what does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.budget import Budget
from ledger.remote import RemoteLedger
from pipeline.status import status
from pipeline.wiring import App
from tests.ledger.shaky import KEY, Shaky


@pytest.fixture
def budget(app: App, monkeypatch: pytest.MonkeyPatch) -> Iterator[Budget]:
    """The budget of the ledger that the app uses, which is elsewhere."""
    budget = Budget()
    app.ledger = RemoteLedger("https://ledger.example/v1", KEY, transport=Shaky(), budget=budget)
    monkeypatch.setattr("ledger.remote.time.sleep", lambda _: pytest.fail("somebody was made to wait"))
    yield budget
    app.ledger.close()


def test_a_minute_whose_requests_are_used_up_is_no_trouble_of_the_ledger(app: App, budget: Budget):
    budget.hold(40)
    ledger = status(app)["ledger"]
    assert ledger["ok"] is True
    assert "for another 40 s" in ledger["message"]


def test_a_ledger_that_takes_nothing_for_an_hour_is_told_of(app: App, budget: Budget):
    budget.hold(3600)
    ledger = status(app)["ledger"]
    assert ledger["ok"] is False
    assert "for another 3,600 s" in ledger["message"]
