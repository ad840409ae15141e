"""The cursor survives its way through the store, and watermarks do not run ahead."""

from __future__ import annotations

import json

from connectors.paging import Place
from connectors.planhat.cursor import Full, State, newest
from connectors.source import Record

BEGAN = "2026-03-02T08:00:00.000Z"


def record(version: str | None) -> Record:
    return Record("x", version, b"{}", "deals")


def test_a_cursor_comes_back_from_json_as_it_was():
    state = State(
        model="opportunities",
        watermark=BEGAN,
        full=Full(*Place(40, "65f0", False), then=BEGAN, doubts=("the list is empty",)),
        whole="0123",
    )
    assert State.read(json.loads(json.dumps(state.cursor()))) == state
    assert state.full is not None
    assert state.full.place == Place(40, "65f0", False)
    assert State.read(None) == State.read({}) == State()


def test_the_newest_version_not_in_the_future_counts():
    earlier, ahead = "2026-03-02T07:59:59.999Z", "2026-03-02T08:00:00.001Z"
    assert newest([record(earlier), record(ahead), record(None)], BEGAN) == earlier
    assert newest([record(ahead)], BEGAN) == BEGAN
    assert newest([record(None)], BEGAN) is None
    assert newest([], BEGAN) is None
