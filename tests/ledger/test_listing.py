"""Listing: every deal is shown once, whatever changes, comes or is hidden while the list is read."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import listing
from ledger.listing import every_deal
from ledger.port import LedgerUnavailable
from ledger.wire import DealsPage, Listed, Pagination

MOST = 4


class Changing:
    """A ledger's list, what changed last first. `meanwhile` is called before each page, with its number from 1."""

    def __init__(self, deals: int, *, ticks: int = 1) -> None:
        self._clock, self._ticks = count(), ticks
        self.rows: list[Listed] = []
        self.meanwhile: Callable[[int], object] = lambda page: None
        self.pages = 0
        for number in range(deals):
            self.touch(f"d{number}")

    def touch(self, name: str) -> None:
        """A deal is new, or changes."""
        self.hide(name)
        at = f"2026-04-22T10:15:30.{next(self._clock) // self._ticks:06}Z"
        self.rows.insert(0, Listed(name, f"crm:{name}", {}, at, at))

    def hide(self, name: str) -> None:
        """A deal is listed no more."""
        self.rows = [row for row in self.rows if row.id != name]

    def page_at(self, offset: int) -> DealsPage:
        self.pages += 1
        self.meanwhile(self.pages)
        shown = self.rows[offset : offset + MOST]
        return DealsPage(shown, Pagination(offset + MOST if len(shown) == MOST else None))

    def listed(self) -> list[str]:
        return [deal.id for deal in every_deal(self.page_at)]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "PAGE", MOST)


@pytest.mark.parametrize("deals", [0, 1, 3, 4, 5, 8, 9, 40])
def test_a_list_that_rests_is_read_once_and_its_front_looked_at_again(deals: int):
    ledger = Changing(deals)
    assert ledger.listed() == [f"d{number}" for number in reversed(range(deals))]
    assert ledger.pages == (1 if deals < MOST else (deals - 1) // (MOST - 1) + 2)


@pytest.mark.parametrize("ticks", [1, 1000], ids=["one after another", "at the same time"])
def test_what_is_missed_is_found_behind_more_known_deals_than_a_page_shows(ticks: int):
    ledger = Changing(40, ticks=ticks)

    def change(page: int) -> None:
        if page == 5:  # thirteen have been read by then
            for name in ("d0", *(f"d{number}" for number in range(31, 40))):
                ledger.touch(name)

    ledger.meanwhile = change
    assert Counter(ledger.listed()) == Counter(f"d{number}" for number in range(40))


def test_what_is_missed_and_changes_again_while_it_is_looked_for_is_found_all_the_same():
    ledger = Changing(12)

    def change(page: int) -> None:
        if page in (2, 6, 8):
            for number in range(8, 12):
                ledger.touch("d0")
                ledger.touch(f"d{number}")

    ledger.meanwhile = change
    assert Counter(ledger.listed()) == Counter(f"d{number}" for number in range(12))


def test_what_a_hidden_deal_draws_forward_is_gone_back_for():
    ledger = Changing(14)
    ledger.meanwhile = lambda page: [ledger.hide(f"d{13 - number}") for number in range(6)] if page == 3 else None
    assert {f"d{number}" for number in range(8)} <= set(ledger.listed())


def test_deals_that_changed_at_one_time_end_the_reading_too():
    ledger = Changing(30, ticks=1000)
    assert Counter(ledger.listed()) == Counter(f"d{number}" for number in range(30))


def test_a_list_by_age_misses_no_deal_that_is_new():
    ledger = Changing(40)

    def grow(page: int) -> None:
        if page == 9:
            at, old = ledger.rows[0].updated_at, ledger.rows[-1]
            new = [Listed(f"n{number}", f"crm:n{number}", {}, at, at) for number in range(7)]
            changed = Listed("n7", "crm:n7", {}, old.last_event_at, old.updated_at)
            ledger.rows = [*new[:2], changed, *new[2:], *ledger.rows]

    ledger.meanwhile = grow
    assert {f"n{number}" for number in range(8)} <= set(ledger.listed())


def test_a_list_in_which_something_always_changes_has_an_end():
    ledger = Changing(40)
    ledger.meanwhile = lambda page: ledger.touch(ledger.rows[-1].id)
    assert Counter(ledger.listed()) == Counter(f"d{number}" for number in range(40))


def test_a_list_that_never_rests_is_not_read_for_ever():
    ledger = Changing(9)

    def change(page: int) -> None:
        for _ in range(9):
            ledger.touch(ledger.rows[-1].id)

    ledger.meanwhile = change
    with pytest.raises(LedgerUnavailable, match="faster"):
        ledger.listed()


changes = st.dictionaries(
    st.integers(1, 25), st.lists(st.tuples(st.sampled_from(["touch", "hide"]), st.integers(0, 25)), max_size=9)
)


@settings(deadline=None, derandomize=True, max_examples=400)
@given(deals=st.integers(0, 20), plan=changes)
def test_whatever_changes_meanwhile_no_deal_is_missed_and_none_comes_twice(
    deals: int, plan: dict[int, list[tuple[str, int]]]
):
    ledger, hidden = Changing(deals), set()

    def change(page: int) -> None:
        for what, number in plan.get(page, ()):
            if what == "hide":
                hidden.add(f"d{number}")
            elif f"d{number}" in {row.id for row in ledger.rows}:
                ledger.touch(f"d{number}")
                continue
            ledger.hide(f"d{number}")

    ledger.meanwhile = change
    found = Counter(ledger.listed())
    assert {f"d{number}" for number in range(deals)} - hidden <= found.keys()
    assert set(found.values()) <= {1}


def test_a_full_disk_is_an_outage_that_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    opened = sqlite3.connect

    def full(*where: Any, **how: Any) -> sqlite3.Connection:
        file = opened(*where, **how)
        file.execute("PRAGMA max_page_count = 2")
        return file

    monkeypatch.setattr("ledger.listing.sqlite3.connect", full)
    with pytest.raises(LedgerUnavailable, match="SQLITE_TMPDIR"):
        Changing(2000).listed()
