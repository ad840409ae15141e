"""Where the acting user lacks a right, what opportunities refer to says so instead of looking empty."""

from __future__ import annotations

import json

import pytest

from connectors.faults import Denied
from connectors.simulated_wire import refused
from tests.connectors.monaco.reading import Organization
from tests.connectors.pulls import Pulls


def deny(made: Organization, *places: str) -> None:
    made.faults.sometimes(1.0, refused(403), lambda request: any(place in request.path for place in places))


def test_accounts_that_may_not_be_read_stop_only_them():
    made = Organization(5)
    deny(made, "/accounts")
    with pytest.raises(Denied, match="accounts/list answered 403"):
        list(made.reader().reference("accounts"))
    pulls = Pulls(made.reader)
    pulls.pull()
    assert set(pulls.held) == set(made.ids())


def test_schemas_that_may_not_be_read_are_no_directory_without_users():
    made = Organization(5)
    deny(made, "/schemas")
    with pytest.raises(Denied, match="schemas/accounts answered 403"):
        list(made.reader().reference("users"))


def test_one_schema_that_may_be_read_is_directory_enough():
    made = Organization(5)
    deny(made, "/schemas/opportunit")
    users = {entry.key: json.loads(entry.raw) for page in made.reader().reference("users") for entry in page}
    assert users.keys() == {user["id"] for user in made.make.users}
