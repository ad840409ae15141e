"""The reader against a simulated tenant: what changed is found, what is gone is told, and nothing is guessed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.committed import UNREAD
from connectors.cpod.api import BOUND, IGNORED, NARROWED, ONLY_DELETED
from connectors.cpod.visibility import APP, ONE_OWNER, SHRUNK
from connectors.cpod.walk import SHORT
from connectors.faults import Misconfigured, RateLimited, Refused, Unavailable, Unintelligible
from connectors.simulated_wire import Request, cut_json, endless, gzip_bomb, html, rate_limited, refused, reset, saying
from connectors.simulation import SimClock
from connectors.source import Absent, Found, Options
from tests.connectors.cpod.reading import DEALS, Tenant
from tests.connectors.pulls import Pulls, swept
from tests.connectors.wire import account

ENVELOPES = ("current", "legacy_items", "legacy_people", "bare_data")
every_envelope = pytest.mark.parametrize("envelope", ENVELOPES)


def fields(raw: bytes) -> dict[str, Any]:
    return dict(json.loads(raw))


# -- full reads


@every_envelope
@pytest.mark.parametrize("ids", ["deal_ulid", "deal-uuid", "uuid"])
def test_a_first_pull_reads_everything_whatever_the_envelope_and_the_ids(envelope: str, ids: str):
    tenant = Tenant(47, envelope=envelope, ids=ids)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert pulls.cursor is not None
    assert "scan" not in pulls.cursor
    assert not pulls.gone
    assert not pulls.notes


def test_records_carry_their_exact_bytes_and_their_version_as_text_that_compares():
    tenant = Tenant(12)
    for page in tenant.reader().changed(None):
        for record in page.records:
            assert record.raw == tenant.deals.served(record.source_id)
            assert record.version == f"{fields(record.raw)['version']:012d}"
            assert record.kind == "deals"


@every_envelope
@pytest.mark.parametrize("cut", range(1, 6))
def test_a_pull_that_dies_after_any_page_resumes_there_and_misses_nothing(envelope: str, cut: int):
    tenant = Tenant(60, envelope=envelope)
    pulls = Pulls(tenant.reader)
    pulls.pull(pages=cut)
    read = pulls.read
    tenant.delete(tenant.ids()[-1])
    late = tenant.create()
    pulls.pull()
    assert read == 10 * cut
    assert set(tenant.ids()) - {late} <= set(pulls.held)
    assert read + pulls.read <= 80
    pulls.pull()
    assert late in pulls.held


@every_envelope
def test_rows_that_move_between_pages_are_read(envelope: str):
    tenant = Tenant(60, envelope=envelope, include_deleted=None)
    steady = tenant.ids()[:40]
    reader = tenant.reader()

    def between(request: Request) -> None:
        if len(tenant.lists_asked()) % 3 == 2 and len(tenant.ids()) > 45:
            for deal in tenant.ids()[-3:]:
                tenant.delete(deal)

    tenant.before_list = between
    living, _ = swept(reader.everything(None))
    assert set(steady) <= living


def test_a_numbered_list_is_read_on_where_it_stopped_even_when_rows_have_moved_since():
    tenant = Tenant(80, envelope="legacy_people", include_deleted=None)
    pulls = Pulls(tenant.reader)
    pulls.pull(pages=4)
    for deal in tenant.ids()[-6:]:
        tenant.delete(deal)
    asked = len(tenant.lists_asked())
    pulls.pull()
    assert set(tenant.ids()) <= set(pulls.held)
    assert all(query.get("page") != "1" for query in tenant.lists_asked()[asked:])


def test_a_numbered_list_whose_last_row_is_gone_is_read_from_its_beginning():
    tenant = Tenant(80, envelope="legacy_people", include_deleted=None)
    pulls = Pulls(tenant.reader)
    pulls.pull(pages=4)
    for deal in tenant.ids()[40:]:
        tenant.delete(deal)
    pulls.pull()
    assert set(tenant.ids()) <= set(pulls.held)


def test_a_cursor_that_has_died_restarts_the_scan():
    tenant = Tenant(50, cursor_life_s=3600)
    pulls = Pulls(tenant.reader)
    pulls.pull(pages=3)
    tenant.clock.advance(timedelta(hours=2))
    pulls.pull()
    assert [call.status for call in tenant.log if call.path == DEALS][3] == 400
    assert pulls.read == 50


def test_a_scan_that_was_cut_off_for_too_long_again_and_again_still_comes_to_its_end():
    tenant = Tenant(50, cursor_life_s=3600)
    pulls = Pulls(tenant.reader)
    for _ in range(6):
        pulls.pull(pages=2)
        tenant.clock.advance(timedelta(hours=2))
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert pulls.cursor is not None
    assert "scan" not in pulls.cursor


def test_cursors_that_die_faster_than_pages_come_end_the_read_with_a_fault():
    tenant = Tenant(50, cursor_life_s=-1)
    with pytest.raises(Unintelligible, match="Raise page_size"):
        list(tenant.reader().changed(None))


def test_a_list_in_page_style_that_ignores_the_size_asked_for_is_still_read_whole():
    tenant = Tenant(170, envelope="legacy_people", page_size_ignored=True)
    assert swept(tenant.reader(page_size=500).everything(None)) == (set(tenant.ids()), set())


def test_a_numbered_list_that_was_asked_for_by_another_name_of_the_size_is_read_whole():
    tenant = Tenant(170, envelope="legacy_people")
    assert swept(tenant.reader(page_size=60, pagination_style="page").everything(None)) == (set(tenant.ids()), set())


def test_deletes_among_what_was_read_do_not_end_a_numbered_list_early():
    tenant = Tenant(60, paging="page", include_deleted=None)
    steady = tenant.ids()[:45]

    def between(request: Request) -> None:
        if request.query.get("page") == "3" and len(tenant.ids()) == 60:
            for deal in tenant.ids()[-15:]:
                tenant.delete(deal)

    tenant.before_list = between
    living, _ = swept(tenant.reader().everything(None))
    assert set(steady) <= living


def test_deals_that_are_made_during_a_sweep_leave_it_a_witness():
    tenant = Tenant(40)
    tenant.before_list = lambda _: tenant.new_deal(amount=None, stage="lead")
    assert swept(tenant.reader().everything(None))[1] == set()


def test_a_bare_list_that_clamps_its_pages_is_read_to_its_empty_end():
    tenant = Tenant(45, envelope="bare_data", max_limit=20)
    assert swept(tenant.reader(page_size=100).everything(None)) == (set(tenant.ids()), set())


def test_a_list_that_ignores_the_page_and_is_full_has_no_end():
    tenant = Tenant(50, envelope="bare_data", ignored_params=frozenset({"page"}))
    with pytest.raises(Unintelligible, match="the same rows come again"):
        list(tenant.reader().changed(None))


# -- what pages look like


def test_what_pages_look_like_is_found_out_once_and_kept():
    tenant = Tenant(55, envelope="legacy_people")
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert pulls.cursor is not None
    assert pulls.cursor["shape"] == {"rows": "data", "style": "page", "more": "hasMore"}
    assert tenant.lists_asked()[1].items() >= {"page": "1", "pageSize": "10"}.items()
    asked = len(tenant.lists_asked())
    pulls.pull()
    assert "pageSize" in tenant.lists_asked()[asked]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"envelope": "legacy_items"}),
        ({}, {"camel": True}),
        ({}, {"paging": "page"}),
        ({"envelope": "legacy_people"}, {"envelope": "current"}),
        ({"paging": "page"}, {"paging": "cursor"}),
        ({"envelope": "legacy_items"}, {"envelope": "current"}),
    ],
)
def test_an_envelope_that_changes_is_a_fault_that_says_what_to_do(before: dict[str, Any], after: dict[str, Any]):
    tenant = Tenant(70, **before)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    kept = pulls.cursor
    for name, value in {"envelope": "current", **after}.items():
        setattr(tenant.switches, name, value)
    with pytest.raises(Unintelligible, match=r"set the options envelope = \"\w+/\w+\" and pagination_style") as fault:
        pulls.pull()
    assert pulls.cursor == kept
    advised = dict(part.split(" = ") for part in str(fault.value).rpartition("options ")[2].split(" and "))
    told = {name: value.strip('"') for name, value in advised.items()}
    again = Pulls(lambda: tenant.reader(**told))
    again.cursor = kept
    again.pull()
    assert set(again.held) == set(tenant.ids())


def test_a_full_page_that_says_nothing_of_what_follows_is_no_end():
    tenant = Tenant(25)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.switches.envelope = "bare_data"
    with pytest.raises(Unintelligible, match="says nothing of what follows"):
        pulls.pull()


# -- deleted rows


@pytest.mark.parametrize("name", ["include_deleted", "includeDeleted"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_deleted_deal_is_its_own_tombstone_and_comes_back_with_a_higher_version(name: str, strict: bool):
    tenant = Tenant(25, include_deleted=name, refuse_unknown_params=strict)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    deal = tenant.ids()[3]
    version = tenant.get(deal)["version"]
    tenant.delete(deal)
    pulls.pull()
    assert pulls.gone == {deal}
    tenant.restore(deal)
    pulls.pull()
    assert not pulls.gone
    assert fields(pulls.held[deal])["version"] == version + 2


def test_a_server_that_knows_no_such_parameter_and_refuses_it_is_read_without():
    tenant = Tenant(25, include_deleted=None, refuse_unknown_params=True)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert pulls.cursor is not None
    assert pulls.cursor["hide"] == "none"
    assert [len(query) for query in tenant.lists_asked()[:4]] == [3, 2, 2, 1]
    assert len(pulls.held) == 25


def test_a_parameter_that_shows_deleted_rows_only_is_not_trusted():
    tenant = Tenant(25, only_deleted=True)
    tenant.delete(tenant.ids()[0])
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert set(tenant.ids()) <= set(pulls.held)
    assert pulls.notes == {ONLY_DELETED}
    assert pulls.cursor is not None
    assert pulls.cursor["hide"] == "none"


def test_a_parameter_that_hides_everything_while_nothing_is_deleted_is_not_trusted():
    tenant = Tenant(25, only_deleted=True)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert len(pulls.held) == 25


def test_an_empty_tenant_keeps_asking_for_deleted_rows():
    tenant = Tenant(0)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.delete(tenant.new_deal(amount=None, stage="lead"))
    pulls.pull()
    assert len(pulls.gone) == 1


def test_the_name_that_was_set_is_sent_alone():
    tenant = Tenant(5)
    list(tenant.reader(include_deleted_param="withTrash").changed(None))
    list(tenant.reader(include_deleted_param="").changed(None))
    assert [sorted(query) for query in tenant.lists_asked()] == [["limit", "withTrash"], ["limit"]]


def test_a_mention_of_is_deleted_inside_a_custom_field_deletes_nothing():
    tenant = Tenant(5)
    deal = tenant.ids()[0]
    tenant.edit(deal, custom_fields={"trash": {"is_deleted": True}})
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert not pulls.gone


# -- changed since


def test_a_verified_changed_since_parameter_narrows_later_pulls():
    tenant = Tenant(200, changed_since="updated_after")
    pulls = Pulls(lambda: tenant.reader(changed_since_param="updated_after"))
    pulls.pull()
    tenant.edit(tenant.ids()[7], stage="closed_won")
    tenant.delete(tenant.ids()[90])
    pulls.pull()
    assert pulls.read < 20
    assert len(pulls.gone) == 1
    assert fields(pulls.held[tenant.ids()[7]])["stage"] == "closed_won"
    assert not pulls.notes


def test_a_parameter_that_is_ignored_costs_a_full_read_and_a_note():
    tenant = Tenant(60)
    pulls = Pulls(lambda: tenant.reader(changed_since_param="updated_after"))
    pulls.pull()
    tenant.touch(tenant.ids()[0])
    pulls.pull()
    assert pulls.read == 60
    assert pulls.notes == {IGNORED}


def test_a_parameter_that_hides_even_the_newest_deal_is_not_believed():
    tenant = Tenant(60, changed_since="updated_after")
    pulls = Pulls(lambda: tenant.reader(changed_since_param="updated_after"))
    pulls.pull()
    empty = b'{"data":[],"next_cursor":null,"has_more":false,"total":0}'
    tenant.faults.sometimes(1.0, saying(empty), where=lambda request: "updated_after" in request.query)
    pulls.pull()
    assert pulls.read == 60
    assert pulls.notes == {NARROWED}


def test_a_parameter_that_shows_some_changes_but_not_the_newest_known_deal_is_not_believed():
    tenant = Tenant(60, changed_since="updated_after")
    pulls = Pulls(lambda: tenant.reader(changed_since_param="updated_after"))
    pulls.pull()
    assert pulls.cursor is not None
    witness = pulls.cursor["witness"]
    other = tenant.create()
    hidden = tenant.ids()[3]
    tenant.touch(hidden)
    rows = b'{"data":[%b],"next_cursor":null,"has_more":false}' % (tenant.deals.served(other) or b"")
    tenant.faults.sometimes(1.0, saying(rows), where=lambda request: "updated_after" in request.query)
    assert other != witness
    pulls.pull()
    assert NARROWED in pulls.notes
    assert pulls.held[hidden] == tenant.deals.served(hidden)


def test_a_source_whose_clock_is_behind_ours_hides_no_change_made_during_the_first_pull():
    tenant = Tenant(40, changed_since="updated_after")
    ours = SimClock(tenant.clock.now + timedelta(hours=1))
    real = tenant.handle

    def dated(request: Request) -> Any:
        answer = real(request)
        return replace(answer, headers={**answer.headers, "date": format_datetime(tenant.clock.now, usegmt=True)})

    tenant.handle = dated  # type: ignore[method-assign]
    pulls = Pulls(lambda: tenant.reader(changed_since_param="updated_after", overlap="0s", now=ours.text))
    first, last = tenant.ids()[-1], tenant.ids()[0]

    def between(request: Request) -> None:
        if len(tenant.lists_asked()) == 2:
            tenant.clock.advance(40)
            tenant.edit(first, value=1)
            tenant.clock.advance(40)
            tenant.edit(last, value=2)

    tenant.before_list = between
    pulls.pull()
    assert pulls.held[first] != tenant.deals.served(first)
    pulls.pull()
    assert pulls.held[first] == tenant.deals.served(first)


def test_what_becomes_visible_late_is_found_within_the_overlap():
    tenant = Tenant(30, changed_since="updated_since")
    pulls = Pulls(lambda: tenant.reader(changed_since_param="updated_since"))
    pulls.pull()
    tenant.switches.late_commit_s = 300
    slow = tenant.create()
    tenant.switches.late_commit_s = 0
    tenant.clock.advance(60)
    tenant.create()
    pulls.pull()
    assert slow not in pulls.held
    tenant.clock.advance(300)
    pulls.pull()
    assert slow in pulls.held


def test_a_deal_stamped_in_the_future_does_not_move_the_watermark():
    tenant = Tenant(30, changed_since="updated_after")
    tenant.silent(tenant.ids()[0], updated_at="2099-01-01T00:00:00Z")
    pulls = Pulls(lambda: tenant.reader(changed_since_param="updated_after"))
    pulls.pull()
    assert pulls.cursor is not None
    assert pulls.cursor["watermark"] < "2027"


def test_a_change_that_moves_neither_version_nor_stamp_is_found_by_a_full_pull():
    tenant = Tenant(30)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.silent(tenant.ids()[4], value=17)
    pulls.pull()
    assert fields(pulls.held[tenant.ids()[4]])["value"] == 17


# -- what the list may hide


def test_an_applications_token_makes_no_witness_and_its_404_no_proof():
    tenant = Tenant(30, app_id="app-1")
    tenant.edit(tenant.ids()[0], app_id="app-1")
    reader = tenant.reader()
    living, doubts = swept(reader.everything(None))
    assert len(living) == 1
    assert APP in doubts
    hidden = reader.one(tenant.ids()[1])
    assert isinstance(hidden, Absent)
    assert (hidden.proof, hidden.answer) == (False, f"404 to {BOUND}")
    trusting = tenant.reader(own_records_ok=True)
    assert not swept(trusting.everything(None))[1]
    answer = trusting.one("nope")
    assert isinstance(answer, Absent)
    assert answer.proof


def test_a_list_of_one_owners_deals_makes_no_witness():
    tenant = Tenant(30)
    for deal in tenant.ids():
        tenant.edit(deal, owner_id="usr-1")
    assert swept(tenant.reader().everything(None))[1] == {ONE_OWNER}
    assert swept(tenant.reader(own_records_ok=True).everything(None))[1] == set()


def test_the_owner_is_remembered_when_a_sweep_is_resumed():
    tenant = Tenant(30)
    for deal in tenant.ids()[10:]:
        tenant.edit(deal, owner_id="usr-1")
    pages = tenant.reader().everything(None)
    first = next(pages)
    for deal in tenant.ids()[:10]:
        tenant.edit(deal, owner_id="usr-2")
    assert swept(tenant.reader().everything(first.cursor))[1] == set()


def test_a_list_that_has_halved_makes_no_witness():
    tenant = Tenant(60)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.switches.hidden = frozenset(tenant.ids()[:40])
    assert SHRUNK in swept(tenant.reader().everything(pulls.cursor))[1]
    pulls.pull()
    assert SHRUNK in pulls.notes
    assert SHRUNK in swept(tenant.reader().everything(pulls.cursor))[1]


def test_a_total_that_is_not_the_number_of_rows_is_a_doubt():
    tenant = Tenant(5)
    rows = b",".join(tenant.deals.served(deal) or b"" for deal in tenant.ids())
    tenant.faults.sometimes(
        1.0, saying(b'{"data":[%b],"has_more":false,"total":9}' % rows), where=lambda request: request.path == DEALS
    )
    assert swept(tenant.reader().everything(None))[1] == {SHORT}


def test_an_empty_page_too_early_is_asked_for_once_more():
    tenant = Tenant(50)
    reader = tenant.reader()
    pages = reader.everything(None)
    next(pages)
    tenant.faults.next(saying(b'{"data":[],"next_cursor":null,"has_more":false}'))
    living, doubts = swept(pages)
    assert len(living) == 40
    assert not doubts


def test_a_pull_goes_not_on_with_a_sweep_nor_a_sweep_with_a_pull():
    tenant = Tenant(50)
    pull, sweep = next(tenant.reader().changed(None)), next(tenant.reader().everything(None))
    assert len(swept(tenant.reader().everything(pull.cursor))[0]) == 50
    assert len(swept(tenant.reader().changed(sweep.cursor))[0]) == 50


# -- one deal


@pytest.mark.parametrize("wrapped", [False, True])
def test_one_deal_is_read_bare_or_wrapped(wrapped: bool):
    tenant = Tenant(5, wrapped_one=wrapped)
    deal = tenant.ids()[0]
    found = tenant.reader().one(deal)
    assert isinstance(found, Found)
    assert found.record.raw == tenant.deals.served(deal)
    assert not found.record.deleted


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_deleted_deal_is_a_404_or_a_tombstone(wrapped: bool):
    tenant = Tenant(5, wrapped_one=wrapped)
    deal = tenant.ids()[0]
    tenant.delete(deal)
    gone = tenant.reader().one(deal)
    assert isinstance(gone, Absent)
    assert gone.proof
    tenant.switches.deleted_one = "200"
    found = tenant.reader().one(deal)
    assert isinstance(found, Found)
    assert found.record.deleted


@pytest.mark.parametrize("status", [400, 403, 422])
def test_what_is_no_404_proves_nothing(status: int):
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, refused(status), where=lambda request: request.path.endswith("/x"))
    answer = tenant.reader().one("x")
    assert isinstance(answer, Absent)
    assert (answer.proof, answer.answer) == (False, str(status))


def test_a_403_for_one_deal_is_a_refusal_when_the_list_is_refused_as_well():
    tenant = Tenant(5, forbidden=True)
    with pytest.raises(Refused, match="read access to the CRM"):
        tenant.reader().one(tenant.ids()[0])


@pytest.mark.parametrize("odd", ["", " ", ".", "..", "/"])
def test_an_id_that_would_ask_for_the_list_is_never_sent(odd: str):
    tenant = Tenant(5)
    with pytest.raises(Unintelligible, match="no id"):
        tenant.reader().one(odd)
    assert not tenant.log


def test_another_record_than_the_one_asked_for_is_not_taken():
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, saying(b'{"id":"b"}'), where=lambda request: request.path.endswith("/a"))
    with pytest.raises(Unintelligible, match="another id"):
        tenant.reader().one("a")


# -- faults


def test_one_bad_record_never_costs_its_page():
    tenant = Tenant(20)
    first, second, third = tenant.ids()[:3]
    tenant.raw(first, b'{"id":"%s","value":NaN}' % first.encode())
    tenant.raw(second, b"null")
    tenant.raw(third, b'{"id":"%s","version":"7","value":"48000.50"}' % third.encode())
    pages = list(tenant.reader().changed(None))
    assert len({record.source_id for page in pages for record in page.records}) == 18
    spoiled = [bad for page in pages for bad in page.spoiled]
    assert {bad.source_id for bad in spoiled} == {first, None}
    read = {record.source_id: record for page in pages for record in page.records}
    assert read[third].version is None


@pytest.mark.parametrize(
    ("mishap", "fault"),
    [
        (refused(503), Unavailable),
        (reset(), Unavailable),
        (refused(403), Refused),
        (refused(401), Refused),
        (html(), Unintelligible),
        (cut_json(), Unintelligible),
        (endless(), Unintelligible),
        (gzip_bomb(), Unintelligible),
        (saying(b"[]"), Unintelligible),
        (saying(b'{"rows":[]}'), Unintelligible),
        (saying(b'{"data":{}}'), Unintelligible),
        (saying(b'{"data":[],"next_cursor":{"a":1}}'), Unintelligible),
        (saying(b'{"data":[],"has_more":true}'), Unintelligible),
        (refused(418), Unintelligible),
        (rate_limited("3000"), RateLimited),
    ],
)
def test_a_mishap_that_stays_ends_the_pull_with_the_cursor_of_the_last_whole_page(mishap: Any, fault: type[Exception]):
    tenant = Tenant(50)
    pulls = Pulls(tenant.reader)
    pulls.pull(pages=2)
    kept = pulls.cursor
    tenant.faults.sometimes(1.0, mishap, where=lambda request: request.path == DEALS)
    with pytest.raises(fault):
        pulls.pull()
    assert pulls.cursor == kept
    tenant.faults.clear()
    pulls.pull()
    assert len(pulls.held) == 50


@pytest.mark.parametrize("errors", ["detail", "list", "error", "message", "text", "html"])
@pytest.mark.parametrize("status", [400, 401, 403, 422, 500])
def test_error_bodies_of_any_shape_are_never_quoted_and_never_throw(errors: str, status: int):
    tenant = Tenant(5, errors=errors)
    tenant.faults.sometimes(
        1.0, lambda *_: tenant._error(status, "canary text"), where=lambda request: request.path == DEALS
    )
    with pytest.raises((Refused, Unavailable, Unintelligible)) as fault:
        list(tenant.reader().changed(None))
    assert "canary" not in str(fault.value)


@pytest.mark.parametrize("headers", ["retry-after", "date", "x-ratelimit"])
def test_a_429_is_obeyed_however_it_is_told(headers: str):
    tenant = Tenant(40, requests_per_minute=3, rate_headers=headers)
    reader = tenant.reader()
    reader._lists.transport._give_up_after_s = 90
    assert len(swept(reader.everything(None))[0]) == 40
    assert [call.status for call in tenant.log].count(429) <= 2


def test_sixty_requests_a_minute_are_never_exceeded():
    tenant = Tenant(200, requests_per_minute=None)
    list(tenant.reader(page_size=2, requests_per_minute=60).changed(None))
    moments = [SimClock().now.fromisoformat(call.at) for call in tenant.log]
    assert len(moments) > 100
    for place, moment in enumerate(moments[60:]):
        assert moment - moments[place] >= timedelta(minutes=1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["new", "amount", "stage", "touch", "delete", "restore", "pull", "cut"]), st.integers(0, 30)
        ),
        max_size=25,
    ),
    st.sampled_from(ENVELOPES),
)
def test_pulls_and_edits_in_any_order_end_with_what_the_tenant_has(steps: list[tuple[str, int]], envelope: str):
    tenant = Tenant(55, envelope=envelope)
    pulls = Pulls(tenant.reader)
    for what, n in steps:
        living, gone = tenant.ids(), [key for key in tenant.deals.ids() if tenant.get(key)["is_deleted"]]
        match what:
            case "new":
                tenant.new_deal(amount=None, stage="lead")
            case "pull":
                pulls.pull()
            case "cut":
                pulls.pull(pages=1 + n % 3)
            case "restore" if gone:
                tenant.restore(gone[n % len(gone)])
            case "amount" if living:
                tenant.silent(living[n % len(living)], value=n)
            case "stage" if living:
                tenant.set_stage(living[n % len(living)], tenant.stages[n % 6])
            case "touch" if living:
                tenant.touch(living[n % len(living)])
            case "delete" if living:
                tenant.delete(living[n % len(living)])
    pulls.pull()
    pulls.pull()
    held = {key: fields(raw) for key, raw in pulls.held.items() if key not in pulls.gone}
    assert held == {deal["id"]: json.loads(tenant.deals.served(deal["id"]) or b"") for deal in tenant.truth()}


# -- opening


def test_a_checkpoint_that_cannot_be_understood_costs_a_full_read():
    tenant = Tenant(5)
    pages = list(tenant.reader().changed({"version": 7}))
    assert UNREAD in pages[0].notes
    assert len(pages[0].records) == 5


def test_options_of_another_source_are_misconfigured():
    from connectors.cpod.api import CpodReader

    with pytest.raises(Misconfigured, match="cpod"):
        CpodReader(account(None, options=Options(amount_unit="major")))


def test_an_unknown_kind_of_reference_data_is_misconfigured():
    with pytest.raises(Misconfigured, match="it has accounts"):
        Tenant(1).reader().reference("owners")
