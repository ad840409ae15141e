"""Owners: who a deal is credited to, as the ledger names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from mappings.grammar import OwnerRule
from mappings.outcome import ABSENT, Problem, Unreadable, shown
from mappings.paths import Record, finder, named
from mappings.references import USERS, References
from mappings.rules import Rules
from mappings.transforms import identity, text

OwnerReader: TypeAlias = Callable[[Record, References, list[str], list[Problem]], str | None]


def owner_reader(rule: OwnerRule, rules: Rules) -> OwnerReader:
    """A function that reads the owner of a record: the source's id, what the connection's owner table has for it, or
    the e-mail the reference data `users` has."""
    places = rule.sources
    find, owners, may_be_null = finder(places), rules.owners, rules.owner_policy == "null"
    by_email = rules.owners_by == "email"
    if owners is None and not by_email:
        return _plain_reader(rule)

    def read(record: Record, known: References, flags: list[str], problems: list[Problem]) -> str | None:
        try:
            value = find(record)
            if value is None or value is ABSENT or (owner := identity(value)) is None:
                return None
            if by_email:
                named_so = email_of(known.get(USERS, {}).get(owner))
            else:
                named_so = None if owners is None else owners.get(owner)
            if named_so is not None:
                return named_so
            if not may_be_null:
                raise Unreadable(f"found {shown(owner)}, {_who(owner, known, by_email)}", "OWNER_UNRESOLVED")
            flags.append("owner_unresolved")
        except Unreadable as error:
            reason = error.reason or "BAD_VALUE"
            problems.append(Problem("owner_external_id", reason, f"{named(places, record)}: {error}"))
        return None

    return read


def _plain_reader(rule: OwnerRule) -> OwnerReader:
    """Reads the source's own id, as most connections do: spelt out because a first load runs it for every record."""
    places, find = rule.sources, finder(rule.sources)

    def read(record: Record, _: References, __: list[str], problems: list[Problem]) -> str | None:
        try:
            value = find(record)
            return None if value is None or value is ABSENT else identity(value)
        except Unreadable as error:
            reason = error.reason or "BAD_VALUE"
            problems.append(Problem("owner_external_id", reason, f"{named(places, record)}: {error}"))
            return None

    return read


def email_of(user: Mapping[str, Any] | None) -> str | None:
    """The lower-cased e-mail of a user in the reference data; None when there is no such user, or no e-mail."""
    try:
        found = None if user is None or user.get("email") is None else text(user["email"])
    except Unreadable:
        return None
    return None if found is None else found.lower()


def _who(owner: str, known: References, by_email: bool) -> str:
    if not by_email:
        return "who is not in the connection's owner table; add a line for them"
    if owner in known.get(USERS, {}):
        return "who has no e-mail in the source; give them one there, or name the owners in a table"
    return "who is not among the source's users as last read; name the owners in a table if they are gone for good"
