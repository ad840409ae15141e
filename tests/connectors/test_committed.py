"""What a source commits comes back from the store as it was, and what is not its own is known."""

from __future__ import annotations

import json

import msgspec
import pytest

from connectors.committed import Committed


class Walk(msgspec.Struct, frozen=True, omit_defaults=True):
    """A read under way."""

    offset: int = 0
    doubts: tuple[str, ...] = ()


class State(Committed, frozen=True):
    """A source's state."""

    watermark: str | None = None
    walk: Walk | None = None
    missing: tuple[str, ...] = ()


EMPTY = State()
BUSY = State(watermark="2026-03-02T08:00:00.000Z", walk=Walk(3, ("short",)), missing=("owner", "stage"))


@pytest.mark.parametrize("state", [EMPTY, BUSY])
def test_the_cursor_in_hand_equals_the_one_that_comes_back_from_the_store(state: State):
    cursor = state.cursor()
    assert json.loads(json.dumps(cursor)) == cursor
    assert State.read(cursor) == state


def test_what_was_never_set_is_not_written_down():
    assert EMPTY.cursor() == {}
    assert State.read({}) == State.read(None) == EMPTY


@pytest.mark.parametrize("cursor", [{"offset": 3}, {"watermark": 3}, {"walk": []}, {"walk": {"offset": None}}])
def test_a_cursor_of_another_version_or_a_damaged_one_is_none(cursor: dict[str, object]):
    assert State.read(cursor) is None
