"""What people do in the simulated app shows in its API, and moves `updatedAt` as the contract says."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from connectors.simulation import SimClock


@pytest.fixture
def made(tenant):
    return tenant()


@pytest.fixture
def deal(made):
    return made.ids()[5]


def test_an_edit_changes_the_fields_and_moves_updated_at(made, deal):
    before = made.get(deal)
    made.edit(deal, stage="Closed Won", total=Decimal("100.50"))
    after = made.read(f"/deals/{deal}")
    assert after == before | {"stage": "Closed Won", "total": Decimal("100.50"), "updatedAt": made.clock.text()}
    assert made.list_ids(sort="-updatedAt")[0] == deal


def test_arr_follows_mrr_and_custom_fields_are_merged(made, deal):
    custom = made.get(deal)["custom"]
    made.edit(deal, mrr=Decimal("1250.10"), custom={"Region": "EMEA"})
    after = made.get(deal)
    assert (after["mrr"], after["arr"]) == (Decimal("1250.10"), Decimal("15001.2"))
    assert after["custom"] == custom | {"Region": "EMEA"}


def test_two_edits_differ_in_time_unless_the_clock_is_coarse(tenant, made):
    coarse = tenant(clock=SimClock(tick=timedelta()))
    for one, distinct in ((made, 2), (coarse, 1)):
        for deal in one.ids()[:2]:
            one.touch(deal)
        assert len({one.get(deal)["updatedAt"] for deal in one.ids()[:2]}) == distinct


def test_a_touch_moves_updated_at_and_nothing_else(made, deal):
    before = made.get(deal)
    made.touch(deal)
    assert made.get(deal) == before | {"updatedAt": made.clock.text()} != before


def test_a_silent_change_leaves_updated_at_alone(made, deal):
    before = made.get(deal)
    made.silent(deal, total=1)
    assert made.read(f"/deals/{deal}") == before | {"total": 1} != before


def test_a_dropped_key_is_absent_and_not_null(made, deal):
    made.drop(deal, "ownerId", "closeDate")
    assert not {"ownerId", "closeDate"} & made.read(f"/deals/{deal}").keys()


def test_a_deleted_deal_disappears_from_list_and_get_one(made, deal):
    made.delete(deal)
    assert deal not in made.list_ids()
    assert made.ask("GET", f"/deals/{deal}").status_code == 404
    with pytest.raises(KeyError):
        made.get(deal)


@pytest.mark.parametrize("moves", [False, True])
def test_a_restored_deal_is_the_same_and_its_updated_at_may_move(made, deal, moves):
    before = made.get(deal)
    made.delete(deal)
    made.clock.advance(timedelta(days=6))
    made.restore(deal, move_updated_at=moves)
    after = made.read(f"/deals/{deal}")
    assert after == before | {"updatedAt": made.clock.text() if moves else before["updatedAt"]}


def test_the_trash_is_emptied_after_seven_days(made, deal):
    made.delete(deal)
    made.clock.advance(timedelta(days=7, seconds=1))
    with pytest.raises(KeyError, match="trash"):
        made.restore(deal)
    assert deal not in made.ids()


def test_a_company_takes_its_deals_along(made, deal):
    company = made.get(deal)["companyId"]
    theirs = {one["_id"] for one in made.truth() if one["companyId"] == company}
    made.delete_company(company)
    assert set(made.ids()).isdisjoint(theirs)
    assert len(made.ids()) == 20 - len(theirs)
    assert made.ask("GET", f"/companies/{company}").status_code == 404
    made.restore(deal)
    assert deal in made.list_ids()


def test_a_created_deal_has_what_it_was_given_and_the_time_of_the_clock(made):
    deal = made.create(name="Big one", total=7, stage="Closed Lost")
    got = made.read(f"/deals/{deal}")
    assert (got["name"], got["total"], got["stage"]) == ("Big one", 7, "Closed Lost")
    assert got["createdAt"] == got["updatedAt"] == made.clock.text()
    assert made.ids()[-1] == deal


@pytest.mark.parametrize("moves", [False, True])
def test_a_renamed_stage_changes_every_deal_in_it(made, moves):
    old = {one["_id"] for one in made.truth() if one["stage"] == "Negotiation"}
    before = made.clock.text()
    made.rename_stage("Negotiation", "Verhandlung", move_updated_at=moves)
    renamed = [one for one in made.truth() if one["stage"] == "Verhandlung"]
    assert {one["_id"] for one in renamed} == old
    assert all((one["updatedAt"] > before) is moves for one in renamed)


def test_raw_bytes_are_served_as_they_are_until_mended(made, deal):
    good = made.served(deal)
    bad = good.replace(b'"total":', b'"total":NaN,"total":')
    made.raw(deal, bad)
    assert bad in made.ask("GET", "/deals?select=stage").content
    assert made.ask("GET", f"/deals/{deal}").content == bad
    made.mend(deal)
    assert made.served(deal) == good


def test_a_late_commit_is_stamped_before_it_is_seen(made, deal):
    made.switches.late_commit_s = 180
    made.edit(deal, total=5)
    stamp = made.get(deal)["updatedAt"]
    new = made.create()
    made.clock.advance(179)
    assert made.read(f"/deals/{deal}")["total"] != 5
    assert new not in made.list_ids()
    made.clock.advance(2)
    assert (made.read(f"/deals/{deal}")["total"], made.read(f"/deals/{deal}")["updatedAt"]) == (5, stamp)
    assert new in made.list_ids()


def test_a_removed_user_still_owns_deals(made):
    owner = next(one["ownerId"] for one in made.truth() if "ownerId" in one)
    made.remove_user(owner)
    assert made.ask("GET", f"/users/{owner}").status_code == 404
    assert any(one.get("ownerId") == owner for one in made.truth())


def test_a_float_is_refused(made, deal):
    with pytest.raises(TypeError, match="Decimal"):
        made.edit(deal, total=0.1)
