"""The simulated Planhat API reads as contracts sections 2 to 13 say, and does what each switch promises."""

from __future__ import annotations

import base64
import json
import re
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_wire import Request, saying
from connectors.simulation import SimClock, asgi, serve

# -- one seed, one tenant


def test_the_same_seed_and_calls_give_the_same_bytes(tenant):
    def story(seed: int) -> list[bytes]:
        made = tenant(seed=seed, missing_currency=0.3, undefined_custom=0.3)
        first = made.ids()[0]
        made.edit(first, stage="Closed Won", total=Decimal("100.50"))
        made.create(name="New")
        made.ask("PUT", "/deals", json=[{"companyId": made.get(first)["companyId"], "externalId": "x"}])
        paths = ("/deals", "/deals?sort=-updatedAt&select=total", "/users", "/companies", "/customfields", "/endusers")
        return [made.ask("GET", path).content for path in paths]

    assert story(7) == story(7) != story(8)


def test_a_deal_looks_like_those_of_the_contract(tenant):
    for deal in tenant(deals=60).truth():
        assert re.fullmatch(r"[0-9a-f]{24}", deal["_id"])
        assert deal["stage"] in ("Negotiation", "Closed Won", "Closed Lost")
        assert deal["currency"] == "USD"
        assert deal["arr"] == deal["mrr"] * 12
        for key in ("createdAt", "updatedAt", "closeDate"):
            assert deal[key] is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", deal[key])
        assert (deal["closeDate"] or "T00:00:00.000Z").endswith("T00:00:00.000Z")
        assert "Discount %" in deal["custom"]
        assert deal["createdAt"] <= deal["updatedAt"] < "2026-03-02T08:00:00.000Z"


def test_some_amounts_have_cents_and_are_plain_json_numbers(tenant):
    made = tenant(deals=60)
    assert any(isinstance(deal["total"], Decimal) for deal in made.truth())
    assert not re.search(rb'"total":[^,]*[eE"]', made.ask("GET", "/deals").content)


def test_ids_grow_with_time(tenant):
    made = tenant()
    by_id = made.read("/deals", sort="_id")
    assert [row["createdAt"] for row in by_id] == sorted(row["createdAt"] for row in by_id)
    assert made.create() > by_id[-1]["_id"]


def test_truth_is_what_get_one_answers(tenant):
    made = tenant()
    made.raw(made.ids()[3], b"{}")
    truth = list(made.truth())
    assert len(truth) == 19
    assert [made.read(f"/deals/{deal['_id']}") for deal in truth] == truth


# -- address and token


def test_the_token_is_taken_as_bearer_or_basic_with_its_colon(tenant):
    def status(authorization: str) -> int:
        return made.client(headers={"Authorization": authorization}).get("/deals").status_code

    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    made = tenant()
    assert status("Bearer sandbox") == status(basic("sandbox:")) == 200
    assert status("Bearer wrong") == status(basic("sandbox")) == status("sandbox") == 401


def test_the_right_token_is_unknown_on_the_wrong_cluster(tenant):
    made = tenant(host="api-eu.planhat.com")
    assert made.client(base_url="https://api-eu.planhat.com").get("/deals").status_code == 200
    assert made.client(base_url="https://api-us3.planhat.com").get("/deals").status_code == 401


# -- lists


def test_a_list_is_a_bare_array_of_a_hundred_by_default(tenant):
    made = tenant(deals=120)
    assert len(made.read("/deals")) == 100
    assert len(made.read("/deals", limit=7)) == 7
    assert len(made.read("/deals", limit="many")) == 100
    assert made.read("/deals", offset=120) == []
    assert len(tenant(deals=120, default_limit=30).read("/deals")) == 30


@pytest.mark.parametrize(("switches", "status", "rows"), [
    ({"max_limit": 5}, 200, 5),
    ({"max_limit": 5, "over_limit": "refuse"}, 400, None),
    ({}, 200, 20),
])  # fmt: skip
def test_a_limit_above_the_maximum_is_clamped_or_refused(tenant, switches, status, rows):
    answer = tenant(**switches).ask("GET", "/deals", params={"limit": 6000})
    assert answer.status_code == status
    assert rows is None or len(answer.json()) == rows


