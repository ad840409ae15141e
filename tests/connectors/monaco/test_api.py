"""The reader against a simulated organization: what changed is found, what is gone is proven, nothing is guessed."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.committed import UNREAD
from connectors.faults import Misconfigured, RateLimited, Refused, Unavailable, Unintelligible
from connectors.monaco.api import (
    EMPTY,
    FILTERED_OUT,
    NO_SCHEMA,
    REFUSED,
    UNDATED,
    UNSORTED,
    MonacoReader,
)
from connectors.monaco.walk import SHORT
from connectors.paging import OUT_OF_ORDER
from connectors.simulated_wire import Handler, Request, cut_json, html, json_answer, refused, reset, saying
from connectors.source import Absent, Found, Options, Record
from tests.connectors.monaco.reading import Organization, open_reader
from tests.connectors.pulls import Pulls, swept
from tests.connectors.wire import account

FILTER, SORT, SCAN = "created_at filtered", "-updated_at", "created_at"
NO_FILTER: dict[str, Any] = {"updated_at_operators": ()}
WAYS: dict[str, dict[str, Any]] = {
    FILTER: {},
    SORT: NO_FILTER,
    SCAN: {**NO_FILTER, "updated_at_sortable": False},
    "absent": {"updated_at": "absent"},
    "no schema": {"schema": "none"},
}

every_way = pytest.mark.parametrize("way", WAYS)


def fields(raw: bytes) -> dict[str, Any]:
    return dict(json.loads(raw))


# -- the three ways, and the one that always works


@every_way
def test_whatever_the_organization_offers_changes_are_found(way: str):
    made = Organization(70, **WAYS[way])
    pulls = Pulls(made.reader)
    pulls.pull()
    assert set(pulls.held) == set(made.ids())
    made.clock.advance(86_400)
    changed, untouched = made.ids()[:3], len(made.asked)
    for deal in changed:
        made.set_stage(deal, "closed_won")
    new = made.new_deal(amount=None, stage="negotiation")
    pulls.pull()
    assert {fields(pulls.held[deal])["stage"] for deal in changed} == {"closed_won"}
    assert new in pulls.held
    assert made.sorts[untouched:][0] == (way if way in (FILTER, SORT) else SCAN)
    assert (pulls.read < 30) == (way in (FILTER, SORT))


@every_way
def test_pulls_that_die_after_any_page_miss_nothing(way: str):
    for cut in range(1, 8):
        made = Organization(70, **WAYS[way])
        pulls = Pulls(made.reader)
        pulls.pull(pages=cut)
        made.delete(made.ids()[0])
        new = made.new_deal(amount=None, stage="negotiation")
        made.set_stage(first := made.ids()[0], "closed_lost")
        pulls.pull(pages=cut)
        made.clock.advance(60)
        pulls.pull()
        pulls.pull()
        assert set(made.ids()) <= set(pulls.held)
        assert new in pulls.held
        assert fields(pulls.held[first])["stage"] == "closed_lost"


@pytest.mark.parametrize("way", [FILTER, SORT])
def test_a_full_read_that_was_cut_off_shows_what_changed_meanwhile_before_it_ends(way: str):
    made = Organization(70, **WAYS[way])
    pulls = Pulls(made.reader)
    pulls.pull(pages=2)
    made.clock.advance(3600)
    first = next(deal for deal, raw in pulls.held.items() if fields(raw)["stage"] == "negotiation")
    made.set_stage(first, "closed_lost")
    pulls.pull()
    assert fields(pulls.held[first])["stage"] == "closed_lost"


def test_an_idle_organization_costs_one_request():
    made = Organization(200)
    pulls = Pulls(made.reader)
    pulls.pull()
    made.log.clear()
    before = pulls.cursor
    pulls.pull()
    assert len(made.log) == 1
    assert pulls.cursor == before


def test_records_carry_the_exact_bytes_their_kind_and_their_version():
    made = Organization(3)
    for record in [record for page in made.reader().changed(None) for record in page.records]:
        assert record.raw == made.records.served(record.source_id)
        assert (record.kind, record.version) == (
            "opportunities",
            fields(record.raw)["updated_at"].replace("Z", ".000Z"),
        )
    bare = Organization(3, updated_at="absent")
    assert {record.version for page in bare.reader().changed(None) for record in page.records} == {None}


@pytest.mark.parametrize("operator", ["greater_than", "after", "is_after", "on_or_after"])
@pytest.mark.parametrize("exclusive", [True, False])
def test_a_lower_bound_goes_by_the_name_the_schema_lists(operator: str, exclusive: bool):
    made = Organization(40, updated_at_operators=("before", operator), bound_is_exclusive=exclusive)
    pulls = Pulls(made.reader)
    pulls.pull()
    made.touch(made.ids()[7])
    pulls.pull()
    (rule,) = made.asked[-1]["filters"]
    assert (rule["field"], rule["condition"]) == ("updated_at", operator)
    assert pulls.read < 5


def test_two_writes_in_one_second_are_both_found():
    made = Organization(30)
    pulls = Pulls(lambda: made.reader(overlap="0s"))
    made.set_stage(first := made.ids()[0], "closed_won")
    pulls.pull()
    made.set_stage(first, "closed_lost")
    pulls.pull()
    assert fields(pulls.held[first])["stage"] == "closed_lost"


@pytest.mark.parametrize("way", [FILTER, SORT])
def test_what_becomes_visible_late_is_found_within_the_overlap(way: str):
    made = Organization(30, **WAYS[way])
    pulls = Pulls(made.reader)
    pulls.pull()
    made.switches.late_commit_s = 300
    slow = made.create(stage="negotiation")
    made.switches.late_commit_s = 0
    made.clock.advance(1)
    made.touch(made.ids()[4])
    pulls.pull()
    assert slow not in pulls.held
    made.clock.advance(400)
    pulls.pull()
    assert slow in pulls.held


@pytest.mark.parametrize("way", [FILTER, SORT])
def test_a_change_while_changes_are_read_is_found_by_this_pull_or_the_next(way: str):
    made = Organization(90, **WAYS[way])
    pulls = Pulls(lambda: made.reader(overlap="1s"))
    pulls.pull()
    made.clock.advance(3600)
    for deal in made.ids():
        made.touch(deal)
    begun, changed = len(made.asked), {}

    def meddle(request: int) -> None:
        if request > begun:
            made.clock.advance(5)
            made.delete(made.ids()[request % 7])
            deal = made.ids()[request % 5]
            made.set_stage(deal, stage := made.stages[1 + request % 2])
            changed[deal] = stage

    made.meddle = meddle
    pulls.pull()
    made.meddle = lambda _: None
    pulls.pull()
    assert all(fields(pulls.held[deal])["stage"] == stage for deal, stage in changed.items() if deal in made.ids())
    assert len(changed) > 2


@pytest.mark.parametrize("way", [FILTER, SCAN])
def test_the_watermark_never_passes_the_moment_the_read_began(way: str):
    """A row read already changes, then one not read yet: the later one must not carry the watermark past the other."""
    made = Organization(60)
    pulls = Pulls(lambda: made.reader(overlap="1s"))
    oldest_first = sorted(made.truth(), key=lambda deal: deal["created_at"])
    first, last = oldest_first[0]["id"], oldest_first[-1]["id"]
    if way == FILTER:
        pulls.pull()
    made.clock.advance(3600)
    for deal in made.ids():
        made.touch(deal)
    begun = len(made.asked)

    def meddle(request: int) -> None:
        if request == begun + 2:
            for deal in (first, last):
                made.clock.advance(20)
                made.edit(deal, name="changed meanwhile")

    made.meddle = meddle
    pulls.pull()
    assert made.sorts[-1] == way
    assert fields(pulls.held[first])["name"] != "changed meanwhile"
    pulls.pull()
    assert {fields(pulls.held[deal])["name"] for deal in (first, last)} == {"changed meanwhile"}


def test_a_filter_that_leaves_out_what_it_must_show_is_not_believed():
    """Where the newest opportunity was deleted nothing else is wrong, and the watermark comes down to what is left."""
    made = Organization(40)
    pulls = Pulls(made.reader)
    pulls.pull()
    newest = max(made.truth(), key=lambda deal: deal["updated_at"])
    made.delete(newest["id"])
    pulls.pull()
    assert pulls.notes == {FILTERED_OUT}
    assert set(made.ids()) <= {record.source_id for page in pulls.pages for record in page.records}
    pulls.pull()
    assert pulls.notes == set()


@pytest.mark.parametrize("details", ["string", "list"])
def test_a_filter_refused_although_it_is_offered_gives_way_to_the_sort_and_is_remembered(details: str):
    made = Organization(40, refuses_dates=True, details=details)
    pulls = Pulls(made.reader)
    pulls.pull()
    made.asked.clear()
    made.touch(made.ids()[0])
    pulls.pull()
    assert pulls.notes == {REFUSED}
    made.asked.clear()
    pulls.pull()
    assert made.sorts == [SORT]
    assert pulls.notes == set()


def test_a_sort_refused_although_it_is_offered_gives_way_to_a_full_read():
    made = Organization(40, **NO_FILTER)
    pulls = Pulls(made.reader)
    pulls.pull()
    made.faults.sometimes(1.0, refused(422), where=lambda request: b'"-updated_at"' in request.body)
    made.touch(made.ids()[0])
    pulls.pull()
    assert REFUSED in pulls.notes
    assert pulls.read >= 40


def test_an_order_that_is_not_kept_gives_way_to_a_full_read():
    made = Organization(60, **NO_FILTER)
    pulls = Pulls(made.reader)
    pulls.pull()

    def as_created(request: Request, handle: Handler) -> Any:
        body = json.loads(request.body) | {"sort": "created_at"}
        return handle(
            Request(method="POST", path=request.path, headers=request.headers, body=json.dumps(body).encode())
        )

    made.faults.sometimes(1.0, as_created, where=lambda request: b'"-updated_at"' in request.body)
    pulls.pull()
    assert UNSORTED in pulls.notes
    assert set(made.ids()) <= {record.source_id for page in pulls.pages for record in page.records}


@pytest.mark.parametrize("way", [FILTER, SORT])
def test_one_opportunity_without_updated_at_makes_every_pull_read_everything(way: str):
    """Neither a filter nor a sort would ever find its changes."""
    made = Organization(40, **WAYS[way])
    bare = made.ids()[3]
    made.silent(bare, updated_at=None)
    pulls = Pulls(made.reader)
    pulls.pull()
    assert pulls.notes == {UNDATED}
    made.silent(bare, stage="closed_won")
    pulls.pull()
    assert fields(pulls.held[bare])["stage"] == "closed_won"


def test_an_opportunity_stamped_in_a_far_future_hides_nobody_elses_changes():
    for switches in ({}, NO_FILTER):
        made = Organization(40, **switches)
        made.silent(odd := made.ids()[3], updated_at="2099-01-01T00:00:00Z")
        pulls = Pulls(made.reader)
        pulls.pull()
        versions = {record.source_id: record.version for page in pulls.pages for record in page.records}
        assert versions[odd] is None
        made.clock.advance(3600)
        made.set_stage(other := made.ids()[9], "closed_won")
        pulls.pull()
        assert fields(pulls.held[other])["stage"] == "closed_won"
        assert pulls.read < 40


@pytest.mark.parametrize("way", ["filter", "sort"])
def test_a_way_that_is_asked_for_and_not_offered_is_misconfigured(way: str):
    made = Organization(20, updated_at_operators=(), updated_at_sortable=False)
    with pytest.raises(Misconfigured, match="set it to 'auto'"):
        Pulls(lambda: made.reader(incremental=way)).pull()


def test_a_filter_asked_for_and_refused_is_misconfigured():
    made = Organization(20, refuses_dates=True)
    pulls = Pulls(lambda: made.reader(incremental="filter"))
    pulls.pull()
    with pytest.raises(Misconfigured, match="Monaco refuses to filter"):
        pulls.pull()


def test_a_scan_asked_for_reads_everything_each_time():
    made = Organization(40)
    pulls = Pulls(lambda: made.reader(incremental="scan"))
    pulls.pull()
    pulls.pull()
    assert pulls.read >= 40
    assert set(made.sorts) == {SCAN}


def test_a_checkpoint_of_somebody_else_reads_everything_and_says_so():
    made = Organization(20)
    pulls = Pulls(made.reader)
    pulls.cursor = {"offset": 7}
    pulls.pull()
    assert set(pulls.held) == set(made.ids())
    assert pulls.notes == {UNREAD}


def test_cursors_are_json_and_survive_it():
    made = Organization(60)
    for page in made.reader().changed(None):
        assert page.cursor is not None
        assert json.loads(json.dumps(page.cursor)) == page.cursor


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(WAYS)), st.lists(st.integers(0, 5), max_size=25), st.integers(0, 9))
def test_pulls_and_edits_in_any_order_end_with_what_the_organization_has(way: str, steps: list[int], seed: int):
    made = Organization(25, seed=seed, **WAYS[way])
    pulls = Pulls(made.reader)
    for number, step in enumerate(steps):
        deal = made.ids()[(7 * number + seed) % len(made.ids())]
        match step:
            case 0:
                pulls.pull(pages=1 + number % 3)
            case 1:
                pulls.pull()
            case 2:
                made.set_stage(deal, made.stages[number % 3])
            case 3:
                made.new_deal(amount=None, stage="negotiation")
            case 4:
                made.delete(deal)
            case 5:
                made.clock.advance(number)
    pulls.pull()
    pulls.pull()
    shown = {deal["id"]: deal["stage"] for deal in made.truth()}
    assert {deal: fields(pulls.held[deal])["stage"] for deal in shown} == shown


def test_a_full_read_that_may_have_missed_rows_leaves_no_watermark():
    made = Organization(60, cut_short_at=30)
    pulls = Pulls(made.reader)
    pulls.pull()
    assert pulls.notes == {SHORT}
    made.switches.cut_short_at = None
    pulls.pull()
    assert set(pulls.held) == set(made.ids())
    assert pulls.notes == set()
    pulls.pull()
    assert made.sorts[-1] == FILTER


def test_changes_that_may_have_been_missed_are_made_up_for_by_a_full_read():
    made = Organization(60)
    pulls = Pulls(made.reader)
    pulls.pull()
    made.clock.advance(3600)
    for deal in made.ids():
        made.set_stage(deal, "closed_won")

    def short(request: Request, handle: Handler) -> Any:
        answer = json.loads(handle(request).body)
        return json_answer(answer | {"data": answer["data"][:5]})

    made.faults.sometimes(1.0, short, where=lambda request: b'"after"' in request.body)
    pulls.pull()
    assert SHORT in pulls.notes
    assert {fields(raw)["stage"] for raw in pulls.held.values()} == {"closed_won"}


def test_a_reader_used_again_tells_only_what_is_new():
    made = Organization(20)
    reader = made.reader()
    assert {note for page in reader.changed({"damaged": 1}) for note in page.notes} == {UNREAD}
    assert {note for page in reader.changed(None) for note in page.notes} == set()


# -- custom fields and the schema


def test_custom_fields_are_defined_before_the_first_page_that_bears_them():
    made = Organization(60)
    pages = list(made.reader().changed(None))
    assert {field.label for field in pages[0].fields} == {"Lead Source", "Incumbent", "Kick-off"}
    assert all(f"custom_field_{field.id}" == field.record_key for field in pages[0].fields)
    assert all(page.fields == () for page in pages[1:])


def test_an_unknown_custom_key_refreshes_the_schema_once():
    made = Organization(60)
    pulls = Pulls(made.reader)
    pulls.pull()
    key = made.make.custom_field("Region")
    made.edit(made.ids()[0], **{key: "EMEA"})
    made.log.clear()
    pulls.pull()
    assert pulls.labels[key] == "Region"
    assert made.paths().count("GET /v1/schemas/opportunities 200") == 1
    assert {field.label for page in pulls.pages for field in page.fields} >= {"Region"}
    made.log.clear()
    pulls.pull()
    assert "GET /v1/schemas/opportunities 200" not in made.paths()


def test_a_field_that_was_deleted_is_asked_for_once():
    made = Organization(60)
    gone = "custom_field_00000000-0000-4000-8000-000000000000"
    for deal in made.ids():
        made.silent(deal, **{gone: "left over"})
    pulls = Pulls(made.reader)
    pulls.pull()
    assert made.paths().count("GET /v1/schemas/opportunities 200") == 2
    made.log.clear()
    pulls.pull()
    assert len(made.log) == 1
    assert gone not in pulls.labels


def test_the_schema_is_believed_for_as_long_as_the_option_says():
    made = Organization(30)
    pulls = Pulls(lambda: made.reader(schema_refresh="1h"))
    pulls.pull()
    key = next(iter(made.make.custom_fields))
    made.make.custom_fields[key]["name"] = "Origin"
    pulls.pull()
    assert pulls.labels[key] == "Lead Source"
    made.clock.advance(3601)
    pulls.pull()
    assert pulls.labels[key] == "Origin"


def test_a_schema_under_the_singular_name_is_found():
    made = Organization(30, schema="singular")
    pulls = Pulls(made.reader)
    pulls.pull()
    pulls.pull()
    assert len(pulls.labels) == 3
    assert made.sorts[-1] == FILTER


def test_without_a_schema_everything_is_read_and_said():
    made = Organization(30, schema="none")
    pulls = Pulls(made.reader)
    pulls.pull()
    assert pulls.notes == {NO_SCHEMA}
    assert set(pulls.held) == set(made.ids())
    assert [path for path in made.paths() if "schemas" in path] == [
        "GET /v1/schemas/opportunities 404",
        "GET /v1/schemas/opportunity 404",
    ]


def test_a_schema_that_is_not_answered_stops_the_pull_before_a_field_goes_undefined():
    made = Organization(30)
    made.faults.sometimes(1.0, refused(503), where=lambda request: "schemas" in request.path)
    pulls = Pulls(made.reader)
    with pytest.raises(Unavailable):
        pulls.pull()
    assert pulls.held == {}


# -- sweeps


def test_a_sweep_of_a_quiet_organization_is_a_witness():
    made = Organization(90)
    assert swept(made.reader().everything(None)) == (set(made.ids()), set())


def test_an_empty_list_is_no_witness():
    for pages in (0, 1):
        assert swept(Organization(0, pages_of_nothing=pages).reader().everything(None)) == (set(), {EMPTY})


def test_a_list_cut_short_is_no_witness():
    made = Organization(90, cut_short_at=50)
    seen, doubts = swept(made.reader().everything(None))
    assert (len(seen), doubts) == (50, {SHORT})


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_sweep_resumes_where_it_was_cut_off_with_its_doubts(cut: int):
    made = Organization(90)
    pages = list(made.reader().everything(None))[:cut]
    assert pages[-1].cursor is not None
    seen, doubts = swept(made.reader().everything(pages[-1].cursor))
    assert seen | {record.source_id for page in pages for record in page.records} == set(made.ids())
    assert doubts == set()


def test_a_sweep_does_not_go_on_where_a_pull_was_cut_off_nor_a_pull_where_a_sweep_was():
    made = Organization(90)
    pulled = next(iter(made.reader().changed(None)))
    assert swept(made.reader().everything(pulled.cursor)) == (set(made.ids()), set())
    began = next(iter(made.reader().everything(None)))
    pulls = Pulls(made.reader)
    pulls.cursor = began.cursor
    pulls.pull()
    assert set(pulls.held) == set(made.ids())


def test_hidden_opportunities_are_not_seen_and_a_single_read_does_not_prove_them_gone():
    made = Organization(30)
    made.switches.hidden = frozenset({hidden := made.ids()[4]})
    assert hidden not in swept(made.reader().everything(None))[0]
    answer = made.reader().one(hidden)
    assert isinstance(answer, Absent)
    assert (answer.proof, answer.answer) == (False, "403")


# -- single reads


@pytest.mark.parametrize("ids", ["uuid", "prefixed"])
def test_a_single_read_shows_the_record_or_says_why_not(ids: str):
    made = Organization(30, ids=ids)
    deal = made.ids()[3]
    reader = made.reader()
    found = reader.one(deal)
    assert isinstance(found, Found)
    assert found.record.raw == made.records.served(deal)
    assert {field.label for field in found.fields} >= {"Lead Source"}
    made.delete(deal)
    gone, malformed = reader.one(deal), reader.one("7")
    assert isinstance(gone, Absent)
    assert (gone.proof, gone.answer) == (True, "404")
    assert isinstance(malformed, Absent)
    assert (malformed.proof, malformed.answer) == (False, "422")


def test_a_user_who_may_read_nothing_is_refused():
    made = Organization(30, forbidden=True)
    with pytest.raises(Refused, match="admin"):
        made.reader().one(made.ids()[0])
    with pytest.raises(Refused, match="admin"):
        Pulls(made.reader).pull()


def test_an_empty_id_is_never_asked_for():
    made = Organization(3)
    for key in ("", " ", "..", "/"):
        with pytest.raises(Unintelligible, match="no id"):
            made.reader().one(key)
    assert made.log == []


def test_another_record_than_the_one_asked_for_is_not_believed():
    made = Organization(3)
    made.faults.sometimes(1.0, saying(b'{"data":{"id":"another"},"meta":{}}'))
    with pytest.raises(Unintelligible, match="another id"):
        made.reader().one(made.ids()[0])


@pytest.mark.parametrize("by_id", [True, False])
def test_what_a_single_read_leaves_out_is_taken_from_the_list(by_id: bool):
    """The published example of a get-one has fewer keys: an amount that is only left out was never cleared."""
    made = Organization(30, thin_get=frozenset({"estimated_value", "updated_at"}), id_filterable=by_id)
    reader = made.reader()
    for deal in made.ids()[:5]:
        made.edit(deal, estimated_value={"currency_code": "USD", "amount": 7})
        found = reader.one(deal)
        assert isinstance(found, Found)
        assert fields(found.record.raw)["estimated_value"]["amount"] == 7
        assert found.record.raw == made.records.served(deal)


def test_once_single_reads_have_shown_every_key_nothing_is_compared_any_more():
    made = Organization(30)
    reader = made.reader()
    first, second, *others = made.ids()
    made.edit(first, estimated_value={"currency_code": "USD", "amount": 7})
    made.set_stage(first, "closed_won")
    for deal in (second, first, *others):
        reader.one(deal)
    assert len(made.asked) <= 2
    assert len(made.log) <= 33


@pytest.mark.parametrize("by_id", [True, False])
def test_an_open_opportunity_read_first_does_not_hide_when_the_next_one_was_closed(by_id: bool):
    """The published get-one leaves out `actual_close_date`, which an open opportunity has nowhere."""
    made = Organization(60, thin_get=frozenset({"actual_close_date", "notes", "updated_at"}), id_filterable=by_id)
    listed = {deal: fields(made.records.served(deal)) for deal in made.ids()}
    opened = next(deal for deal, row in listed.items() if "actual_close_date" not in row)
    closed = next(deal for deal, row in listed.items() if "actual_close_date" in row)
    reader = made.reader()
    for deal in (opened, closed):
        found = reader.one(deal)
        assert isinstance(found, Found)
        assert fields(found.record.raw).get("actual_close_date") == listed[deal].get("actual_close_date")


def test_a_thin_single_read_that_the_list_does_not_show_yet_is_asked_again_later():
    made = Organization(30, thin_get=frozenset({"estimated_value"}), id_filterable=True)
    reader = made.reader()
    deal, other = made.ids()[:2]
    for each in (deal, other):
        made.edit(each, estimated_value={"currency_code": "USD", "amount": 7})
    reader.one(deal)
    made.faults.sometimes(1.0, lambda _, __: json_answer(NOTHING), where=lambda request: request.method == "POST")
    with pytest.raises(Unintelligible, match="does not show it yet"):
        reader.one(other)


@pytest.mark.parametrize("schema", ["none", "plural"])
@pytest.mark.parametrize("sortable", [True, False])
def test_what_a_single_read_leaves_out_is_never_taken_for_cleared_whatever_the_list_can_be_asked_for(
    schema: str, sortable: bool
):
    left_out = frozenset({"estimated_value", "owner"})
    made = Organization(30, thin_get=left_out, schema=schema, updated_at_sortable=sortable)
    deal = next(deal for deal in made.ids() if left_out <= fields(made.records.served(deal)).keys())
    known = {deal: Record(deal, None, made.records.served(deal), "opportunities")}
    made.set_stage(deal, "closed_won")
    made.faults.sometimes(1.0, refused(422), where=lambda request: b'"name"' in request.body)
    reader = made.reader(known=lambda ids: {one: known[one] for one in ids})
    if sortable:
        found = reader.one(deal)
        assert isinstance(found, Found)
        assert found.record.raw == made.records.served(deal)
    else:
        with pytest.raises(Unintelligible, match="does not show it yet"):
            reader.one(deal)


@pytest.mark.parametrize("updated_at", ["present", "absent"])
def test_a_new_opportunity_is_read_whole_where_neither_schema_nor_order_lead_to_it(updated_at: str):
    """It never landed, so nothing else can tell that a key its single read leaves out was not empty from the start."""
    left_out = frozenset({"estimated_value", "owner"})
    made = Organization(200, thin_get=left_out, schema="none", updated_at_sortable=False, updated_at=updated_at)
    made.clock.advance(timedelta(minutes=1))
    new = made.new_deal(amount=Decimal(7), stage="negotiation")
    found = made.reader().one(new)
    assert isinstance(found, Found)
    whole, shown = fields(made.records.served(new)), fields(found.record.raw)
    assert whole["estimated_value"]["amount"]
    assert {key: shown.get(key) for key in left_out} == {key: whole.get(key) for key in left_out}
    assert made.sorts == ["-updated_at", "-created_at"]


def test_what_never_landed_and_no_list_shows_waits_and_is_never_read_in_part():
    made = Organization(200, thin_get=frozenset({"estimated_value"}), schema="none", updated_at_sortable=False)
    oldest = min(made.ids(), key=lambda deal: fields(made.records.served(deal))["created_at"])
    with pytest.raises(Unintelligible, match="does not show it yet"):
        made.reader().one(oldest)
    made.faults.sometimes(1.0, refused(422), where=lambda request: request.method == "POST")
    with pytest.raises(Unintelligible, match="does not show it yet"):
        made.reader().one(made.ids()[0])


NOTHING = {"data": [], "pagination": {"page": 1, "page_size": 100, "total_count": 0, "total_pages": 0}, "meta": {}}


# -- reference data


def test_accounts_and_users_are_read_by_their_ids():
    made = Organization(200)
    reader = made.reader()
    entries = {entry.key: json.loads(entry.raw) for page in reader.reference("accounts") for entry in page}
    first = made.make.accounts[0]
    assert len(entries) == len(made.make.accounts)
    assert entries[first["id"]] == {"name": "Initech 1", "domain": "account1.example.com", "status": "NEW"}
    users = {entry.key: json.loads(entry.raw) for page in reader.reference("users") for entry in page}
    assert users[made.make.users[0]["id"]] == {"name": "Ada Nilsson", "email": None}
    with pytest.raises(Misconfigured, match="accounts, users and choices"):
        list(reader.reference("contacts"))


# -- what goes wrong


def test_one_bad_record_never_costs_its_page():
    made = Organization(30)
    bad, *_, last = made.ids()
    made.raw(bad, b'{"id":"' + bad.encode() + b'","created_at":"2024-09-08T08:00:00Z","x":NaN}')
    made.raw(last, b"null")
    pulls = Pulls(made.reader)
    pulls.pull()
    assert set(pulls.held) == set(made.ids()) - {bad, last}
    spoiled = {(each.reason, each.source_id) for page in pulls.pages for each in page.spoiled}
    assert {reason for reason, _ in spoiled} == {"RECORD_SHAPE"}
    assert {source_id for _, source_id in spoiled} == {bad, None}


@pytest.mark.parametrize(
    ("mishap", "fault"),
    [
        (refused(401), Refused),
        (refused(403), Refused),
        (refused(404), Unintelligible),
        (refused(422), Unintelligible),
        (refused(503), Unavailable),
        (saying(b"<html>", status=502), Unavailable),
        (reset(), Unavailable),
        (html(), Unintelligible),
        (cut_json(), Unintelligible),
        (saying(b"[]"), Unintelligible),
        (saying(b"null"), Unintelligible),
        (saying(b'{"data":[]}'), Unintelligible),
        (saying(b'{"data":{},"pagination":{"page":1,"page_size":20,"total_count":0}}'), Unintelligible),
        (saying(b'{"data":[],"pagination":{"page":2,"page_size":20,"total_count":0}}'), Unintelligible),
        (saying(b'{"data":[],"pagination":{"page":1,"page_size":0,"total_count":0}}'), Unintelligible),
    ],
)
def test_a_mishap_that_stays_is_told_by_who_must_act_and_moves_no_checkpoint(mishap: Any, fault: type[Exception]):
    made = Organization(90)
    pulls = Pulls(made.reader)
    pulls.pull(pages=2)
    before = pulls.cursor
    made.faults.sometimes(1.0, mishap, where=lambda request: request.method == "POST")
    with pytest.raises(fault) as caught:
        pulls.pull()
    assert "mks_" not in str(caught.value)
    assert pulls.cursor == before
    made.faults.clear()
    pulls.pull()
    assert set(pulls.held) == set(made.ids())


def test_a_refused_key_is_not_tried_again():
    made = Organization(9)
    with pytest.raises(Refused, match="Settings > API Keys"):
        Pulls(lambda: open_reader(made.transport(), made.clock, token="mks_wrong")).pull()
    assert len(made.log) == 1


def test_a_list_that_becomes_empty_while_it_is_read_ends_the_pull_and_doubts_the_sweep():
    made = Organization(90)

    def vanish(request: int) -> None:
        if request == 3:
            for deal in made.ids():
                made.delete(deal)

    made.meddle = vanish
    with pytest.raises(Unintelligible, match="became empty"):
        Pulls(made.reader).pull()
    again = Organization(90)
    made = again
    again.meddle = vanish
    assert any("became empty" in doubt for doubt in swept(again.reader().everything(None))[1])


def test_options_of_another_source_are_refused():
    with pytest.raises(Misconfigured, match="monaco"):
        MonacoReader(account(None, options=Options(amount_unit="minor")))


def test_an_order_by_created_at_that_is_not_kept_is_doubted():
    made = Organization(60)

    def newest_first(request: Request, handle: Handler) -> Any:
        body = json.loads(request.body) | {"sort": "-created_at"}
        return handle(
            Request(method="POST", path=request.path, headers=request.headers, body=json.dumps(body).encode())
        )

    made.faults.sometimes(1.0, newest_first, where=lambda request: request.method == "POST")
    seen, doubts = swept(made.reader().everything(None))
    assert OUT_OF_ORDER in doubts
    assert seen == set(made.ids())


def test_an_hours_budget_used_up_stops_in_the_middle_and_goes_on_an_hour_later():
    made = Organization(400)
    pulls = Pulls(lambda: made.reader(requests_per_hour=10, reserve=0.2))
    with pytest.raises(RateLimited) as caught:
        pulls.pull()
    assert len(made.log) == 8
    assert 0 < caught.value.retry_after_s <= 3600
    while True:
        made.clock.advance(timedelta(hours=1))
        try:
            pulls.pull()
        except RateLimited:
            continue
        break
    assert set(pulls.held) == set(made.ids())
