"""References: names looked up by key, and owners by their e-mail; what is missing is said, never raised."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.mapper import Mapped, Mapper, References, Rules
from tests.mappings.tables import USD, json_values, mapped, problem, record, small

LOOK_UPS = (
    "seats =",
    'account_name = { from = "account", look_up = "accounts", take = "name", as = "text" }\n'
    'account_size = { from = "account", look_up = "accounts", take = "facts.size", as = "number" }\n'
    'quote = { from = ["quote", "id"], look_up = "quotes", take = "value" }\nseats =',
)
MAPPER = Mapper(small(LOOK_UPS), USD)
KNOWN: References = {
    "accounts": {"a1": {"name": " Northwind ", "facts": {"size": Decimal("7.0")}}, "7": {"name": "Seven"}},
    "quotes": {"1": {"value": Decimal("12.50")}},
}
BY_EMAIL = Mapper(small(), Rules(ledger_currency="USD", owners_by="email"))
USERS: References = {"users": {"u1": {"email": " Ada@Example.COM ", "name": "Ada"}, "u2": {"name": "No mail"}}}


def custom(known: References, **fields: Any) -> dict[str, Any]:
    found = MAPPER.map("deals", record(**fields), known)
    assert isinstance(found, Mapped), found
    return dict(found.state.custom)


def test_a_value_is_looked_up_by_its_key_and_read_as_the_table_says():
    found = custom(KNOWN, account="a1")
    assert found == {"currency": "USD", "account_name": "Northwind", "account_size": 7, "quote": Decimal("12.5")}
    assert custom(KNOWN, account=7)["account_name"] == "Seven"
    assert custom(KNOWN, account=" a1 ")["account_name"] == "Northwind"


def test_a_key_that_is_absent_gives_no_value_and_a_null_one_a_null():
    assert "account_name" not in custom(KNOWN)
    assert custom(KNOWN, account=None)["account_name"] is None
    assert custom(KNOWN, account="")["account_name"] is None


def test_what_the_object_found_does_not_bear_is_null():
    assert custom(KNOWN, account="7")["account_size"] is None
    assert custom({**KNOWN, "accounts": {"a1": {"name": None}}}, account="a1")["account_name"] is None
    assert mapped_flags(KNOWN, account="7") == ()


def mapped_flags(known: References, **fields: Any) -> tuple[str, ...]:
    found = MAPPER.map("deals", record(**fields), known)
    assert isinstance(found, Mapped)
    return found.flags


@pytest.mark.parametrize("known", [{}, {"accounts": {}}, {"accounts": {"b": {"name": "B"}}}])
def test_a_key_without_an_entry_gives_null_and_is_flagged_once(known: References):
    found = MAPPER.map("deals", record(account="a1"), known)
    assert isinstance(found, Mapped)
    assert (found.state.custom["account_name"], found.state.custom["account_size"]) == (None, None)
    assert found.flags == ("reference_missing",)
    assert mapped(MAPPER, record(account="a1")).flags == ("reference_missing",)


def test_a_key_that_is_no_id_or_a_value_that_cannot_be_read_parks_and_is_named():
    assert problem(MAPPER, record(account="a1", quote=[])).message.startswith("quote: found a list of 0 items; an id")
    outcome = MAPPER.map("deals", record(account="a1"), {"accounts": {"a1": {"name": 3}}})
    assert not isinstance(outcome, Mapped)
    assert [(each.field, each.reason) for each in outcome.problems] == [("account_name", "BAD_VALUE")]
    assert outcome.problems[0].message == "accounts.name: found 3; a text would be right"


def test_the_mapper_says_which_reference_data_it_uses_and_which_keys_a_record_needs():
    assert MAPPER.references == {"accounts", "quotes"}
    assert sorted(MAPPER.lookups("deals", record(account="a1", quote="q"))) == [("accounts", "a1"), ("quotes", "q")]
    assert list(MAPPER.lookups("deals", record(account=[]))) == [("quotes", "1")]
    assert Mapper(small(), USD).references == frozenset()
    assert list(Mapper(small(), USD).lookups("deals", record(account="a1"))) == []
    assert list(MAPPER.lookups("opportunities", record())) == []
    assert list(MAPPER.lookups("deals", [])) == []  # type: ignore[arg-type]


def test_the_keys_that_look_something_up_are_claimed():
    assert {"account", "quote"} <= MAPPER.fields("deals")
    assert mapped(MAPPER, record(account=None, quote=None)).drift == ()


def test_an_owner_is_named_by_the_lower_cased_email_of_the_user():
    found = BY_EMAIL.map("deals", record(owner={"id": "u1"}), USERS)
    assert isinstance(found, Mapped)
    assert found.state.owner_external_id == "ada@example.com"
    assert mapped(BY_EMAIL, record()).state.owner_external_id is None
    assert BY_EMAIL.references == {"users"}
    assert list(BY_EMAIL.lookups("deals", record(owner={"id": 17}))) == [("users", "17")]


@pytest.mark.parametrize(
    ("owner", "said"), [("u2", "who has no e-mail in the source"), ("u3", "who is not among the source's users")]
)
def test_an_owner_without_an_email_parks_or_is_null_as_the_connection_says(owner: str, said: str):
    outcome = BY_EMAIL.map("deals", record(owner={"id": owner}), USERS)
    assert not isinstance(outcome, Mapped)
    assert [(each.field, each.reason) for each in outcome.problems] == [("owner_external_id", "OWNER_UNRESOLVED")]
    assert said in outcome.problems[0].message
    lenient = Mapper(small(), Rules(ledger_currency="USD", owners_by="email", owner_policy="null"))
    found = lenient.map("deals", record(owner={"id": owner}), USERS)
    assert isinstance(found, Mapped)
    assert (found.state.owner_external_id, found.flags) == (None, ("owner_unresolved",))


@pytest.mark.parametrize("email", [3, "", " ", None, ["a@b"], "a\x00b"])
def test_an_email_that_is_none_names_nobody(email: Any):
    outcome = BY_EMAIL.map("deals", record(owner={"id": "u1"}), {"users": {"u1": {"email": email}}})
    assert not isinstance(outcome, Mapped)
    assert [each.reason for each in outcome.problems] == ["OWNER_UNRESOLVED"]


objects = st.dictionaries(st.sampled_from(["name", "facts", "value", "email"]), json_values, max_size=3)
tables = st.dictionaries(st.sampled_from(["a1", "1", "u1"]), objects, max_size=3)


@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.dictionaries(st.sampled_from(["accounts", "quotes", "users"]), tables, max_size=3), json_values)
def test_nothing_in_reference_data_makes_the_mapper_raise(known: References, account: Any):
    what = {**record(owner={"id": "u1"}), "account": account}
    for mapper in (MAPPER, BY_EMAIL):
        outcome = mapper.map("deals", what, known)
        origins = mapper.origins("deals", what, known)
        if isinstance(outcome, Mapped):
            assert set(outcome.state.custom) <= set(origins)
