"""Compare: what the sides of one deal come to."""

from __future__ import annotations

from typing import Any

import pytest

from deals.identity import canonical, decode_json
from deals.state import from_wire
from pipeline.compare import Believed, Difference, Light, Pending, Read, Sight, face, flat, is_tombstone, judge, sound

T0, T1, T2, T3 = (f"2026-05-0{day}T10:00:00.000Z" for day in (1, 2, 3, 4))
LIGHT = Light(since=T2, started_at=T2, witness=True)


def state(amount: int | None = 100, **more: Any) -> str:
    plain = {"amount_cents": amount, "stage": "open", "close_date": "2026-03-31", "owner_external_id": "o"}
    return canonical({**plain, **more}).decode()


def sight(
    source: str | None, projection: str | None, ledger: str | None, *, version: str = T0, held: Any = None, **more: Any
) -> Sight:
    read = None if source is None else Read(source, version, T2)
    believed = None if projection is None else Believed(True, projection, T0, T1)
    if believed is not None and held:
        believed = believed._replace(**held)
    return Sight("x", read, believed, ledger, **more)


A, B, C = state(100), state(250), state(7)


def test_three_that_agree_need_nobody():
    assert judge(sight(A, A, A), LIGHT) is None
    assert judge(sight(None, None, None), LIGHT) is None


@pytest.mark.parametrize(
    ("seen", "kind", "where", "delta", "remedy"),
    [
        (sight(A, A, B), "differs", "ledger", 150, "tell"),
        (sight(A, A, None), "missing", "ledger", -100, "tell"),
        (sight(A, None, None), "missing", "both", -100, "land"),
        (sight(A, B, B), "differs", "both", 150, "land"),
        (sight(A, B, C), "differs", "both", -93, "land"),
        (sight(A, B, A), "differs", "projection", 0, "land"),
        (sight(None, A, A), "extra", "both", 100, None),
        (sight(None, None, A), "extra", "ledger", 100, None),
        (sight(None, A, A, held={"alive": False}), "extra", "ledger", 100, "tell"),
        (sight(None, A, None), "differs", "projection", 0, None),
    ],
)
def test_what_differs_is_named_with_the_money_and_what_mends_it(
    seen: Sight, kind: str, where: str, delta: int, remedy: str | None
):
    found = judge(seen, LIGHT)
    assert isinstance(found, Difference)
    assert (found.kind, found.where, found.delta_cents, found.remedy) == (kind, where, delta, remedy)


def test_the_sources_own_word_that_a_deal_is_gone_may_be_landed():
    gone = sight(None, A, A)._replace(source=Read(None, T0, T2, deleted=True))
    found = judge(gone, LIGHT)
    assert isinstance(found, Difference)
    assert (found.kind, found.remedy) == ("extra", "land")


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (sight(A, B, B, held={"waits": True}), "waiting"),
        (sight(A, A, B, held={"waits": True}), "waiting"),
        (sight(A, A, B, held={"moved": True}), "moving"),
        (sight(A, B, B, held={"observed_at": T3}), "moving"),
        (sight(None, A, A, held={"observed_at": T3}), "moving"),
        (sight(A, B, B, held={"hinted": True}), "unread"),
        (sight(A, B, B, held={"remap": True}), "unread"),
        (sight(A, B, B, version=T3), "unread"),
        (sight(A, None, None, version=T3), "unread"),
        (sight(A, B, B, parked=True), "parked"),
        (sight(A, B, B)._replace(source=Read(None, T0, T2, readable=False)), "parked"),
    ],
)
def test_what_will_pass_by_itself_is_no_difference(seen: Sight, why: str):
    assert judge(seen, LIGHT) == Pending(why)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "seen",
    [
        sight(A, A, B, version=T3),  # the change was pulled: the ledger has no excuse
        sight(A, A, B, held={"hinted": True}),
        sight(A, B, B, version=T3, held={"version": T3}),  # a pull has seen this version, and another state of it
        sight(A, B, B, version="0000009"),  # a count says nothing about when
    ],
)
def test_an_excuse_holds_only_for_what_it_excuses(seen: Sight):
    assert isinstance(judge(seen, LIGHT), Difference)


def test_a_doubtful_read_proves_no_extra_but_everything_else():
    doubtful = Light(since=T2, started_at=T2, witness=False)
    assert judge(sight(None, A, A), doubtful) == Pending("unwitnessed")
    assert judge(sight(None, None, A), doubtful) == Pending("unwitnessed")
    assert isinstance(judge(sight(None, A, A, held={"alive": False}), doubtful), Difference)
    assert isinstance(judge(sight(A, A, B), doubtful), Difference)


def test_a_record_put_aside_by_a_person_is_missed_by_nobody():
    aside = Sight("x", Read(None, T0, T2, readable=False), None, None, discarded=True)
    assert judge(aside, LIGHT) is None
    assert judge(aside._replace(ledger=A), LIGHT) == Pending("parked")


def test_fields_are_named_standard_ones_first_and_null_is_not_absent():
    found = judge(sight(state(1, zeta=1, alpha=None), *2 * (state(2, zeta=2),)), LIGHT)
    assert isinstance(found, Difference)
    assert found.fields == ("amount_cents", "alpha", "zeta")


def test_true_and_one_are_not_the_same():
    assert isinstance(judge(sight(state(1, flag=True), *2 * (state(1, flag=1),)), LIGHT), Difference)


def test_the_ledgers_form_of_a_state_is_read_back_as_it_was_sent():
    sent = state(5, currency="USD", share=None, rate=1)
    listed = {"amount_cents": 5, "stage": "open", "close_date": "2026-03-31", "owner_external_id": "o"}
    listed["custom"] = {"rate": 1, "share": None, "currency": "USD"}
    assert flat(listed) == sent
    assert flat({**listed, "custom": None}) == state(5)
    assert flat({**listed, "added_by_a_later_version": 1}) == sent


def test_a_tombstone_is_known_by_its_mark_only():
    assert is_tombstone({"amount_cents": 0, "custom": {"deleted": True}})
    assert not is_tombstone({"amount_cents": 0, "custom": {"deleted": "yes"}})
    assert not is_tombstone({"amount_cents": 0, "custom": {}})


@pytest.mark.parametrize("odd", [{"close_date": "2026-03-31T00:00:00.000Z"}, {"close_date": 7}, {"long": 10**61}])
def test_what_nobody_can_read_of_the_ledger_is_left_out_and_the_rest_is_kept(odd: dict[str, Any]):
    kept = sound(state(5, **odd))
    read = from_wire(decode_json(kept))
    assert read.amount_cents == 5
    assert next(iter(odd)) == "close_date" or "long" not in read.custom
    assert sound(state(5)) == state(5)


def test_a_state_is_counted_under_what_it_has_and_no_more():
    assert face({"close_date": "2026-03-31", "amount_cents": 5, "stage": "won"}, "EUR") == (
        "2026-03", "EUR", "won", "", 5,
    )  # fmt: skip
    assert face({"close_date": "soon", "amount_cents": 1.5, "stage": 4, "currency": "JPY"}, "EUR") == (
        "", "JPY", "", "", None,
    )  # fmt: skip
