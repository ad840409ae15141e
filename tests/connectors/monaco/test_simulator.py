"""The simulated Monaco answers as its contract says, and each switch does what it is called."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from connectors.monaco.simulator import TOKEN, MonacoSimulator
from connectors.simulated_crm import SimulatedCrm
from connectors.simulation import SimClock
from tests.connectors.monaco.reading import Organization

BEARER = {"authorization": f"Bearer {TOKEN}"}


def as_promised(made: MonacoSimulator) -> SimulatedCrm:
    """For the type checker: it is a simulated CRM like any other."""
    return made


def ask(made: Organization, method: str, path: str, **options: Any) -> httpx.Response:
    with httpx.Client(transport=made.transport(), base_url="https://api.monaco.com", headers=BEARER) as client:
        return client.request(method, path, **options)


def listed(made: Organization, status: int = 200, **body: Any) -> Any:
    answer = ask(made, "POST", "/v1/opportunities/list", json=body)
    assert answer.status_code == status, answer.text
    return json.loads(answer.content, parse_float=Decimal)


def ids(made: Organization, **body: Any) -> list[str]:
    return [row["id"] for row in listed(made, **body)["data"]]


def rule(field: str, condition: str, value: Any = None) -> dict[str, Any]:
    return {"field": field, "condition": condition, "value": value}


def test_a_list_has_its_defaults_and_its_totals():
    made = Organization(142)
    body = listed(made)
    assert body["pagination"] == {"page": 1, "page_size": 50, "total_count": 142, "total_pages": 3}
    assert body["meta"] == {"timestamp": "2026-03-02T08:00:00Z"}
    created = [row["created_at"] for row in body["data"]]
    assert len(created) == 50
    assert created == sorted(created, reverse=True)
    assert listed(made, page=4)["data"] == []
    assert listed(made, page=3, page_size=50)["data"] != []


@pytest.mark.parametrize("pages", [0, 1])
def test_an_empty_list_has_no_page_or_one(pages: Any):
    told = listed(Organization(0, pages_of_nothing=pages))["pagination"]
    assert told == {"page": 1, "page_size": 50, "total_count": 0, "total_pages": pages}


@pytest.mark.parametrize("details", ["string", "list"])
@pytest.mark.parametrize(
    "body",
    [{"page": 0}, {"page_size": 0}, {"page_size": 501}, {"sort": "unheard"}, {"sort": 7}, {"filters": "x"},
     {"filters": [rule("unheard", "is", 1)]}, {"filters": [rule("name", "after", "x")]},
     {"filters": [rule("name", "is")]}, {"filters": [{"field": "name"}]}],
)  # fmt: skip
def test_what_is_not_allowed_is_answered_422_in_either_shape(body: dict[str, Any], details: Any):
    detail = listed(Organization(3, details=details), 422, **body)["detail"]
    assert isinstance(detail, str) == (details == "string")
    assert details == "string" or detail[0].keys() == {"loc", "msg", "type"}


def test_a_field_that_does_not_sort_or_filter_is_refused():
    made = Organization(3, updated_at_sortable=False, updated_at_operators=())
    listed(made, 422, sort="-updated_at")
    listed(made, 422, filters=[rule("updated_at", "after", "2026-01-01T00:00:00Z")])


def test_rules_are_joined_by_and():
    made = Organization(80)
    won = {row["id"] for row in made.truth() if row["stage"] == "closed_won"}
    assert set(ids(made, filters=[rule("stage", "is", "closed_won")], page_size=100)) == won
    owner = made.make.users[0]["id"]
    both = [rule("stage", "is", "closed_won"), rule("owner", "is", owner)]
    wanted = {row["id"] for row in made.truth() if row["id"] in won and row.get("owner", {}).get("id") == owner}
    assert set(ids(made, filters=both, page_size=100)) == wanted
    assert len(ids(made, filters=[rule("owner", "is_empty")], page_size=100)) < 20
    name = next(made.truth())["name"]
    assert {row["name"] for row in listed(made, filters=[rule("name", "is", name)])["data"]} == {name}


@pytest.mark.parametrize("exclusive", [True, False])
def test_a_lower_bound_on_updated_at_is_exclusive_or_not(exclusive: bool):
    made = Organization(30, bound_is_exclusive=exclusive)
    newest = max(made.truth(), key=lambda row: row["updated_at"])
    found = ids(made, filters=[rule("updated_at", "after", newest["updated_at"])])
    assert found == ([] if exclusive else [newest["id"]])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer mks_other"}, 401),
        ({"x-monaco-api-key": TOKEN}, 200),
        (BEARER, 200),
        ({**BEARER, "x-monaco-api-key": TOKEN}, 200),
        ({**BEARER, "x-monaco-api-key": "mks_other"}, 401),
    ],
)
def test_either_header_opens_and_both_have_to_agree(headers: dict[str, str], status: int):
    with httpx.Client(transport=Organization(3).transport(), base_url="https://api.monaco.com") as client:
        answer = client.post("/v1/opportunities/list", json={}, headers=headers)
    assert answer.status_code == status
    assert status == 200 or answer.json() == {"detail": "No key found"}


@pytest.mark.parametrize("headers", ["always", "429", "none"])
def test_the_hours_budget_is_shared_by_all(headers: Any):
    made = Organization(3, requests_per_hour=5, rate_headers=headers, retry_after=True)
    made.clock.advance(600)
    made.spend(3)
    statuses = [ask(made, "POST", "/v1/opportunities/list", json={}) for _ in range(3)]
    assert [answer.status_code for answer in statuses] == [200, 200, 429]
    shown = [answer.headers.get("x-ratelimit-remaining") for answer in statuses]
    assert shown == {"always": ["1", "0", "0"], "429": [None, None, "0"], "none": [None, None, None]}[headers]
    if headers != "none":
        assert int(statuses[2].headers["x-ratelimit-reset"]) == int(made.clock.now.timestamp()) + 3000
        assert statuses[2].headers["retry-after"] == "3000"
    made.clock.advance(3000)
    assert listed(made)["pagination"]["total_count"] == 3


def test_several_keys_of_one_organization_spend_from_one_hour():
    made = Organization(3, requests_per_hour=4, other_keys=frozenset({"mks_other"}))
    with httpx.Client(transport=made.transport(), base_url="https://api.monaco.com") as client:
        for number in range(6):
            headers = {"authorization": f"Bearer {'mks_other' if number % 2 else TOKEN}"}
            answer = client.post("/v1/opportunities/list", json={}, headers=headers)
            assert answer.status_code == (200 if number < 4 else 429)
        both = {"authorization": f"Bearer {TOKEN}", "x-monaco-api-key": "mks_other"}
        assert client.post("/v1/opportunities/list", json={}, headers=both).status_code == 401


def test_rows_of_one_time_may_come_in_another_order_with_every_request():
    made = Organization(0, clock=SimClock(tick=timedelta(0)))
    for _ in range(40):
        made.create()
    stable = [ids(made, sort="created_at") for _ in range(2)]
    assert stable[0] == stable[1]
    made.switches.ties = "shuffled"
    shuffled = [ids(made, sort="created_at") for _ in range(2)]
    assert shuffled[0] != shuffled[1]
    assert set(shuffled[0]) == set(stable[0])


def test_an_id_of_another_form_is_answered_422_or_404():
    path = "/v1/opportunities/nonsense"
    assert ask(Organization(3), "GET", path).status_code == 422
    assert ask(Organization(3, malformed_ids=False), "GET", path).status_code == 404


def test_amounts_may_be_in_foreign_currencies():
    made = Organization(40, foreign_currency=1.0)
    found = {row["estimated_value"]["currency_code"] for row in made.truth() if "estimated_value" in row}
    assert found
    assert found <= {"EUR", "GBP", "JPY"}


def test_the_schema_lists_stages_owners_and_three_custom_fields():
    made = Organization(3)
    fields = {field["key"]: field for field in ask(made, "GET", "/v1/schemas/opportunities").json()["data"]}
    assert [word["key"] for word in fields["stage"]["enum_field_settings"]["allowed_values"]] == list(made.stages)
    assert fields["owner"]["enum_field_settings"]["allowed_values"][0]["display_value"] == "Ada Nilsson"
    custom = [field for key, field in fields.items() if key.startswith("custom_field_")]
    assert [field["type"] for field in custom] == ["enum", "string", "date"]
    assert ask(made, "GET", "/v1/schemas/opportunity").status_code == 404
    assert ask(made, "GET", "/v1/schemas/accounts").status_code == 200


def test_keys_without_a_value_are_left_out():
    made = Organization(120)
    assert not any(value is None for row in made.truth() for value in row.values())
    opened = [row for row in made.truth() if row["stage"] == "negotiation"]
    assert not any("actual_close_date" in row for row in opened)


@pytest.mark.parametrize(("unit", "kind"), [("minor", int), ("major", Decimal)])
def test_amounts_are_in_the_unit_of_the_switch(unit: Any, kind: type):
    made = Organization(30, amount_unit=unit)
    amounts = [row["estimated_value"]["amount"] for row in made.truth() if "estimated_value" in row]
    assert {type(amount) for amount in amounts} <= {int, kind}
    assert min(amounts) > (90_000 if unit == "minor" else 900)


def test_prefixed_ids_and_finer_times():
    made = Organization(3, ids="prefixed", precision="ms")
    assert all(deal.startswith("opp_") for deal in made.ids())
    assert all(row["updated_at"].endswith("Z") and row["updated_at"][19] == "." for row in made.truth())


def test_people_change_what_they_change_and_nothing_else():
    made = Organization(10)
    deal = made.new_deal(amount=Decimal(1200), stage="negotiation")
    made.clock.advance(60)
    made.set_amount(deal, Decimal(1300))
    assert made.get(deal)["estimated_value"] == {"currency_code": "USD", "amount": 1300}
    assert made.get(deal)["updated_at"] == "2026-03-02T08:01:00Z"
    made.set_stage(deal, "closed_won")
    assert made.get(deal)["actual_close_date"] == "2026-03-02"
    made.set_stage(deal, "negotiation")
    assert "actual_close_date" not in made.get(deal)
    before = made.get(deal)
    made.clock.advance(60)
    made.rewrite(deal)
    changed = {key for key in before if made.get(deal).get(key) != before[key]}
    assert changed <= {"summary", "risks", "last_activity_at"}
    made.set_amount(deal, None)
    assert "estimated_value" not in made.get(deal)
    with pytest.raises(NotImplementedError):
        made.restore(deal)


def test_a_deleted_opportunity_vanishes_and_is_answered_404():
    made = Organization(5)
    deal = made.ids()[0]
    made.delete(deal)
    assert deal not in ids(made)
    assert ask(made, "GET", f"/v1/opportunities/{deal}").status_code == 404
    with pytest.raises(KeyError):
        made.get(deal)


def test_a_renamed_tag_shows_on_every_record_that_bears_it():
    made = Organization(60)
    bearing = [row["id"] for row in made.truth() if "Partner" in row.get("tags", [])]
    made.rename_tag("Partner", "Ally")
    assert bearing
    assert all("Ally" in made.get(deal)["tags"] for deal in bearing)


def test_a_create_with_its_idempotency_key_makes_one_opportunity():
    made = Organization(5)
    account = made.make.accounts[0]["id"]
    body = {"name": "New", "account_id": account, "idempotency_key": "k1", "stage": "negotiation",
            "owner_user_id": made.make.users[1]["id"], "tags": []}  # fmt: skip
    first, again = (
        ask(made, "POST", path, json=body) for path in ("/v1/preview/opportunities/", "/v1/preview/opportunities")
    )
    assert first.status_code == again.status_code == 200
    assert first.json()["data"]["id"] == again.json()["data"]["id"]
    assert first.json()["data"]["owner"]["first_name"] == "Bo"
    assert len(made.ids()) == 6
    path = f"/v1/opportunities/{first.json()['data']['id']}"
    assert ask(made, "PATCH", path, json={"stage": "closed_won"}).json()["data"]["stage"] == "closed_won"
    assert ask(made, "PATCH", "/v1/opportunities/a-b", json={}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "x"}, {"name": "x", "account_id": "none"}, {"name": "x", "account_id": "a", "summary": "no"}, []],
)
def test_a_create_that_lacks_something_is_answered_422(body: Any):
    assert ask(Organization(5), "POST", "/v1/preview/opportunities/", json=body).status_code == 422


def test_accounts_and_contacts_are_listed_too():
    made = Organization(50)
    accounts = ask(made, "POST", "/v1/accounts/list", json={"page_size": 3}).json()
    assert len(accounts["data"]) == 3
    assert accounts["data"][0]["company"]["domain"].endswith(".example.com")
    assert ask(made, "POST", "/v1/contacts/list", json={}).json()["data"][0]["account_id"]
    assert ask(made, "POST", "/v1/tags/list", json={}).status_code == 404
    assert ask(made, "GET", "/v2/opportunities/list").status_code == 404


def test_the_same_seed_and_calls_give_the_same_bytes():
    def bytes_of() -> bytes:
        made = Organization(40, seed=3, clock=SimClock())
        made.set_stage(made.ids()[0], "closed_won")
        return ask(made, "POST", "/v1/opportunities/list", json={}).content

    assert bytes_of() == bytes_of()


def test_page_drift_is_seen_when_rows_are_inserted_between_pages():
    made = Organization(60)
    first = ids(made, page=1)
    made.new_deal(amount=None, stage="negotiation")
    assert first[-1] in ids(made, page=2), "newest first: an insert pushes rows onto the next page"
