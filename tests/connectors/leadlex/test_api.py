"""The reader against a simulated workspace: both walks, the watermark, versions, and what is refused or broken."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from connectors.committed import UNREAD
from connectors.faults import Denied, Misconfigured, Refused, Unavailable, Unintelligible
from connectors.leadlex import SOURCE
from connectors.leadlex.api import AGAIN
from connectors.leadlex.lists import UNEDITED
from connectors.simulated_wire import Answer, Handler, Request, bytes_answer, cut_json, html, refused, reset, saying
from connectors.simulation import SimClock
from connectors.source import Absent, Found, Options
from tests.connectors.leadlex.reading import Tenant
from tests.connectors.pulls import Pulls, swept
from tests.connectors.wire import account


def fields(raw: bytes) -> dict[str, Any]:
    return dict(json.loads(raw))


# -- what changed


def test_an_unchanged_workspace_costs_two_requests():
    tenant = Tenant(50)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(hours=2))
    before = tenant.asked
    pulls.pull()
    assert tenant.asked - before == 2
    assert pulls.ids == set()


@pytest.mark.parametrize("inclusive", [True, False])
def test_new_deals_and_edited_ones_are_found_by_one_walk_each(inclusive: bool):
    tenant = Tenant(50, inclusive=inclusive)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(hours=2))
    edited, new = tenant.ids()[3], tenant.create()
    tenant.edit(edited, estimated_value=7)
    tenant.clock.advance(timedelta(minutes=1))
    pulls.pull()
    assert pulls.ids == {edited, new}
    assert fields(pulls.held[edited])["estimated_value"] == 7
    assert fields(pulls.held[new])["updated_date"] is None


def test_a_deal_created_ahead_of_time_is_found_and_moves_no_watermark():
    tenant = Tenant(20)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(hours=2))
    ahead = tenant.create(created=tenant.clock.now + timedelta(hours=23))
    pulls.pull()
    assert ahead in pulls.ids
    assert pulls.cursor is not None
    assert pulls.cursor["watermark"] <= tenant.clock.text()
    tenant.clock.advance(timedelta(hours=1))
    tenant.edit(ahead, estimated_value=8)
    later = tenant.create()
    pulls.pull()
    assert later in pulls.ids
    assert fields(pulls.held[ahead])["estimated_value"] == 8


def test_a_deal_with_a_date_in_the_past_is_found_by_the_sweep_only():
    tenant = Tenant(20)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(hours=2))
    backdated = tenant.create(created=tenant.clock.now - timedelta(days=1700))
    pulls.pull()
    assert backdated not in pulls.held
    assert backdated in swept(tenant.reader().everything(pulls.cursor))[0]


def test_an_edit_outranks_the_unedited_deal_whatever_its_creation_date():
    tenant = Tenant(0)
    deal = tenant.create(created=tenant.clock.now + timedelta(hours=20))
    reader = tenant.reader()
    unedited = reader.one(deal)
    tenant.edit(deal, estimated_value=1)
    edited = reader.one(deal)
    assert isinstance(unedited, Found)
    assert isinstance(edited, Found)
    assert unedited.record.version == UNEDITED
    assert edited.record.version is not None
    assert edited.record.version > unedited.record.version


def test_a_deal_without_the_key_has_no_version_at_all():
    tenant = Tenant(1)
    tenant.raw(tenant.ids()[0], b'{"id":"%s","name":"x"}' % tenant.ids()[0].encode())
    answer = tenant.reader().one(tenant.ids()[0])
    assert isinstance(answer, Found)
    assert answer.record.version is None


@pytest.mark.parametrize("switches", [{}, {"fractions": True}, {"date_header": False}, {"null_is_updated": True}])
def test_pulls_and_edits_end_with_what_the_workspace_has(switches: dict[str, Any]):
    tenant = Tenant(25, **switches)
    pulls = Pulls(tenant.reader)
    for step in range(8):
        pulls.pull()
        tenant.clock.advance(timedelta(minutes=13 * step))
        tenant.edit(tenant.ids()[step], estimated_value=step)
        tenant.create(estimated_value=100 + step)
    pulls.pull()
    assert {key: fields(raw) for key, raw in pulls.held.items()} == {
        deal["id"]: _plain(deal) for deal in tenant.truth()
    }


def _plain(deal: dict[str, Any]) -> dict[str, Any]:
    return fields(json.dumps(deal, default=float).encode())


def test_the_watermark_is_the_time_when_the_first_walk_began():
    tenant = Tenant(50)
    pulls = Pulls(tenant.reader)
    began = tenant.clock.text()
    tenant.before_list = lambda _: tenant.clock.advance(60)
    pulls.pull()
    assert pulls.cursor is not None
    assert began <= pulls.cursor["watermark"] <= "2026-03-02T08:01:00.000Z"


@pytest.mark.parametrize("date_header", [True, False])
def test_what_changes_while_a_slow_pull_reads_is_found_by_the_next_whether_or_not_leadlex_tells_its_time(
    date_header: bool,
):
    tenant = Tenant(60, date_header=date_header)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(days=1))
    for one in tenant.ids():
        tenant.edit(one, estimated_value=1)
    for number, page in enumerate(tenant.reader().changed(pulls.cursor)):
        pulls.take(page)
        tenant.clock.advance(timedelta(minutes=20))
        tenant.edit(tenant.ids()[number], estimated_value=4711)
        changed = tenant.ids()[: number + 1]
    pulls.pull()
    assert {fields(pulls.held[one])["estimated_value"] for one in changed} == {4711}


def test_what_changes_during_a_first_pull_is_found_by_the_next():
    tenant = Tenant(50)
    pulls = Pulls(lambda: tenant.reader(overlap="0s"))
    done: list[str] = []

    def between(request: Request) -> None:
        if len(done) < 3 and "created_before" in request.query:
            tenant.clock.advance(20)
            tenant.edit(tenant.ids()[0], estimated_value=4711)
            done.append("edited")

    tenant.before_list = between
    pulls.pull()
    pulls.pull()
    assert fields(pulls.held[tenant.ids()[0]])["estimated_value"] == 4711


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_pull_that_dies_after_any_page_resumes_there_and_misses_nothing(cut: int):
    tenant = Tenant(60)
    pulls = Pulls(tenant.reader)
    pulls.pull(pages=cut)
    read = len(pulls.ids)
    tenant.clock.advance(timedelta(hours=9))
    tenant.edit(tenant.ids()[0], estimated_value=5)
    pulls.pull()
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert fields(pulls.held[tenant.ids()[0]])["estimated_value"] == 5
    assert read


@pytest.mark.parametrize("cut", range(1, 9))
def test_changes_cut_off_after_any_page_are_read_on_from_there(cut: int):
    tenant = Tenant(60)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(days=2))
    for deal in tenant.ids()[::2]:
        tenant.clock.advance(timedelta(minutes=20))
        tenant.edit(deal, estimated_value=42)
    pulls.pull(pages=cut)
    pulls.pull()
    assert all(fields(pulls.held[deal])["estimated_value"] == 42 for deal in tenant.ids()[::2])
    assert pulls.cursor is not None
    assert "under" not in pulls.cursor


def test_writes_that_become_visible_late_are_found():
    tenant = Tenant(20)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(hours=1))
    tenant.switches.late_commit_s = 45
    tenant.edit(tenant.ids()[0], estimated_value=9)
    tenant.switches.late_commit_s = 0
    tenant.clock.advance(20)
    pulls.pull()
    tenant.clock.advance(60)
    pulls.pull()
    assert fields(pulls.held[tenant.ids()[0]])["estimated_value"] == 9


def test_where_changes_move_while_they_are_read_the_next_pull_reads_them_again():
    tenant = Tenant(12, order="unstable")
    pulls = Pulls(tenant.reader)
    pulls.pull()
    before = pulls.cursor
    tenant.clock.advance(timedelta(hours=2))
    at = tenant.clock.now - timedelta(minutes=5)
    crowd = {tenant.create(created=at) for _ in range(45)}
    pulls.pull()
    assert AGAIN in pulls.notes
    assert before is not None
    assert pulls.cursor is not None
    assert pulls.cursor["watermark"] == before["watermark"]
    tenant.switches.order = "stable"
    pulls.pull()
    assert crowd <= pulls.ids
    assert pulls.cursor["watermark"] > before["watermark"]


def test_where_edited_deals_move_while_they_are_read_the_next_pull_reads_them_again():
    """They are read by the first of two walks, and the second, which shows nothing, comes to its end in order."""
    tenant = Tenant(12)
    at = tenant.clock.now
    crowd = [tenant.create(created=at) for _ in range(45)]
    tenant.clock.advance(timedelta(hours=1))
    pulls = Pulls(tenant.reader)
    pulls.pull()
    before = pulls.cursor
    tenant.clock.advance(timedelta(hours=2))
    tenant.edit_many(crowd, estimated_value=3)
    tenant.switches.order = "unstable"
    pulls.pull()
    assert AGAIN in pulls.notes
    assert before is not None
    assert pulls.cursor is not None
    assert pulls.cursor["watermark"] == before["watermark"]
    tenant.switches.order = "stable"
    pulls.pull()
    assert {fields(pulls.held[one])["estimated_value"] for one in crowd} == {3}
    assert pulls.cursor["watermark"] > before["watermark"]


def test_deals_created_between_two_whole_seconds_are_in_one_window_or_the_next():
    tenant = Tenant(20, fractions=True, date_header=False)
    pulls = Pulls(lambda: tenant.reader(page_size=3))
    pulls.pull()
    tenant.clock.advance(3600.9)
    tenant.touch(tenant.ids()[0])
    pulls.pull()
    new = set()
    for step in range(60):
        tenant.clock.advance(0.37 + (step % 7) / 10)
        new.add(tenant.create())
    pulls.pull()
    assert new <= pulls.ids


def test_a_cursor_nobody_can_read_means_everything_and_is_told():
    tenant = Tenant(12)
    pulls = Pulls(tenant.reader)
    pulls.cursor = {"watermark": 3}
    pulls.pull()
    assert pulls.ids == set(tenant.ids())
    assert UNREAD in pulls.notes


def test_a_deal_changed_by_the_agent_is_pulled_though_no_webhook_tells():
    tenant = Tenant(12)
    sender = tenant.notify(lambda _: 202)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(hours=1))
    tenant.by_agent(tenant.ids()[0], estimated_value=3)
    pulls.pull()
    assert sender.statuses == []
    assert pulls.ids == {tenant.ids()[0]}


# -- single reads


@pytest.mark.parametrize("code", ["not_found", "deal_not_found"])
def test_a_404_proves_absence_whatever_its_code(code: str):
    answer = Tenant(1, not_found_code=code).reader().one("deal-001")
    assert answer == Absent(True, "404", "2026-03-02T08:00:00.000Z")


@pytest.mark.parametrize("switches", [{}, {"bare_one": True}, {"words": "documented"}])
def test_a_deal_is_unwrapped_by_its_shape(switches: dict[str, Any]):
    tenant = Tenant(3, **switches)
    for deal in tenant.ids():
        answer = tenant.reader().one(deal)
        assert isinstance(answer, Found)
        assert fields(answer.record.raw) == _plain(next(one for one in tenant.truth() if one["id"] == deal))


@pytest.mark.parametrize("bad", ["", ".", " ", "/"])
def test_an_id_that_would_ask_for_the_list_is_never_sent(bad: str):
    tenant = Tenant(1)
    with pytest.raises(Unintelligible, match="no id"):
        tenant.reader().one(bad)
    assert tenant.asked == 0


def test_another_deal_than_the_one_asked_for_is_not_taken():
    tenant = Tenant(2)
    one, other = tenant.ids()
    tenant.raw(one, tenant.records.served(other) or b"")
    with pytest.raises(Unintelligible, match="another id"):
        tenant.reader().one(one)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_only_404_and_410_prove_anything(status: int):
    tenant = Tenant(1)
    tenant.faults.next(refused(status))
    answer = tenant.reader().one(tenant.ids()[0])
    assert isinstance(answer, Absent)
    assert answer.proof == (status != 400)


# -- bytes, rows and faults


def test_records_are_the_bytes_that_came():
    tenant = Tenant(12)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert {key: tenant.records.served(key) for key in tenant.ids()} == pulls.held


def test_one_bad_row_never_costs_its_page():
    tenant = Tenant(9)
    bad, odd, *_ = tenant.ids()
    tenant.raw(bad, b'{"id":"%s","estimated_value":NaN}' % bad.encode())
    tenant.raw(odd, b"null")
    pages = Pulls(tenant.reader).pull()
    assert {record.source_id for page in pages for record in page.records} == set(tenant.ids()) - {bad, odd}
    spoiled = {(one.source_id, one.reason) for page in pages for one in page.spoiled}
    assert spoiled == {(bad, "RECORD_SHAPE"), (None, "RECORD_SHAPE")}


@pytest.mark.parametrize(
    ("mishap", "fault"),
    [
        (refused(401), Refused),
        (refused(403), Refused),
        (refused(422), Unintelligible),
        (refused(500), Unavailable),
        (html(502), Unavailable),
        (html(), Unintelligible),
        (cut_json(), Unintelligible),
        (saying(b'{"data":{"deals":null}}'), Unintelligible),
        (saying(b'{"deals":[]}'), Unintelligible),
        (saying(b"[]"), Unintelligible),
        (reset(), Unavailable),
    ],
)
def test_a_mishap_that_stays_ends_the_pull_with_the_fault_of_whoever_must_act(mishap: Any, fault: type[Exception]):
    tenant = Tenant(12)
    tenant.faults.sometimes(1.0, mishap)
    with pytest.raises(fault):
        list(tenant.reader().changed(None))


def test_a_key_that_expires_during_a_pull_keeps_the_pages_read():
    tenant = Tenant(60)
    pulls = Pulls(tenant.reader)

    def tire(_: Request) -> None:
        if tenant.asked == 5:
            tenant.switches.expires_at = tenant.clock.now

    tenant.before_list = tire
    with pytest.raises(Refused, match="expired") as told:
        pulls.pull()
    assert "X-Request-ID req-" in str(told.value)
    assert pulls.held
    tenant.switches.expires_at, tenant.before_list = None, None
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())


def test_a_redirect_to_another_host_is_never_followed_with_the_key():
    tenant = Tenant(3)

    def elsewhere(request: Request, handle: Handler) -> Answer:
        return Answer(status=307, headers={"location": "https://nbkxaqxwvkgbddekwsma.supabase.co/functions/v1"})

    tenant.faults.sometimes(1.0, elsewhere)
    with pytest.raises(Unintelligible, match="redirects are not followed"):
        list(tenant.reader().changed(None))
    assert tenant.asked == 1


def test_what_a_request_id_holds_is_shortened_and_stripped_of_anything_odd():
    tenant = Tenant(1)

    def odd(request: Request, handle: Handler) -> Answer:
        plain = bytes_answer(b"{}", 422)
        return Answer(status=422, headers={**plain.headers, "x-request-id": "ab c<script>" + "d" * 90})

    tenant.faults.sometimes(1.0, odd)
    with pytest.raises(Unintelligible) as told:
        list(tenant.reader().changed(None))
    assert str(told.value).endswith("(X-Request-ID abcscript" + "d" * 52 + ")")


def test_equal_time_stamps_across_pages_are_all_read():
    tenant = Tenant(12, clock=SimClock(tick=timedelta()))
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.clock.advance(timedelta(days=1))
    for deal in tenant.ids():
        tenant.edit(deal, estimated_value=1)
    new = {tenant.create() for _ in range(25)}
    pulls.pull()
    assert pulls.ids == set(tenant.ids())
    assert new <= pulls.ids


# -- what deals refer to


def test_users_and_companies_are_read_by_id():
    tenant = Tenant(600)
    reader = tenant.reader()
    users = [entry for page in reader.reference("users") for entry in page]
    assert {entry.key: json.loads(entry.raw)["email"] for entry in users} == {
        user["id"]: user["email"] for user in tenant.make.users
    }
    companies = [entry for page in reader.reference("companies") for entry in page]
    assert {entry.key for entry in companies} == {company["id"] for company in tenant.make.companies}
    assert json.loads(companies[0].raw).keys() == {"name", "industry", "country"}
    with pytest.raises(Misconfigured, match="users and companies"):
        reader.reference("contacts")


@pytest.mark.parametrize("name", ["users", "companies"])
def test_a_403_for_what_deals_refer_to_stops_only_that(name: str):
    tenant = Tenant(5, forbidden=frozenset({name}))
    with pytest.raises(Denied):
        list(tenant.reader().reference(name))
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert pulls.ids == set(tenant.ids())


def test_the_options_of_another_source_are_refused():
    with pytest.raises(Misconfigured, match="leadlex"):
        SOURCE.open(account(None, options=Options(amount_unit="major")))
