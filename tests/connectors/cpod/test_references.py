"""Reference data: read to its end, a page at a time, with exact sums."""

from __future__ import annotations

import json
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from connectors.cpod import SOURCE
from connectors.faults import Denied, Unintelligible
from connectors.simulated_wire import Request, refused, saying
from tests.connectors.cpod.reading import Tenant


def told(tenant: Tenant, name: str) -> dict[str, Any]:
    pages = list(tenant.reader().reference(name))
    found = [(entry.key, json.loads(entry.raw, parse_float=Decimal)) for page in pages for entry in page]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize("envelope", ["current", "legacy_items", "legacy_people", "bare_data"])
@pytest.mark.parametrize("name", SOURCE.references)
def test_every_declared_reference_is_read_whatever_the_envelope(name: str, envelope: str):
    assert told(Tenant(75, envelope=envelope), name) == told(Tenant(75), name) != {}


def test_an_account_has_its_name_domain_and_stage():
    tenant = Tenant(75)
    account = tenant.tables["accounts"].latest(tenant.get(tenant.ids()[0])["account_id"]) or {}
    keys = ("name", "domain", "lifecycle_stage")
    assert told(tenant, "accounts")[account["id"]] == {key: account[key] for key in keys}


def test_a_contact_without_a_display_name_is_called_by_its_names():
    tenant = Tenant(75)
    blank = next(contact for contact in tenant.tables["contacts"].readable() if not contact["display_name"])
    assert told(tenant, "contacts")[blank["id"]] == {"display_name": f"{blank['first_name']} {blank['last_name']}"}


def test_users_are_the_members_of_the_tenant():
    tenant = Tenant(5)
    ada = tenant.people["users"][0]
    assert told(tenant, "users")[ada["id"]] == {"name": "Ada Nilsson", "email": "ada.nilsson@vendor.example"}


def test_where_members_are_not_listed_persons_are_found_by_the_id_that_deals_know():
    tenant = Tenant(5, users_listed=False)
    found = told(tenant, "users")
    for user, person in zip(tenant.people["users"], tenant.people["persons"], strict=True):
        assert found[user["id"]] == found[person["id"]] == {"name": user["display_name"], "email": user["email"]}


def test_where_neither_can_be_read_it_is_said():
    tenant = Tenant(5)
    tenant.faults.sometimes(
        1.0, refused(403), where=lambda request: "users" in request.path or "people" in request.path
    )
    with pytest.raises(Denied, match="people/persons answered 403"):
        told(tenant, "users")


def test_only_the_primary_quote_of_a_deal_counts():
    tenant = Tenant(30)
    deal = tenant.ids()[-1]
    primary = next(q for q in tenant.tables["quotes"].readable() if q["deal_id"] == deal and q["is_primary"])
    keys = ("id", "value", "currency", "status")
    assert told(tenant, "quotes")[deal] == {key: primary[key] for key in keys}
    assert len(told(tenant, "quotes")) == 30


def item(deal: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"li-{number}", "deal_id": deal, "is_deleted": False, "version": 1, **fields}


def test_line_items_are_summed_exactly_wherever_in_the_list_they_lie():
    tenant = Tenant(0)
    table = tenant.tables["line-items"]
    for number in range(30):
        table.put(item("a" if number % 2 else "b", number, total=Decimal("0.10")))
    table.put(item("a", 90, quantity=3, unit_price=Decimal("33.333")))
    assert told(tenant, "line_items") == {
        "a": {"count": 16, "total": Decimal("101.499")},
        "b": {"count": 15, "total": Decimal("1.50")},
    }


def test_a_line_item_that_is_deleted_counts_for_nothing_even_where_the_list_shows_it():
    tenant = Tenant(0)
    rows = b'{"id":"1","deal_id":"a","total":5},{"id":"2","deal_id":"a","total":7,"is_deleted":true}'
    shown = saying(b'{"data":[%b],"has_more":false}' % rows)
    tenant.faults.sometimes(1.0, shown, where=lambda request: request.path.endswith("line-items"))
    assert told(tenant, "line_items") == {"a": {"count": 1, "total": 5}}


@pytest.mark.parametrize("odd", [{"total": "12.50"}, {"quantity": 2}, {}, {"total": None, "unit_price": True}])
def test_a_line_item_that_cannot_be_read_leaves_the_total_unknown(odd: dict[str, Any]):
    tenant = Tenant(0)
    tenant.tables["line-items"].put(item("a", 1, total=10))
    tenant.tables["line-items"].put(item("a", 2, **odd))
    assert told(tenant, "line_items") == {"a": {"count": 2, "total": None}}


@pytest.mark.parametrize("style", [{}, {"paging": "page"}, {"envelope": "legacy_people"}])
def test_a_line_item_counts_once_however_often_its_page_is_read(style: dict[str, Any]):
    """A cursor that dies begins the list again, and numbered pages that moved are looked at again."""
    tenant = Tenant(0, **style)
    table, asked = tenant.tables["line-items"], count(1)
    for number in range(60):
        table.put(item("a", number, total=1, created_at=f"2026-03-01T10:{number:02}:00.000Z"))

    def in_the_middle(request: Request) -> bool:
        if not request.path.endswith("line-items") or next(asked) != 6:
            return False
        table.remove("li-59")
        return not style

    tenant.faults.sometimes(1.0, refused(400), where=in_the_middle)
    assert told(tenant, "line_items")["a"]["count"] in (59, 60)


@pytest.mark.parametrize("deleted", ["include_deleted", "includeDeleted"])
def test_a_deal_that_has_lost_its_line_items_and_its_primary_quote_is_told_to_have_none(deleted: Any):
    tenant = Tenant(30, include_deleted=deleted)
    deal = tenant.ids()[-1]
    assert told(tenant, "quotes")[deal]["value"] is not None
    for name in ("quotes", "line-items"):
        table = tenant.tables[name]
        table.put(item(deal, 1, total=10, value=10, is_primary=True))
        for row in [row for row in table.readable() if row["deal_id"] == deal]:
            table.put(row | {"is_deleted": True})
    assert told(tenant, "line_items")[deal] == {"count": 0, "total": 0}
    assert told(tenant, "quotes")[deal] == {"id": None, "value": None, "currency": None, "status": None}
    assert len(told(tenant, "quotes")) == 30


def test_a_quote_that_is_primary_no_longer_is_not_the_deals_quote_any_more():
    tenant = Tenant(5, include_deleted=None)
    for quote in list(tenant.tables["quotes"].readable()):
        tenant.tables["quotes"].put(quote | {"is_primary": False})
    assert {entry["value"] for entry in told(tenant, "quotes").values()} == {None}


@pytest.mark.parametrize("switches", [{"only_deleted": True}, {"refuse_unknown_params": True, "include_deleted": None}])
def test_a_parameter_that_shows_deleted_rows_alone_or_is_refused_takes_no_line_item_away(switches: dict[str, Any]):
    tenant = Tenant(30, **switches)
    table = tenant.tables["line-items"]
    table.put(item("gone", 1, total=3) | {"is_deleted": True})
    found = told(tenant, "line_items")
    assert {deal: sums for deal, sums in found.items() if deal != "gone"} == told(Tenant(30), "line_items")


def test_a_list_that_is_turned_down_is_a_fault():
    tenant = Tenant(5)
    tenant.faults.sometimes(1.0, refused(422), where=lambda request: request.path.endswith("accounts"))
    with pytest.raises(Unintelligible, match="accounts answered 422"):
        told(tenant, "accounts")
