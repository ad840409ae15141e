"""Users, companies and the definitions of custom fields are read beside the deals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from connectors.faults import Denied, Misconfigured, Unintelligible
from connectors.planhat.neighbours import ILL_DEFINED, UNDEFINED
from connectors.simulated_wire import Mishap, Request, refused, saying
from connectors.source import Field, Found
from tests.connectors.planhat.reading import Tenant
from tests.connectors.pulls import Pulls

ASKED = {"authorization": "Bearer sandbox"}


def shown(tenant: Tenant, target: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(tenant.answer(Request.to("GET", target, ASKED)).body)
    return rows


def badly(tenant: Tenant, path: str, mishap: Mishap) -> None:
    tenant.faults.sometimes(1.0, mishap, where=lambda request: request.path == path)


def defined(tenant: Tenant) -> list[Field]:
    return [field for page in tenant.reader().changed(None) for field in page.fields]


# -- reference data


def test_the_users_are_all_there_inactive_ones_included():
    tenant = Tenant(5)
    entries = [entry for page in tenant.reader().reference("users") for entry in page]
    users = shown(tenant, "/users")
    assert {entry.key for entry in entries} == {user["_id"] for user in users}
    assert any(user["inactive"] for user in users)
    said = [json.loads(entry.raw) for entry in entries]
    assert all(user["name"] and "@" in user["email"] for user in said)


def test_the_companies_are_all_there_once_page_by_page():
    tenant = Tenant(11_000)
    pages = list(tenant.reader().reference("companies"))
    companies = {row["_id"]: row for row in shown(tenant, "/companies?limit=5000")}
    entries = [entry for page in pages for entry in page]
    assert len(pages) > 2
    assert len(entries) == len(companies) == 2200
    for entry in entries[::300]:
        company, said = companies[entry.key], json.loads(entry.raw)
        assert said["name"] == company["name"]
        assert (said["external_id"], said["status"]) == (company["externalId"], "customer")


@pytest.mark.parametrize("body", [b'[{"_id":"x","name":[]}]', b'[{"name":"no id"}]', b'{"error":"x"}'])
def test_a_neighbour_that_is_not_as_documented_is_unintelligible(body: bytes):
    tenant = Tenant(5)
    badly(tenant, "/companies", saying(body))
    with pytest.raises(Unintelligible):
        list(tenant.reader().reference("companies"))


@pytest.mark.parametrize("name", ["users", "companies"])
def test_rights_that_are_missing_are_told_and_cost_no_deal(name: str):
    tenant = Tenant(5)
    badly(tenant, f"/{name}", refused(403))
    with pytest.raises(Denied):
        list(tenant.reader().reference(name))
    assert {record.source_id for page in tenant.reader().changed(None) for record in page.records} == set(tenant.ids())
    with pytest.raises(Misconfigured, match="users and companies"):
        list(tenant.reader().reference("endusers"))


# -- custom fields


def test_the_first_page_with_records_defines_the_custom_fields_of_deals():
    tenant = Tenant(25)
    pages = list(tenant.reader().changed(None))
    definitions = {row["_id"]: row["name"] for row in shown(tenant, "/customfields")}
    assert {field.id: field.label for field in pages[0].fields} == definitions
    assert all(field.record_key == field.label for field in pages[0].fields)
    assert all(page.fields == () for page in pages[1:])
    assert [page.fields != () for page in tenant.reader().everything(None)].count(True) == 1


def test_a_renamed_field_keeps_its_id():
    tenant = Tenant(5)
    before = {field.id: field.label for field in defined(tenant)}
    renamed = next(iter(before))
    table = tenant.tables["customfields"]
    table.put({**(table.latest(renamed) or {}), "name": "Another name"})
    after = {field.id: field.label for field in defined(tenant)}
    assert after == {**before, renamed: "Another name"}


def test_fields_of_other_models_are_left_out_whatever_the_case():
    tenant = Tenant(5)
    table = tenant.tables["customfields"]
    one, other, *_ = [row["_id"] for row in table.readable()]
    table.put({**(table.latest(one) or {}), "parent": "Company"})
    table.put({**(table.latest(other) or {}), "parent": "DEAL"})
    ids = {field.id for field in defined(tenant)}
    assert one not in ids
    assert other in ids


def test_two_fields_of_one_name_are_one_and_the_hidden_one_gives_way():
    tenant = Tenant(5)
    table = tenant.tables["customfields"]
    shown_one, hidden, *_ = [row["_id"] for row in table.readable()]
    name = (table.latest(shown_one) or {})["name"]
    table.put({**(table.latest(hidden) or {}), "name": name, "isHidden": True})
    assert [field.id for field in defined(tenant) if field.label == name] == [shown_one]


@pytest.mark.parametrize(
    ("mishap", "note"),
    [
        (refused(403), UNDEFINED),
        (refused(404), UNDEFINED),
        (saying(b'[{"_id":"x","name":5,"parent":"Deal"}]'), ILL_DEFINED),
        (saying(b'{"error":"no"}'), ILL_DEFINED),
    ],
)
def test_definitions_that_cannot_be_read_are_a_note_and_no_fault(mishap: Mishap, note: str):
    tenant = Tenant(25)
    badly(tenant, "/customfields", mishap)
    pulls = Pulls(tenant.reader)
    pulls.pull()
    assert set(pulls.held) == set(tenant.ids())
    assert pulls.notes == {note}


def test_without_custom_fields_in_the_mapping_nobody_asks():
    tenant = Tenant(5)
    list(tenant.reader(fields={"deals": frozenset({"_id", "total"})}).changed(None))
    assert "/customfields" not in {call.path for call in tenant.log}


def test_single_reads_of_one_reader_define_them_once():
    tenant = Tenant(5)
    reader = tenant.reader(revenue_model="deals")
    found = [reader.one(one) for one in tenant.ids()]
    assert all(isinstance(one, Found) for one in found)
    assert [bool(one.fields) for one in found if isinstance(one, Found)] == [True, False, False, False, False]
