"""The simulated workspace does what the contract says LeadLex does, and what it says may happen."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from connectors.leadlex.simulator import LeadlexSimulator
from connectors.leadlex.webhook import hear
from connectors.simulated_sender import Outgoing
from connectors.simulated_wire import lost_answer
from connectors.times import instant
from tests.connectors.leadlex.reading import Tenant


def test_the_same_seed_makes_the_same_bytes():
    bodies = [Tenant(9, seed=seed).ask("GET", "/v1/deals").content for seed in (1, 1, 2)]
    assert bodies[0] == bodies[1] != bodies[2]


def test_lists_single_reads_and_creations_are_wrapped_in_three_ways():
    tenant = Tenant(3)
    listed = tenant.ask("GET", "/v1/deals").json()
    assert listed["meta"] == {"page": 1, "per_page": 50, "total": 3}
    assert {deal["id"] for deal in listed["data"]["deals"]} == set(tenant.ids())
    assert tenant.ask("GET", f"/v1/deals/{tenant.ids()[0]}").json()["data"]["deal"]["id"] == tenant.ids()[0]
    assert tenant.ask("POST", "/v1/deals", json={"name": "x"}).json()["data"]["name"] == "x"


def test_the_documented_words_differ_between_lists_and_single_reads():
    tenant = Tenant(0, words="documented")
    deal = tenant.create(stage="Engagement letter", status="active", pipeline="Sales")
    (row,) = tenant.ask("GET", "/v1/deals").json()["data"]["deals"]
    one = tenant.ask("GET", f"/v1/deals/{deal}").json()["data"]["deal"]
    assert (row["stage"], row["status"], row["pipeline"]) == ("Engagement letter", "active", "Sales")
    assert (one["stage"], one["status"], one["pipeline"]) == ("engagement_letter", "open", "default")


def test_a_creation_knows_no_currency_no_edit_and_canonical_names_only():
    tenant = Tenant(0)
    made = tenant.ask("POST", "/v1/deals", json={"name": "x", "owner_id": "u1", "deal_type": "ip", "notes": "n"}).json()
    assert "currency" not in made["data"]
    assert (made["data"]["updated_date"], made["data"]["owner_user_id"], made["data"]["matter_type"]) == (
        None,
        "u1",
        "ip",
    )
    assert "notes" not in made["data"]


@pytest.mark.parametrize(
    ("offset", "kept"),
    [
        (timedelta(hours=23), True),
        (timedelta(hours=25), False),
        (-timedelta(days=1700), True),
        (-timedelta(days=1900), False),
    ],
)
def test_a_creation_date_is_honoured_within_its_bounds_and_silently_replaced_beyond(offset: timedelta, kept: bool):
    tenant = Tenant(0)
    asked = (tenant.clock.now + offset).isoformat()
    made = tenant.ask("POST", "/v1/deals", json={"name": "x", "created_date": asked}).json()["data"]["created_date"]
    assert (instant(made) == instant(asked)) == kept


def test_an_edit_stamps_the_deal_and_a_no_op_does_as_well():
    tenant = Tenant(1)
    deal = tenant.ids()[0]
    tenant.clock.advance(3600)
    assert tenant.ask("PATCH", f"/v1/deals/{deal}", json={}).json()["data"]["updated_date"] == "2026-03-02T09:00:00Z"


def test_the_three_bulk_verbs_have_three_limits():
    tenant = Tenant(3)
    ids = tenant.ids()
    assert tenant.ask("POST", "/v1/deals/bulk", json={"deals": [{"name": "x"}] * 50}).status_code == 201
    assert tenant.ask("POST", "/v1/deals/bulk", json={"deals": [{"name": "x"}] * 51}).status_code == 400
    assert tenant.ask("POST", "/v1/deals/bulk", json={"deals": [{"name": "x"}, {}]}).status_code == 400
    update = {"deal_ids": [*ids, "unheard"], "updates": {"priority": "low"}}
    assert tenant.ask("PATCH", "/v1/deals/bulk", json=update).json() == {"data": {"updated": 3}}
    assert tenant.ask("PATCH", "/v1/deals/bulk", json={**update, "deal_ids": ["x"] * 101}).status_code == 400
    gone = tenant.ask("POST", "/v1/deals/bulk-delete", json={"deal_ids": [ids[0], "unheard"]}).json()["data"]
    assert (gone["deleted_count"], gone["not_found_count"]) == (1, 1)
    assert tenant.ask("POST", "/v1/deals/bulk-delete", json={"deal_ids": ["x"] * 501}).status_code == 400


@pytest.mark.parametrize("code", ["not_found", "deal_not_found"])
def test_a_deleted_deal_is_gone_for_good(code: str):
    tenant = Tenant(3, not_found_code=code)
    deal = tenant.ids()[0]
    assert tenant.ask("DELETE", f"/v1/deals/{deal}").json() == {"data": {"deleted": True, "id": deal}}
    answer = tenant.ask("GET", f"/v1/deals/{deal}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)
    assert deal not in tenant.listed()
    with pytest.raises(NotImplementedError):
        tenant.restore(deal)


def test_a_timed_out_creation_may_have_taken_effect():
    tenant = Tenant(0)
    tenant.faults.next(lost_answer())
    with pytest.raises(Exception, match="reset"):
        tenant.ask("POST", "/v1/deals", json={"name": "x"})
    assert len(tenant.ids()) == 1


@pytest.mark.parametrize("inclusive", [True, False])
def test_filters_take_in_their_own_moment_or_do_not(inclusive: bool):
    tenant = Tenant(0, inclusive=inclusive)
    deal = tenant.create()
    tenant.clock.advance(60)
    tenant.touch(deal)
    shown = [deal] if inclusive else []
    assert tenant.listed(created_after="2026-03-02T08:00:00Z") == shown
    assert tenant.listed(created_before="2026-03-02T08:00:00Z") == shown
    assert tenant.listed(updated_after="2026-03-02T08:01:00Z") == shown
    assert tenant.listed(updated_after="2026-03-02T08:00:59Z", created_before="2026-03-02T09:00:00Z") == [deal]


def test_deals_never_edited_are_in_no_list_of_edits():
    tenant = Tenant(0)
    deal = tenant.create()
    assert tenant.listed(updated_after="2020-01-01T00:00:00Z") == []
    tenant.switches.null_is_updated = True
    assert tenant.listed(updated_after="2020-01-01T00:00:00Z") == [deal]


def test_filters_on_words_and_people_keep_what_bears_them():
    tenant = Tenant(40)
    for query, key in (
        ({"status": "won"}, "status"),
        ({"pipeline": "Sales"}, "pipeline"),
        ({"stage": "Proposal"}, "stage"),
    ):
        (wanted,) = query.values()
        assert set(tenant.listed(**query)) == {deal["id"] for deal in tenant.truth() if deal[key] == wanted}
    assert set(tenant.listed(tags="inbound")) == {deal["id"] for deal in tenant.truth() if "inbound" in deal["tags"]}


@pytest.mark.parametrize("order", ["stable", "unstable"])
def test_the_order_means_nothing_and_may_be_another_each_time(order: str):
    tenant = Tenant(30, order=order)
    first, second = tenant.listed(), tenant.listed()
    assert first != sorted(first)
    assert (first == second) == (order == "stable")


@pytest.mark.parametrize("bad", [{"page": "0"}, {"page": "x"}, {"per_page": "-1"}, {"created_after": "soon"}])
def test_nonsense_is_answered_400(bad: dict[str, str]):
    assert Tenant(1).ask("GET", "/v1/deals", params=bad).status_code == 400


def test_a_page_past_the_end_is_empty_and_a_large_one_clamped_or_refused():
    tenant = Tenant(3)
    assert tenant.listed(page=9) == []
    assert tenant.ask("GET", "/v1/deals", params={"per_page": 500}).json()["meta"]["per_page"] == 100
    tenant.switches.over_limit = "refuse"
    assert tenant.ask("GET", "/v1/deals", params={"per_page": 500}).status_code == 400


def test_the_day_shows_in_headers_and_the_minute_does_not():
    tenant = Tenant(1, requests_per_day=5, requests_per_minute=3)
    answers = [tenant.ask("GET", "/v1/deals") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].headers["X-RateLimit-Remaining"] == "1"
    assert answers[3].headers["X-RateLimit-Reset"] == "1772496000"
    assert "Retry-After" not in answers[3].headers
    tenant.clock.advance(60)
    assert [tenant.ask("GET", "/v1/deals").status_code for _ in range(2)] == [200, 429]
    tenant.clock.advance(timedelta(days=1))
    assert tenant.ask("GET", "/v1/deals").status_code == 200


def test_every_answer_bears_a_request_id_and_an_expired_key_is_401():
    tenant = Tenant(1)
    tenant.switches.expires_at = tenant.clock.now
    answer = tenant.ask("GET", "/v1/deals")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_key")
    assert answer.headers["X-Request-ID"]


def test_a_late_write_keeps_its_older_form_until_its_time():
    tenant = Tenant(1, late_commit_s=30.0)
    (deal,) = tenant.ids()
    tenant.edit(deal, name="new")
    new = tenant.create()
    assert tenant.listed() == [deal]
    assert tenant.listed(updated_after=tenant.clock.now.isoformat()) == []
    tenant.clock.advance(30)
    assert set(tenant.listed()) == {deal, new}
    assert tenant.ask("GET", f"/v1/deals/{deal}").json()["data"]["deal"]["name"] == "new"


def test_the_audit_log_is_for_admins_newest_first_and_in_pages():
    tenant = Tenant(3)
    assert tenant.ask("GET", "/v1/audit-logs").status_code == 403
    tenant.switches.admin = True
    gone = tenant.ids()
    for deal in gone:
        tenant.clock.advance(60)
        tenant.delete(deal)
    query = {"action": "delete", "resource_type": "deals", "from_date": "2026-03-02T08:02:00Z"}
    entries = tenant.ask("GET", "/v1/audit-logs", params=query).json()["data"]["audit_logs"]
    assert [entry["resource_id"] for entry in entries] == [gone[2], gone[1]]
    assert tenant.ask("GET", "/v1/audit-logs", params={**query, "page": 2}).json()["data"]["audit_logs"] == []


def test_an_export_is_another_schema_and_the_eleventh_of_an_hour_is_refused():
    tenant = Tenant(3)
    answer = tenant.ask("GET", "/v1/deals/export", params={"limit": 2})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text.startswith(
        "id,name,pipeline_id,stage_id,status,value,currency,company_name,owner_email,created_at"
    )
    assert len(answer.text.splitlines()) == 3
    assert tenant.ask("GET", "/v1/deals/export", params={"limit": 50_001}).status_code == 400
    assert tenant.ask("GET", "/v1/deals/export", params={"fields": "id,updated_at"}).status_code == 400
    assert [tenant.ask("GET", "/v1/deals/export").status_code for _ in range(10)] == [200] * 9 + [429]


def test_who_leaves_is_no_longer_listed_but_still_owns_deals():
    tenant = Tenant(40)
    user = tenant.make.users[0]["id"]
    tenant.remove_user(user)
    assert user not in {one["id"] for one in tenant.ask("GET", "/v1/users").json()["data"]["users"]}
    assert any(deal["owner_user_id"] == user for deal in tenant.truth())


def test_bulk_deletes_are_told_one_by_one_and_bulk_updates_at_once():
    tenant, bodies = Tenant(5), []

    def post(attempt: Outgoing) -> int:
        bodies.append(attempt.body)
        return 200

    tenant.notify(post)
    ids = tenant.ids()
    tenant.ask("PATCH", "/v1/deals/bulk", json={"deal_ids": ids[:2], "updates": {"priority": "low"}})
    tenant.ask("POST", "/v1/deals/bulk-delete", json={"deal_ids": ids[:2]})
    assert [body.split(b'"')[3] for body in bodies] == [b"deal.bulk_updated", b"deal.deleted", b"deal.deleted"]


def test_records_may_lack_a_currency_or_a_value_and_bear_unheard_keys():
    tenant = Tenant(60, missing_currency=0.3, lower_currency=0.3, null_value=0.3, extra_keys=True)
    deals = list(tenant.truth())
    assert {deal.get("currency") for deal in deals} == {None, "usd", "USD"}
    assert any(deal["estimated_value"] is None for deal in deals)
    assert all("conflict_check" in deal for deal in deals)


def test_a_window_over_many_deals_is_found_by_its_dates():
    tenant = LeadlexSimulator(1, 20_000)
    ids = tenant.index.ids(tenant._filter({"created_after": "2026-03-01T00:00:00Z"}))
    assert 0 < len(ids) < 200


def test_a_merge_of_contacts_retires_ids_that_deals_go_on_naming():
    tenant = Tenant(60)
    told: list[bytes] = []

    def post(delivery: Outgoing) -> int:
        told.append(delivery.body)
        return 200

    tenant.notify(post, events=frozenset({"contact.merged"}))
    survivor, gone = tenant.get(tenant.ids()[0])["main_contact_id"], tenant.get(tenant.ids()[1])["main_contact_id"]
    assert tenant.ask("GET", f"/v1/contacts/{gone}").json()["data"]["id"] == gone
    tenant.merge_contacts(survivor, [gone])
    assert tenant.ask("GET", f"/v1/contacts/{gone}").status_code == 404
    assert tenant.get(tenant.ids()[1])["main_contact_id"] == gone
    listed = tenant.ask("GET", "/v1/contacts", params={"per_page": 100}).json()
    assert (len(listed["data"]["contacts"]), listed["meta"]["total"]) == (19, 19)
    assert [json.loads(body)["event"] for body in told] == ["contact.merged"]
    assert not hear(told[0]).known


@pytest.mark.parametrize(("bad_dates", "status"), [("refuse", 400), ("ignore", 200)])
def test_a_date_that_cannot_be_read_is_refused_or_ignored(bad_dates: str, status: int):
    tenant = Tenant(5, bad_dates=bad_dates)
    assert tenant.ask("GET", "/v1/deals", params={"created_after": "yesterday"}).status_code == status


def test_errors_may_come_as_a_gateway_tells_them():
    answer = Tenant(5, bare_errors=True).ask("GET", "/v1/deals/none")
    assert answer.status_code == 404
    assert "error" not in answer.json()
    assert "error" in Tenant(5).ask("GET", "/v1/deals/none").json()


def test_an_export_may_know_more_columns_than_the_default_ones():
    fields = {"fields": "id,updated_at"}
    assert Tenant(5).ask("GET", "/v1/deals/export", params=fields).status_code == 400
    assert Tenant(5, csv_extra_fields=True).ask("GET", "/v1/deals/export", params=fields).status_code == 200


@pytest.mark.parametrize("fresh", [True, False])
def test_attempts_of_a_delivery_have_ids_and_times_of_their_own_or_one(fresh: bool):
    tenant = Tenant(5, fresh_delivery_ids=fresh, fresh_header_time=fresh)
    tenant.notify(lambda _: 500)
    tenant.touch(tenant.ids()[0])
    tenant.clock.advance(60)
    tenant.settle()
    sent = [attempt.headers for attempt in tenant.hooks[0].sent]
    assert len(sent) == 2
    for header in ("X-LeadLex-Delivery-ID", "X-LeadLex-Timestamp"):
        assert len({attempt[header] for attempt in sent}) == 1 + fresh
    assert len({attempt.body for attempt in tenant.hooks[0].sent}) == 1
