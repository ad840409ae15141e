"""What opportunities refer to: accounts, and the users and choices that a schema lists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from connectors.monaco.lists import Lists, Which
from connectors.monaco.schema import Schema
from connectors.monaco.walk import OLDEST_FIRST, PageWalk
from connectors.paging import each_once
from connectors.source import Entry, Record


class _Company(msgspec.Struct):
    domain: str | None = None


class _Account(msgspec.Struct):
    name: str | None = None
    status: str | None = None
    company: _Company | None = None


def accounts(lists: Lists) -> Iterator[Sequence[Entry]]:
    """Every account by its id: name, domain and status."""
    walk = PageWalk(partial(lists.page, Which(), entity="accounts"), size=lists.options.page_size, order=OLDEST_FIRST)
    for page in each_once(step.listed.rows.records for step in walk.steps()):
        yield [_account(record) for record in page]


def users(lists: Lists, opportunities: Schema) -> Iterator[Sequence[Entry]]:
    """Every user by id, with the name that the owner field's directory shows.

    There is no list of users: the schema of opportunities is looked at, else that of accounts (section 8). Nowhere is
    an e-mail address, so `email` is null. Raises `Denied` where both may not be read.
    """
    for key in ("owner", "owner_user_id"):
        if named := opportunities.words(key):
            break
    else:
        schema = lists.schema("accounts", hidden=frozenset())
        named = {} if schema is None else schema.words("owner")
    yield [Entry(user_id, msgspec.json.encode({"name": name, "email": None})) for user_id, name in named.items()]


def choices(lists: Lists) -> Iterator[Sequence[Entry]]:
    """Every custom field by its record key, with the display value of each of its choices by the choice's key; none for
    a field that is not chosen from a list. Raises `Denied` where the schema may not be read."""
    schema = lists.schema(hidden=frozenset()) or Schema()
    keys = [field.record_key for field in schema.custom_fields()]
    yield [Entry(key, msgspec.json.encode(schema.words(key))) for key in keys]


def _account(record: Record) -> Entry:
    try:
        account = msgspec.json.decode(record.raw, type=_Account)
    except msgspec.DecodeError:
        account = _Account()
    domain = account.company.domain if account.company is not None else None
    shown = {"name": account.name, "domain": domain, "status": account.status}
    return Entry(record.source_id, msgspec.json.encode(shown))
