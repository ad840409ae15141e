"""The reader against a simulated tenant: what changed is found, what is gone is proven, and nothing is guessed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.committed import UNREAD
from connectors.faults import Misconfigured, RateLimited, Refused, Unavailable, Unintelligible
from connectors.paging import EMPTY_BETWEEN, OUT_OF_ORDER
from connectors.planhat.api import BOTH, EMPTY, HIDDEN, NEITHER, UNSEEN, UNSORTED
from connectors.simulated_wire import Request, cut_json, endless, gzip_bomb, html, rate_limited, refused, reset, saying
from connectors.simulation import SimClock
from connectors.source import Absent, Found, Options
from tests.connectors.planhat.reading import Tenant, both, open_reader
from tests.connectors.pulls import Pulls, swept
from tests.connectors.wire import account


def fields(raw: bytes) -> dict[str, Any]:
    return dict(json.loads(raw))


# -- the first pull


def test_the_first_pull_reads_everything_and_leaves_an_incremental_cursor():
    tenant = Tenant(50)
    pulls = Pulls(tenant.reader)
    pages = pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert all(page.cursor is not None and page.requested_at == tenant.clock.text() for page in pages)
    assert pulls.cursor is not None
    assert pulls.cursor["model"] == "deals"
    assert pulls.cursor["watermark"] == max(str(deal["updatedAt"]) for deal in tenant.truth())
    assert "full" not in pulls.cursor


def test_records_carry_kind_version_and_the_exact_bytes():
    tenant = Tenant(3)
    reader = tenant.reader(select=False)
    records = [record for page in reader.changed(None) for record in page.records]
    assert {record.kind for record in records} == {"deals"}
    for record in records:
        assert record.raw == tenant.served(record.source_id)
        assert record.version == fields(record.raw)["updatedAt"]


def test_select_names_every_claimed_field_and_our_own():
    tenant = Tenant(3)
    Pulls(tenant.reader).pull()
    asked = [set(call.query["select"].split(",")) for call in tenant.log if call.path == "/deals"]
    assert asked[-1] == {"_id", "updatedAt", "name", "stage", "total", "currency", "closeDate", "ownerId", "custom"}
    tenant.log.clear()
    Pulls(lambda: tenant.reader(fields={})).pull()
    assert all("select" not in call.query for call in tenant.log if call.query.get("sort") == "_id")


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_first_pull_that_dies_after_any_page_resumes_there_and_misses_nothing(cut: int):
    tenant = Tenant(50)
    pulls = Pulls(tenant.reader)
    pulls.pull(pages=cut)
    read = pulls.read
    tenant.delete(tenant.ids()[0])
    late = tenant.create(stage="Negotiation")
    pulls.pull()
    assert set(tenant.ids()) <= set(pulls.held)
    assert late in pulls.held
    assert cut > 7 or read + pulls.read < 90


def test_a_change_made_during_the_first_pull_to_a_row_already_read_is_found_by_the_next():
    tenant = Tenant(50)
    pulls = Pulls(lambda: tenant.reader(overlap="0s"))
    first, last = tenant.ids()[0], tenant.ids()[-1]

    def between(request: Request) -> None:
        if request.query.get("offset") == "28":
            tenant.edit(first, stage="Closed Won")
            tenant.clock.advance(5)
            tenant.edit(last, stage="Closed Won")

    tenant.before_list = between
    pulls.pull()
    assert fields(pulls.held[first])["stage"] != "Closed Won"
    pulls.pull()
    assert fields(pulls.held[first])["stage"] == fields(pulls.held[last])["stage"] == "Closed Won"


# -- later pulls


def test_an_unchanged_tenant_costs_a_page_and_the_definitions():
    tenant = Tenant(50)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.log.clear()
    before = pulls.cursor
    pulls.pull()
    assert tenant.lists_asked == ["-updatedAt"]
    assert [call.path for call in tenant.log] == ["/deals", "/customfields"]
    assert pulls.cursor == before


def test_a_pull_reads_down_to_the_watermark_and_no_further():
    tenant = Tenant(200)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    changed = tenant.ids()[20:45]
    for deal in changed:
        tenant.edit(deal, stage="Closed Won")
    pages = pulls.pull()
    assert set(changed) <= {record.source_id for page in pages for record in page.records}
    assert pulls.read < 60
    assert [page.cursor is None for page in pages] == [True] * (len(pages) - 1) + [False]


def test_a_pull_that_dies_in_its_walk_leaves_the_watermark_where_it_was():
    tenant = Tenant(200)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    before = pulls.cursor
    for deal in tenant.ids()[:40]:
        tenant.edit(deal, stage="Closed Won")
    pulls.pull(pages=2)
    assert pulls.cursor == before
    pulls.pull()
    assert all(fields(pulls.held[deal])["stage"] == "Closed Won" for deal in tenant.ids()[:40])


def test_what_becomes_visible_late_is_found_within_the_overlap():
    tenant = Tenant(50)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    tenant.switches.late_commit_s = 300
    slow = tenant.create(stage="Negotiation")
    tenant.switches.late_commit_s = 0
    tenant.clock.advance(1)
    for deal in tenant.ids()[:15]:
        tenant.touch(deal)
    pulls.pull()
    assert slow not in pulls.held
    tenant.clock.advance(400)
    pulls.pull()
    assert slow in pulls.held


def test_equal_stamps_at_the_watermark_are_all_read():
    tenant = Tenant(30, clock=SimClock(tick=timedelta()))
    pulls = Pulls(lambda: tenant.reader(overlap="0s"))
    tenant.edit(tenant.ids()[0], name="first")
    pulls.pull()
    for deal in tenant.ids()[1:25]:
        tenant.edit(deal, name="second")
    pulls.pull()
    assert all(fields(pulls.held[deal])["name"] == "second" for deal in tenant.ids()[1:25])


def test_a_stamp_in_the_future_blinds_nobody():
    tenant = Tenant(50)
    odd, other = tenant.ids()[:2]
    future = fields(tenant.served(odd) or b"") | {"updatedAt": "2099-01-01T00:00:00.000Z"}
    tenant.raw(odd, json.dumps(future).encode())
    pulls = Pulls(tenant.reader)
    pages = pulls.pull()
    assert {record.version for page in pages for record in page.records if record.source_id == odd} == {None}
    assert (pulls.cursor or {})["watermark"] <= tenant.clock.text()
    tenant.clock.advance(3600)
    tenant.edit(other, stage="Closed Won")
    pulls.pull()
    assert fields(pulls.held[other])["stage"] == "Closed Won"
    assert (pulls.cursor or {})["watermark"] == tenant.get(other)["updatedAt"]


@pytest.mark.parametrize(
    "stamp", ["", ',"updatedAt":null', ',"updatedAt":"soon"', ',"updatedAt":7', ',"updatedAt":"2026-02-30"']
)
def test_a_record_without_a_usable_stamp_lands_without_version_and_freezes_nothing(stamp: str):
    tenant = Tenant(50)
    odd, other = tenant.ids()[10:12]
    tenant.raw(odd, f'{{"_id":"{odd}","name":"odd"{stamp}}}'.encode())
    pulls = Pulls(tenant.reader)
    pages = pulls.pull()
    assert next(record.version for page in pages for record in page.records if record.source_id == odd) is None
    tenant.clock.advance(3600)
    tenant.edit(other, stage="Closed Won")
    pulls.pull()
    assert fields(pulls.held[other])["stage"] == "Closed Won"
    assert (pulls.cursor or {})["watermark"] == tenant.get(other)["updatedAt"]


def test_an_order_that_is_not_kept_makes_the_pull_read_everything_and_say_so():
    tenant = Tenant(120)
    pulls = Pulls(tenant.reader)
    tenant.edit(tenant.ids()[-1], stage="Closed Won")
    pulls.pull()
    before = (pulls.cursor or {})["watermark"]
    tenant.switches.ignored_params = frozenset({"sort"})
    old = tenant.ids()[80]
    tenant.edit(old, stage="Closed Won")
    pulls.pull()
    assert fields(pulls.held[old])["stage"] == "Closed Won"
    assert UNSORTED in pulls.notes
    assert before <= (pulls.cursor or {})["watermark"] <= tenant.get(old)["updatedAt"]


def test_the_option_scan_reads_everything_each_time():
    tenant = Tenant(30)
    pulls = Pulls(lambda: tenant.reader(incremental="scan"))
    pulls.pull()
    tenant.silent(tenant.ids()[3], stage="Closed Lost")
    pulls.pull()
    assert fields(pulls.held[tenant.ids()[3]])["stage"] == "Closed Lost"


@pytest.mark.parametrize("damaged", [{"model": "tickets"}, {"watermark": 7}, {"v": 2}, {"full": {"offset": "x"}}])
def test_a_cursor_that_is_not_ours_means_reading_everything_and_saying_so(damaged: dict[str, Any]):
    tenant = Tenant(20)
    pulls = Pulls(tenant.reader)
    pulls.cursor = damaged
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert UNREAD in pulls.notes


@settings(deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_pulls_and_edits_in_any_order_end_with_what_the_tenant_has(data: st.DataObject):
    tenant = Tenant(data.draw(st.integers(0, 25)))
    pulls = Pulls(lambda: tenant.reader(page_size=5, page_overlap=2))
    for _ in range(data.draw(st.integers(1, 8))):
        what = data.draw(st.sampled_from(["edit", "create", "touch", "wait", "pull", "die"]))
        ids = tenant.ids()
        if what == "create":
            tenant.create(stage="Negotiation")
        elif what in ("edit", "touch") and ids:
            getattr(tenant, what)(data.draw(st.sampled_from(ids)))
        elif what == "wait":
            tenant.clock.advance(data.draw(st.integers(0, 7200)))
        else:
            pulls.pull(pages=data.draw(st.integers(1, 4)) if what == "die" else None)
    pulls.pull()
    held = {source_id: fields(raw)["updatedAt"] for source_id, raw in pulls.held.items()}
    assert held == {str(deal["_id"]): deal["updatedAt"] for deal in tenant.truth()}


# -- faults on the wire


@pytest.mark.parametrize(
    "mishap", [refused(503), refused(500), reset(), html(), cut_json(), saying(b""), rate_limited(), rate_limited("5")]
)
def test_a_mishap_that_passes_is_not_noticed(mishap: Any):
    tenant = Tenant(30)
    tenant.faults.at(3, mishap)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())


@pytest.mark.parametrize(
    ("mishap", "fault", "words"),
    [
        (html(), Unintelligible, "text/html: the answer is a page of markup"),
        (cut_json(), Unintelligible, "breaks off"),
        (saying(b""), Unintelligible, "empty body"),
        (saying(b'{"error":"maintenance"}'), Unintelligible, "one object"),
        (endless(), Unintelligible, "too large"),
        (gzip_bomb(), Unintelligible, "too large"),
        (refused(503), Unavailable, "answered 503"),
        (refused(401), Refused, "app-us3.planhat.com, base_url must be https://api-us3.planhat.com"),
        (refused(403), Refused, "lacks the read permission"),
        (refused(404), Unintelligible, "check base_url and revenue_model"),
        (reset(), Unavailable, "cannot be reached"),
        (rate_limited("600"), RateLimited, "600 s"),
    ],
)
def test_a_mishap_that_stays_ends_the_pull_with_the_cursor_of_the_last_whole_page(mishap: Any, fault: Any, words: str):
    tenant = Tenant(30)
    pulls = Pulls(tenant.reader)
    tenant.faults.sometimes(1.0, mishap, where=lambda request: request.query.get("offset") == "14")
    with pytest.raises(fault, match=words):
        pulls.pull()
    assert (pulls.cursor or {})["full"]["offset"] == 17
    assert "watermark" not in (pulls.cursor or {})


def test_one_bad_record_never_costs_its_page():
    tenant = Tenant(30)
    bad = tenant.ids()[4]
    tenant.raw(bad, b'{"_id":"' + bad.encode() + b'","total":NaN}')
    pulls = Pulls(tenant.reader)
    pages = pulls.pull()
    assert set(pulls.held) == set(tenant.ids()) - {bad}
    assert {(row.source_id, row.reason) for page in pages for row in page.spoiled} == {(bad, "RECORD_SHAPE")}


# -- sweeps


def test_a_sweep_shows_everything_without_a_doubt():
    tenant = Tenant(50)
    assert swept(tenant.reader().everything(None)) == (set(tenant.ids()), set())


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_sweep_that_dies_resumes_at_its_cursor(cut: int):
    tenant = Tenant(50)
    seen, cursor = set[str](), None
    for number, page in enumerate(tenant.reader().everything(None), 1):
        seen |= {record.source_id for record in page.records}
        cursor = page.cursor
        if number == cut:
            break
    for deal in tenant.ids()[:2]:
        tenant.delete(deal)
    rest, doubts = swept(tenant.reader().everything(cursor))
    assert set(tenant.ids()) <= seen | rest
    assert doubts == set()


def test_an_empty_list_is_no_witness():
    tenant = Tenant(0)
    assert swept(tenant.reader(revenue_model="deals").everything(None)) == (set(), {EMPTY})
    assert swept(tenant.reader().everything(None)) == (set(), {EMPTY})


def test_a_list_out_of_order_is_no_witness_not_even_when_resumed():
    tenant = Tenant(50, ignored_params=frozenset({"sort"}))
    tenant.edit(tenant.ids()[0], stage="Closed Won")
    pages = list(tenant.reader().everything(None))
    seen, doubts = swept(iter(pages))
    assert seen == set(tenant.ids())
    assert doubts == {OUT_OF_ORDER}
    broken = next(page for page in pages if page.doubts)
    assert OUT_OF_ORDER in swept(tenant.reader().everything(broken.cursor))[1]


def test_a_page_repeated_for_ever_is_no_witness_and_fails_a_pull():
    tenant = Tenant(50, ignored_params=frozenset({"offset"}))
    seen, doubts = swept(tenant.reader().everything(None))
    assert len(seen) == 10
    assert any("come again" in doubt for doubt in doubts)
    pulls = Pulls(tenant.reader)
    with pytest.raises(Unintelligible, match="come again"):
        pulls.pull()
    assert "watermark" not in (pulls.cursor or {})


def test_an_empty_page_too_early_is_no_witness_and_fails_a_pull():
    tenant = Tenant(50)
    tenant.faults.sometimes(1.0, saying(b"[]"), where=lambda request: int(request.query.get("offset", 0)) > 20)
    _, doubts = swept(tenant.reader().everything(None))
    assert any("empty page" in doubt for doubt in doubts)
    pulls = Pulls(tenant.reader)
    with pytest.raises(Unintelligible, match="empty page"):
        pulls.pull()
    assert "watermark" not in (pulls.cursor or {})


def test_an_empty_page_in_passing_leaves_a_doubt_and_loses_nothing():
    tenant = Tenant(50)
    tenant.faults.at(5, saying(b"[]"))
    assert swept(tenant.reader(revenue_model="deals").everything(None)) == (set(tenant.ids()), {EMPTY_BETWEEN})


def test_a_doubt_is_kept_by_a_sweep_that_is_resumed():
    tenant = Tenant(50)
    tenant.faults.at(5, saying(b"[]"))
    pages = tenant.reader(revenue_model="deals").everything(None)
    doubted = next(page for page in pages if page.doubts)
    assert swept(tenant.reader(revenue_model="deals").everything(doubted.cursor))[1] == {EMPTY_BETWEEN}


# -- one record


def test_one_record_is_found_by_each_of_its_names():
    tenant = Tenant(20)
    deal = tenant.ids()[7]
    tenant.edit(deal, externalId="crm/42 ü", sourceId="006 X?#")
    reader = tenant.reader()
    for key in (deal, "extid-crm/42 ü", "srcid-006 X?#"):
        found = reader.one(key)
        assert isinstance(found, Found)
        assert (found.record.source_id, found.record.raw) == (deal, tenant.served(deal))
        assert found.requested_at == tenant.clock.text()


@pytest.mark.parametrize("style", ["404", "400", "null", "{}"])
@pytest.mark.parametrize("model", ["deals", "auto"])
def test_only_404_proves_absence(style: Any, model: str):
    tenant = Tenant(20, not_found=style)
    tenant.switches.no_deal_model = None
    answer = tenant.reader(revenue_model=model).one("0" * 24)
    assert isinstance(answer, Absent)
    assert style in answer.answer
    assert answer.proof == (style == "404")


def test_410_proves_absence_and_401_and_5xx_do_not():
    tenant = Tenant(5)
    reader = tenant.reader(revenue_model="deals")
    tenant.faults.next(refused(410))
    assert reader.one(tenant.ids()[0]) == Absent(True, "410", tenant.clock.text())
    tenant.faults.next(refused(401))
    with pytest.raises(Refused, match="cluster"):
        reader.one(tenant.ids()[0])
    tenant.faults.next(refused(502), times=50)
    with pytest.raises(Unavailable):
        reader.one(tenant.ids()[0])


def test_a_record_hidden_from_the_token_is_not_proven_absent():
    tenant = Tenant(20)
    hidden = tenant.ids()[3]
    tenant.switches.hidden = frozenset({hidden})
    for model in ("deals", "auto"):
        answer = tenant.reader(revenue_model=model).one(hidden)
        assert isinstance(answer, Absent)
        assert not answer.proof
    tenant.switches.forbidden = True
    with pytest.raises(Refused, match="permission"):
        tenant.reader(revenue_model="deals").one(hidden)


@pytest.mark.parametrize("empty", ["", " ", "/", ".", "..", "extid-", "srcid-", "extid- "])
def test_an_empty_id_is_never_asked_for(empty: str):
    tenant = Tenant(5)
    with pytest.raises(Unintelligible, match="whole list"):
        tenant.reader().one(empty)
    assert tenant.log == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'[{"_id":"x"}]', "a list; an object was expected"),
        (b'{"_id":"another"}', "another id than the one asked for"),
        (b'{"name":"x"}', "no _id"),
        (b'{"_id":"x","a":NaN}', "not JSON"),
        (b"", "empty body"),
        (b'"x"', "text"),
    ],
)
def test_a_get_one_that_answers_something_else_is_unintelligible(body: bytes, words: str):
    tenant = Tenant(5)
    tenant.faults.next(saying(body), times=3)
    with pytest.raises(Unintelligible, match=words):
        tenant.reader(revenue_model="deals").one("x")


# -- deals or opportunities


def test_a_tenant_with_opportunities_is_found_out_and_kept():
    tenant = Tenant(30, model="opportunities")
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert (pulls.cursor or {})["model"] == "opportunities"
    assert set(pulls.held) == set(tenant.ids())
    tenant.log.clear()
    tenant.edit(tenant.ids()[0], status="won")
    pages = pulls.pull()
    assert {record.kind for page in pages for record in page.records} == {"opportunities"}
    assert {call.path for call in tenant.log} == {"/opportunities"}  # whose custom fields are not wanted here


@pytest.mark.parametrize("absent", ["403", "404", "empty"])
def test_deals_that_cannot_be_seen_mean_unknown(absent: Any):
    tenant = Tenant(30, model="opportunities", no_deal_model=absent)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    _, doubts = swept(tenant.reader().everything(None))
    assert doubts == ({UNSEEN} if absent == "403" else set())
    assert swept(tenant.reader().everything(pulls.cursor))[1] == set()


@pytest.mark.parametrize("hidden", ["/deals", "/opportunities"])
def test_a_list_that_cannot_be_seen_beside_an_empty_one_is_not_taken_for_a_tenant_without_rows(hidden: str):
    tenant = Tenant(0)
    assert [page.doubts for page in tenant.reader().changed(None)] == [()]
    tenant.faults.sometimes(1.0, refused(403), where=lambda request: request.path == hidden)
    assert [page.doubts for page in tenant.reader().changed(None)] == [(HIDDEN,)]
    assert [page.doubts for page in tenant.reader().everything(None)] == [(HIDDEN, EMPTY)]


def test_the_model_once_found_is_never_mixed_with_the_other():
    opportunities, deals = Tenant(20, model="opportunities", seed=1), Tenant(20, seed=2)
    pulls = Pulls(opportunities.reader)
    pulls.pull()
    transport = both(deals, opportunities)
    pulls.open_again = lambda: open_reader(transport)
    pulls.pull()
    assert set(pulls.held) == set(opportunities.ids())
    assert swept(open_reader(transport).everything(pulls.cursor)) == (set(opportunities.ids()), set())
    assert swept(open_reader(transport).everything(None)) == (set(deals.ids()), {BOTH})


def test_while_both_models_have_rows_absence_takes_both_to_prove():
    opportunities, deals = Tenant(20, model="opportunities", seed=1), Tenant(20, seed=2)
    reader = open_reader(both(deals, opportunities))
    swept(reader.everything(None))
    found = reader.one(opportunities.ids()[0])
    assert isinstance(found, Found)
    assert found.record.kind == "opportunities"
    gone = reader.one("0" * 24)
    assert isinstance(gone, Absent)
    assert (gone.proof, gone.answer) == (True, "404 from deals, 404 from opportunities")


def test_both_empty_settles_nothing():
    tenant = Tenant(0)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert (pulls.cursor, pulls.notes) == ({}, {NEITHER})
    tenant.create(stage="Negotiation")
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert (pulls.cursor or {})["model"] == "deals"


def test_a_tenant_that_becomes_empty_keeps_its_cursor():
    tenant = Tenant(20)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    before = pulls.cursor
    for deal in tenant.ids():
        tenant.delete(deal)
    pulls.pull()
    assert pulls.cursor == before
    assert pulls.read == 0


def test_a_token_that_may_read_neither_is_refused_and_a_wrong_path_is_told():
    tenant = Tenant(5, forbidden=True)
    tenant.faults.sometimes(1.0, refused(403), where=lambda request: request.path == "/opportunities")
    with pytest.raises(Refused, match="neither deals nor opportunities"):
        next(iter(tenant.reader().changed(None)))
    lost = Tenant(5)
    lost.faults.sometimes(1.0, refused(404))
    with pytest.raises(Unintelligible, match=r"api.planhat.com knows neither"):
        next(iter(lost.reader().everything(None)))


def test_a_stated_model_is_believed():
    tenant = Tenant(5, no_deal_model="404")
    with pytest.raises(Unintelligible, match=r"answered 404: api.planhat.com has no such list"):
        next(iter(tenant.reader(revenue_model="deals").changed(None)))
    assert {call.path for call in tenant.log} == {"/deals"}


# -- opening, owners


@pytest.mark.parametrize("auth", ["bearer", "basic"])
def test_both_ways_to_authenticate_are_accepted(auth: str):
    tenant = Tenant(5)
    assert swept(tenant.reader(auth=auth).everything(None))[0] == set(tenant.ids())


def test_a_good_token_at_the_wrong_cluster_is_explained():
    tenant = Tenant(5, host="api-us3.planhat.com")
    with pytest.raises(Refused, match=r"not valid at api.planhat.com. A good token at the wrong cluster looks just"):
        next(iter(tenant.reader().changed(None)))


@pytest.mark.parametrize(("token", "base_url"), [("", "https://api.planhat.com"), ("x", "http://api.planhat.com")])
def test_what_cannot_work_is_misconfigured_when_opened(token: str, base_url: str):
    with pytest.raises(Misconfigured):
        open_reader(Tenant(0).transport(), token=token, base_url=base_url)


def test_the_options_of_another_source_are_misconfigured():
    from connectors.planhat import SOURCE

    with pytest.raises(Misconfigured, match="planhat"):
        SOURCE.open(account(None, options=Options(amount_unit="major")))