def test_offset_pages_follow_each_other(tenant):
    made = tenant()
    pages = [made.list_ids(sort="_id", limit=6, offset=offset) for offset in (0, 6, 12, 18)]
    assert [one for page in pages for one in page] == made.ids()


@pytest.mark.parametrize("sort", ["updatedAt", "-updatedAt", "total", "-stage", "name"])
def test_a_list_is_sorted_by_any_property(tenant, sort):
    key = sort.removeprefix("-")
    values = [row[key] for row in tenant().read("/deals", sort=sort)]
    assert values == sorted(values, reverse=sort.startswith("-"))


def test_an_unknown_or_misspelt_sort_is_ignored(tenant):
    made = tenant()
    assert made.list_ids(sort="UpdatedAt") == made.list_ids(sort="nonsense") == made.list_ids() != made.ids()


def test_select_keeps_the_named_properties_and_the_id(tenant):
    assert {tuple(row) for row in tenant().read("/deals", select="stage,updatedAt,nonsense")} == {
        ("_id", "stage", "updatedAt")
    }


def test_deals_of_some_companies_can_be_asked_for(tenant):
    made = tenant()
    one, other = sorted({deal["companyId"] for deal in made.truth()})[:2]
    assert {row["companyId"] for row in made.read("/deals", companyId=one)} == {one}
    assert {row["companyId"] for row in made.read("/deals", companyId=f"{one},{other}")} == {one, other}


def test_unknown_filters_are_ignored_unless_they_are_refused(tenant):
    assert len(tenant().read("/deals", stage="Closed Won", updatedSince="2026-01-01")) == 20
    assert tenant(refuse_unknown_params=True).ask("GET", "/deals?stage=x").status_code == 400
    assert tenant(refuse_unknown_params=True).ask("GET", "/deals?limit=3").status_code == 200


@pytest.mark.parametrize(("param", "query"), [
    ("sort", {"sort": "_id"}), ("offset", {"offset": 5}), ("limit", {"limit": 3}), ("select", {"select": "stage"}),
])  # fmt: skip
def test_a_server_may_pay_no_heed_to_a_parameter(tenant, param, query):
    heeded, deaf = tenant(), tenant(ignored_params=frozenset({param}))
    assert heeded.read("/deals", **query) != heeded.read("/deals")
    assert deaf.read("/deals", **query) == deaf.read("/deals")


@pytest.mark.parametrize(("thin", "plain", "selected"), [
    ("never", True, True), ("unselected", False, True), ("always", False, False),
])  # fmt: skip
def test_list_rows_may_be_thinner_than_get_one(tenant, thin, plain, selected):
    made = tenant(thin_rows=thin)
    assert all(("custom" in row) is plain for row in made.read("/deals"))
    assert all(("custom" in row) is selected for row in made.read("/deals", select="custom,stage"))
    assert "custom" in made.read(f"/deals/{made.ids()[0]}")


def test_rows_move_between_pages_when_the_tenant_changes_there(tenant):
    made = tenant()
    ids = made.ids()
    made.before_list = lambda request: made.delete(ids[0]) if request.query["offset"] == "10" else None
    first, second = (made.list_ids(sort="_id", limit=10, offset=offset) for offset in (0, 10))
    assert first == ids[:10]
    assert second == ids[11:]  # the eleventh slipped to the left and is on neither page


def test_a_page_is_remembered_until_something_changes(tenant):
    made = tenant()
    request = Request.to("GET", "/deals?sort=_id&select=stage", {"authorization": "Bearer sandbox"})
    body = made.answer(request).body
    assert made.answer(request).body is body
    made.edit(made.ids()[0], stage="Proposal")
    assert made.answer(request).body != body


def test_an_empty_page_may_come_too_early(tenant):
    made = tenant()
    made.faults.next(saying(b"[]"))
    assert (made.list_ids(), len(made.list_ids())) == ([], 20)


# -- one


