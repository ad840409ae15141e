"""The simulated API writes as contract section 6 says: partial updates, bulk envelopes, and answers that mislead."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from connectors.simulated_wire import lost_answer


@pytest.fixture
def made(tenant):
    return tenant()


def company(made) -> str:
    return next(made.truth())["companyId"]


def error(answer) -> Any:
    assert answer.status_code >= 400
    return answer.json()["error"]


# -- create


def test_a_created_deal_is_answered_in_full(made):
    sent = {
        "companyId": "extid-acct-1",
        "name": "Renewal",
        "mrr": 1250,
        "closeDate": "2026-11-30",
        "arr": 1,
        "_id": "x",
    }
    answer = made.ask("POST", "/deals", json=sent)
    deal = answer.json()
    assert answer.status_code == 200
    assert deal == made.read(f"/deals/{deal['_id']}")
    assert (deal["arr"], deal["closeDate"], deal["custom"]) == (15000, "2026-11-30T00:00:00.000Z", {})
    assert deal["companyName"] == made.read("/companies/extid-acct-1")["name"]
    assert made.ids()[-1] == deal["_id"]


def test_a_create_may_answer_201(tenant):
    made = tenant(created_status=201)
    assert made.ask("POST", "/deals", json={"companyId": company(made)}).status_code == 201


@pytest.mark.parametrize(("fields", "message"), [
    ({"name": "x"}, "companyId is required"),
    ({"companyId": "nobody"}, "companyId does not exist"),
    ({"companyId": "srcid-001A00000000000", "mrr": "12"}, "mrr must be a number"),
    ([], "an object is required"),
])  # fmt: skip
def test_a_create_that_cannot_be_is_a_400(made, fields, message):
    assert error(made.ask("POST", "/deals", json=fields)) == message


def test_a_body_that_is_not_json_is_a_400(made):
    assert error(made.ask("POST", "/deals", content=b"{")) == "the body is not JSON"


def test_a_create_repeated_after_a_lost_answer_makes_a_twin(made):
    made.faults.next(lost_answer())
    fields = {"companyId": company(made), "name": "Twin"}
    with pytest.raises(httpx.ReadError):
        made.ask("POST", "/deals", json=fields)
    made.ask("POST", "/deals", json=fields)
    assert sum(deal["name"] == "Twin" for deal in made.truth()) == 2


# -- update one


def test_an_update_is_partial_and_its_answer_reduced(made):
    deal = made.ids()[0]
    before = made.get(deal)
    answer = made.ask("PUT", f"/deals/{deal}", json={"stage": "Closed Won", "custom": {"Region": "EMEA"}}).json()
    assert answer["stage"] == "Closed Won"
    assert not {"ownerId", "custom", "createdAt", "subscriptionsCount"} & answer.keys()
    after = made.get(deal)
    assert after == before | {
        "stage": "Closed Won", "custom": before["custom"] | {"Region": "EMEA"}, "updatedAt": answer["updatedAt"],
    }  # fmt: skip


def test_an_update_may_answer_the_full_record(tenant):
    made = tenant(thin_put=False)
    assert "custom" in made.ask("PUT", f"/deals/{made.ids()[0]}", json={}).json()


def test_an_update_that_changes_nothing_moves_updated_at(made):
    deal = made.ids()[0]
    before = made.get(deal)
    made.ask("PUT", f"/deals/{deal}", json={"stage": before["stage"]})
    assert made.get(deal) == before | {"updatedAt": made.clock.text()} != before


def test_an_id_in_the_body_of_an_update_is_a_400(made):
    deal = made.ids()[0]
    assert error(made.ask("PUT", f"/deals/{deal}", json={"_id": deal})) == "_id cannot be updated"


def test_a_deal_is_updated_by_its_external_id(made):
    deal = made.create(externalId="a/b")
    made.ask("PUT", "/deals/extid-a%2Fb", json={"total": 3})
    assert made.get(deal)["total"] == 3
    assert made.ask("PUT", "/deals/extid-nobody", json={"total": 3}).status_code == 404


@pytest.mark.parametrize(("clears", "comment"), [(True, None), (False, "kept")])
def test_a_null_clears_or_is_ignored(tenant, clears, comment):
    made = tenant(null_clears=clears)
    deal = made.create(comment="kept")
    made.ask("PUT", f"/deals/{deal}", json={"comment": None})
    assert made.get(deal)["comment"] == comment


@pytest.mark.parametrize("merges", [True, False])
def test_custom_is_merged_or_replaced(tenant, merges):
    made = tenant(custom_merges=merges)
    deal = made.ids()[0]
    made.ask("PUT", f"/deals/{deal}", json={"custom": {"Region": "EMEA"}})
    assert (made.get(deal)["custom"] == {"Region": "EMEA"}) is not merges


def test_amounts_of_a_deal_with_line_items_are_not_written(made):
    deal = made.ids()[0]
    made.attach_line_item(deal, mrr=10, value=120)
    made.ask("PUT", f"/deals/{deal}", json={"mrr": 999, "total": 999, "stage": "Closed Won"})
    after = made.get(deal)
    assert (after["mrr"], after["total"], after["stage"]) == (10, 120, "Closed Won")


# -- bulk upsert


def test_a_bulk_upsert_updates_what_it_knows_and_makes_the_rest(made):
    known = made.create(sourceId="S1", externalId="E1", total=1)
    answer = made.ask("PUT", "/deals", json=[
        {"sourceId": "S1", "externalId": "E1", "total": 2},
        {"externalId": "E2", "companyId": company(made)},
        {"_id": known, "total": 2},
    ])  # fmt: skip
    body = answer.json()
    made_id = made.records.find("externalId", "E2")
    assert answer.status_code == 200
    assert body == {
        "created": 1, "createdErrors": [], "insertsKeys": [{"_id": made_id, "externalId": "E2"}],
        "updated": 1, "updatedErrors": [], "updatesKeys": [{"_id": known, "externalId": "E1", "sourceId": "S1"}],
        "nonupdates": 1, "modified": [known], "upsertedIds": [made_id], "permissionErrors": [],
    }  # fmt: skip
    assert made.get(known)["total"] == 2


def test_the_source_id_outranks_the_external_id(made):
    by_source, by_external = made.create(sourceId="S"), made.create(externalId="E")
    answer = made.ask("PUT", "/deals", json=[{"sourceId": "S", "externalId": "E"}])
    assert answer.json()["updatedErrors"] == ["externalId duplicated"]
    made.ask("PUT", "/deals", json=[{"_id": by_external, "sourceId": "S2", "total": 5}])
    made.ask("PUT", "/deals", json=[{"sourceId": "S", "total": 6}])
    assert (made.get(by_external)["total"], made.get(by_source)["total"]) == (5, 6)


def test_a_stale_key_makes_a_new_deal(made):
    made.ask("PUT", "/deals", json=[{"_id": "0" * 24, "name": "Ghost", "companyId": company(made)}])
    assert made.get(made.ids()[-1])["name"] == "Ghost"


BAD = ({"externalId": "no company"}, {"name": "no company either"}, {"companyId": "nobody", "name": "x"})


def test_some_bad_items_are_a_206_with_errors_of_mixed_shapes(made):
    answer = made.ask("PUT", "/deals", json=[*BAD, {"_id": made.ids()[0], "total": 1}])
    assert answer.status_code == 206
    errors = answer.json()["createdErrors"]
    assert errors[0] == "companyId is required"
    assert errors[1] == {"error": "companyId is required", "item": {"name": "no company either"}}
    assert answer.json()["updated"] == 1


@pytest.mark.parametrize(("items", "kind"), [("string", str), ("object", dict)])
def test_errors_of_items_may_all_have_one_shape(tenant, items, kind):
    errors = tenant(error_items=items).ask("PUT", "/deals", json=list(BAD)).json()["createdErrors"]
    assert [type(one) for one in errors] == [kind] * 3


def test_only_bad_items_are_a_400_with_the_envelope(made):
    answer = made.ask("PUT", "/deals", json=list(BAD))
    assert answer.status_code == 400
    assert len(answer.json()["createdErrors"]) == 3


def test_missing_rights_are_a_403_with_the_envelope_while_the_rest_goes_through(made):
    first, second = made.ids()[:2]
    made.switches.unwritable = frozenset({first})
    answer = made.ask("PUT", "/deals", json=[{"_id": first, "total": 1}, {"_id": second, "total": 1}])
    assert answer.status_code == 403
    assert len(answer.json()["permissionErrors"]) == 1
    assert answer.json()["updatesKeys"][0]["_id"] == second
    assert made.ask("PUT", f"/deals/{first}", json={}).status_code == 403
    assert made.ask("DELETE", f"/deals/{first}").status_code == 403


def test_too_many_items_or_too_much_of_a_body_are_turned_away(made):
    assert "at most 5000" in error(made.ask("PUT", "/deals", json=[{}] * 5_001))
    assert made.ask("PUT", "/deals", content=b" " * ((32 << 20) + 1)).status_code == 413


def test_a_bulk_upsert_may_die_half_way_and_leave_what_it_did(tenant):
    made = tenant(bulk_500_after=2)
    answer = made.ask("PUT", "/deals", json=[{"_id": one, "comment": "done"} for one in made.ids()[:4]])
    assert answer.status_code == 500
    assert [made.get(one).get("comment") == "done" for one in made.ids()[:4]] == [True, True, False, False]


def test_a_gateway_may_time_out_after_the_write_was_applied(tenant):
    made = tenant(write_504=True)
    answer = made.ask("PUT", f"/deals/{made.ids()[0]}", json={"total": 77})
    assert (answer.status_code, made.get(made.ids()[0])["total"]) == (504, 77)
    assert made.ask("GET", "/deals").status_code == 200


# -- delete


def test_a_delete_counts_what_it_deleted(made):
    deal = made.ids()[0]
    assert made.ask("DELETE", f"/deals/{deal}").json() == {"n": 1, "ok": 1, "deletedCount": 1}
    assert made.ask("DELETE", f"/deals/{deal}").json() == {"n": 0, "ok": 1, "deletedCount": 0}
    assert deal not in made.ids()


def test_a_delete_knows_no_other_key_than_the_id(made):
    made.create(externalId="E")
    assert made.ask("DELETE", "/deals/extid-E").json()["deletedCount"] == 0
    assert len(made.ids()) == 21


def test_deleting_an_unknown_deal_may_be_a_404(tenant):
    assert tenant(delete_unknown="404").ask("DELETE", "/deals/" + "0" * 24).status_code == 404


@pytest.mark.parametrize(("style", "text"), [("empty", ""), ("text", "OK")])
def test_a_delete_may_answer_no_json(tenant, style, text):
    made = tenant(delete_body=style)
    answer = made.ask("DELETE", f"/deals/{made.ids()[0]}")
    assert (answer.status_code, answer.text) == (200, text)


def test_opportunities_are_written_the_same_way(tenant):
    made = tenant(model="opportunities")
    company_id = company(made)
    new = made.ask(
        "POST", "/opportunities", json={"companyId": company_id, "title": "Legacy", "dealDate": "2026-03-01"}
    )
    assert (new.json()["status"], new.json()["dealDate"]) == ("active", "2026-03-01T00:00:00.000Z")
    changed = made.ask("PUT", f"/opportunities/{new.json()['_id']}", json={"status": "won"}).json()
    assert changed["status"] == "won"
    assert "custom" not in changed
    assert made.ask("POST", "/deals", json={"companyId": company_id}).status_code == 404