def test_one_deal_is_asked_for_by_any_of_its_keys(tenant):
    made = tenant()
    deal_id = made.create(externalId="a/b c", sourceId="006é")
    deal = made.get(deal_id)
    assert made.read(f"/deals/{deal_id}") == deal
    assert made.read("/deals/extid-a%2Fb%20c") == made.read("/deals/srcid-006%C3%A9") == deal


def test_an_unencoded_slash_is_another_route_and_other_prefixes_are_no_keys(tenant):
    made = tenant()
    made.create(externalId="a/b")
    for path in ("/deals/extid-a/b", "/deals/ext-a%2Fb", "/deals/src-x", "/nothing"):
        assert made.ask("GET", path).status_code == 404


@pytest.mark.parametrize(("style", "status", "body"), [
    ("404", 404, {"error": "Deal not found"}), ("400", 400, {"error": "Deal not found"}),
    ("null", 200, None), ("{}", 200, {}),
])  # fmt: skip
def test_an_unknown_id_is_answered_in_several_ways(tenant, style, status, body):
    answer = tenant(not_found=style).ask("GET", "/deals/" + "0" * 24)
    assert (answer.status_code, answer.json()) == (status, body)


def test_an_empty_id_falls_through_to_the_list(tenant):
    assert len(tenant().read("/deals/")) == 20
    assert tenant(empty_id_falls_through=False).ask("GET", "/deals/").status_code == 404


# -- rights, models, errors, limits


def test_errors_are_objects_or_plain_text(tenant):
    assert tenant().ask("GET", "/deals/x").json() == {"error": "Deal not found"}
    answer = tenant(string_errors=True).ask("GET", "/deals/x")
    assert (answer.status_code, answer.text) == (404, "Deal not found")
    assert answer.headers["content-type"].startswith("text/plain")


def test_an_app_without_rights_is_refused_or_shown_less(tenant):
    assert tenant(forbidden=True).ask("GET", "/deals").status_code == 403
    made = tenant()
    secret = made.ids()[4]
    made.switches.hidden = frozenset({secret})
    assert secret not in made.list_ids()
    assert secret not in {deal["_id"] for deal in made.truth()}
    assert made.ask("GET", f"/deals/{secret}").status_code == 403


@pytest.mark.parametrize(("absent", "status"), [("403", 403), ("404", 404), ("empty", 200)])
def test_a_tenant_without_the_deal_model_answers_one_of_three_ways(tenant, absent, status):
    made = tenant(no_deal_model=absent)
    answer = made.ask("GET", "/deals")
    assert answer.status_code == status
    assert absent != "empty" or answer.json() == []
    assert made.ask("GET", f"/deals/{made.ids()[0]}").status_code == (403 if absent == "403" else 404)


def test_a_tenant_on_opportunities_has_their_words_and_an_underscored_currency(tenant):
    made = tenant(model="opportunities")
    rows = made.read("/opportunities", sort="-updatedAt", select="status,salesStage,_currency,title")
    assert {row["status"] for row in rows} == {"active", "won", "lost"}
    assert all(row["_currency"] == "USD" and row["salesStage"] == "Negotiation" and row["title"] for row in rows)
    assert all("currency" not in row and "stage" not in row for row in made.read("/opportunities"))
    assert made.ask("GET", "/deals").status_code == 404
    assert tenant().read("/opportunities") == []


def test_the_quota_counts_simulated_minutes(tenant):
    made = tenant(requests_per_minute=3)
    assert [made.ask("GET", "/users").status_code for _ in range(4)] == [200, 200, 200, 429]
    made.clock.advance(60)
    assert made.ask("GET", "/users").status_code == 200


@pytest.mark.parametrize(("style", "headers"), [
    ("none", {}),
    ("x-rate-limit", {"x-rate-limit-limit": "0", "x-rate-limit-remaining": "0"}),
    ("retry-after", {"retry-after": "50"}),
])  # fmt: skip
def test_a_429_comes_with_headers_or_without(tenant, style, headers):
    made = tenant(requests_per_minute=0, rate_headers=style)
    made.clock.advance(10)
    got = made.ask("GET", "/deals").headers
    names = ("retry-after", "x-rate-limit-limit", "x-rate-limit-remaining")
    assert {name: got[name] for name in names if name in got} == headers


# -- records


def test_currencies_are_missing_or_foreign_when_switched(tenant):
    missing = [deal.get("currency") for deal in tenant(deals=200, missing_currency=0.25).truth()]
    assert 25 < missing.count(None) < 75
    foreign = [deal["currency"] for deal in tenant(deals=200, foreign_currency=0.25).truth()]
    assert 25 < 200 - foreign.count("USD") < 75


def test_a_custom_value_may_be_the_text_undefined(tenant):
    def undefined(**switches) -> int:
        return sum(deal["custom"]["Lead Source"] == "undefined" for deal in tenant(deals=200, **switches).truth())

    assert undefined() == 0
    assert 25 < undefined(undefined_custom=0.25) < 75


def test_custom_days_are_integers_or_iso_text(tenant):
    def day(**switches):
        return next(tenant(**switches).truth())["custom"]["Kick-off day"]

    moment = timedelta(days=day())
    iso = day(day_as="iso")
    assert iso.endswith("T00:00:00.000Z")
    assert (SimClock().now.replace(year=1970, month=1, day=1) + moment).date().isoformat() == iso[:10]


# -- the neighbours


def test_one_owner_is_inactive_and_still_owns_deals(tenant):
    made = tenant(deals=100)
    inactive = [user for user in made.read("/users") if user["inactive"]]
    assert len(inactive) == 1
    assert any(deal.get("ownerId") == inactive[0]["_id"] for deal in made.truth())
    assert made.read(f"/users/{inactive[0]['_id']}") == inactive[0]


def test_a_companys_owner_is_an_object_in_the_list_and_an_id_alone(tenant):
    made = tenant()
    listed = made.read("/companies", sort="_id")[0]
    alone = made.read(f"/companies/extid-{listed['externalId']}")
    assert alone == listed | {"owner": listed["owner"]["_id"]}


def test_lean_companies_are_filtered_exactly(tenant):
    made = tenant()
    company = made.read("/companies")[0]
    lean = made.read("/leancompanies", externalId=company["externalId"])
    assert lean == [{key: company[key] for key in ("_id", "name", "externalId", "sourceId")}]
    assert made.read("/leancompanies", status="lost") == []
    assert len(made.read("/leancompanies", status="customer")) == len(made.read("/companies"))


def test_custom_fields_are_defined_under_their_labels(tenant):
    made = tenant()
    definitions = made.read("/customfields", limit=2000)
    assert {one["parent"] for one in definitions} == {"Deal"}
    assert {one["name"] for one in definitions} == set(next(made.truth())["custom"])
    assert made.read("/customfields", limit=2) == made.read("/customfields")[:2]


def test_archived_contacts_vanish_from_their_list(tenant):
    made = tenant(deals=50)
    people = made.read("/endusers")
    assert len(people) == 8  # of ten
    assert made.read("/endusers", email=people[0]["email"]) == [people[0]]
    assert made.read("/endusers", companyId=people[1]["companyId"]) == [people[1]]


def test_line_items_name_their_deal_and_the_deals_amounts_follow_them(tenant):
    made = tenant()
    deal = made.ids()[0]
    item = made.attach_line_item(deal, mrr=100, value=1200)
    assert [(row["_id"], row["dealId"], row["mrr"]) for row in made.read("/lineitems")] == [(item, deal, 100)]
    after = made.get(deal)
    assert (after["mrr"], after["arr"], after["total"], after["subscriptionsCount"]) == (100, 1200, 1200, 1)


def test_the_whole_api_answers_over_a_socket():
    with serve(asgi(PlanhatSimulator(deals=3))) as url:
        answer = httpx.get(f"{url}/deals?sort=_id", headers={"Authorization": "Bearer sandbox"})
        assert len(json.loads(answer.content)) == 3
        assert httpx.get(f"{url}/deals").status_code == 401
