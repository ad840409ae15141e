"""cPod's reference data: accounts, contacts and users as they are, quotes and line items told per deal (section 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from connectors.cpod.cursor import Place
from connectors.cpod.lists import Lists, TurnedDown
from connectors.cpod.walk import Walk
from connectors.faults import Denied, Misconfigured, Unintelligible
from connectors.source import Entry, Record

PERSONS = "/api/v1/people/persons"
"""Where people are listed when the members of the tenant cannot be (section 8)."""

_DELETED_TOO = {"include_deleted": "true", "includeDeleted": "true"}
_NO_QUOTE: dict[str, Any] = {"id": None, "value": None, "currency": None, "status": None}

_PAGE = 1000


def entries(lists: Lists, name: str) -> Iterator[Sequence[Entry]]:
    """All entries of one kind of reference data, a page at a time. Raises `Misconfigured` for an unknown kind."""
    crm = lists.options.crm_path
    match name:
        case "accounts":
            return _each(lists, f"{crm}/accounts", _account)
        case "contacts":
            return _each(lists, f"{crm}/contacts", _contact)
        case "quotes":
            return _quoted(lists, f"{crm}/quotes")
        case "line_items":
            return _summed(lists, f"{crm}/line-items")
        case "users":
            return _users(lists)
    known = "accounts, contacts, users, quotes and line_items"
    raise Misconfigured(f"cpod has no reference data called {name[:40]!r}; it has {known}")


def _rows(lists: Lists, path: str) -> Iterator[list[Record]]:
    try:
        for step in Walk(lists, path, {}, None, Place()).steps():
            yield step.sheet.rows.records
    except TurnedDown as no:
        raise Unintelligible(f"GET {path} answered {no.status} to a request for its first page") from None


def _each(lists: Lists, path: str, tell: Callable[[Mapping[str, Any]], Entry | None]) -> Iterator[Sequence[Entry]]:
    for records in _rows(lists, path):
        told = [tell(fields) for record in records if (fields := _fields(record.raw)) is not None]
        yield [entry for entry in told if entry is not None]


def _users(lists: Lists) -> Iterator[Sequence[Entry]]:
    """The members of the tenant where they are listed, else its persons, under the id that other systems know.

    A person's own id is not what a deal's `owner_id` bears; only one whose `external_id` says so can be found by it.
    """
    try:
        yield from _each(lists, lists.options.user_path.removesuffix("/{id}"), _user)
    except (Denied, Unintelligible):
        for records in _rows(lists, PERSONS):
            people = [fields for record in records if (fields := _fields(record.raw)) is not None]
            yield [entry for fields in people for entry in _person(fields)]


def _told_once(lists: Lists, path: str) -> Iterator[tuple[Record, dict[str, Any]]]:
    """Every record of a list once, however often its pages come, with its fields; deleted ones where the list shows
    them, since they tell that a deal has nothing left. A parameter that shows nothing else is not used.
    """
    for asked in (_DELETED_TOO, {}):
        living, seen = False, set[str]()
        try:
            for step in Walk(lists, path, asked, None, Place()).steps():
                for record in step.sheet.rows.records:
                    if record.source_id in seen:
                        continue
                    seen.add(record.source_id)
                    living = living or not record.deleted
                    if (fields := _fields(record.raw)) is not None and isinstance(fields.get("deal_id"), str):
                        yield record, fields
        except TurnedDown as no:
            if not asked:
                raise Unintelligible(f"GET {path} answered {no.status} to a request for its first page") from None
            continue
        if living:
            return


def _summed(lists: Lists, path: str) -> Iterator[Sequence[Entry]]:
    """Count and exact total per deal; of one whose items are all deleted, none. The items of a deal lie anywhere in the
    list, so what is held is one count and one total for each deal that has any, and the ids of the items.
    """
    sums: dict[str, tuple[int, Decimal | None]] = {}
    for record, fields in _told_once(lists, path):
        count, total = sums.setdefault(fields["deal_id"], (0, Decimal()))
        if not record.deleted:
            worth = _worth(fields)
            sums[fields["deal_id"]] = (count + 1, None if total is None or worth is None else total + worth)
    yield from _paged({deal: {"count": count, "total": total} for deal, (count, total) in sums.items()})


def _quoted(lists: Lists, path: str) -> Iterator[Sequence[Entry]]:
    """The primary quote, under its deal; the others are offers that nobody is paid on. A deal that has such ones only
    is told to have none: else what it had once would be looked up for ever.
    """
    primary: dict[str, dict[str, Any]] = {}
    for record, fields in _told_once(lists, path):
        primary.setdefault(fields["deal_id"], _NO_QUOTE)
        if fields.get("is_primary") is True and not record.deleted:
            told = _taken(fields, ("value", "currency", "status"))
            primary[fields["deal_id"]] = {"id": fields["id"], **told}
    yield from _paged(primary)


def _paged(told: Mapping[str, Mapping[str, Any]]) -> Iterator[Sequence[Entry]]:
    page: list[Entry] = []
    for deal, fields in told.items():
        page.append(_entry(deal, fields))
        if len(page) == _PAGE:
            yield page
            page = []
    yield page


def _account(fields: Mapping[str, Any]) -> Entry | None:
    return _entry(fields["id"], _taken(fields, ("name", "domain", "lifecycle_stage")))


def _contact(fields: Mapping[str, Any]) -> Entry | None:
    return _entry(fields["id"], {"display_name": _name(fields)})


def _user(fields: Mapping[str, Any]) -> Entry:
    return _entry(fields["id"], {"name": _name(fields), "email": _text(fields.get("email"))})


def _person(fields: Mapping[str, Any]) -> Iterable[Entry]:
    known = dict.fromkeys(filter(None, (_text(fields["id"]), _text(fields.get("external_id")))))
    return [_entry(key, {"name": _name(fields), "email": _text(fields.get("email"))}) for key in known]


def _worth(fields: Mapping[str, Any]) -> Decimal | None:
    """What a line item comes to: its total, else quantity times unit price; None where neither can be read."""
    total = _number(fields.get("total"))
    if total is not None:
        return total
    quantity, price = _number(fields.get("quantity")), _number(fields.get("unit_price"))
    return None if quantity is None or price is None else quantity * price


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and -30 <= number.adjusted() <= 30 else None


def _name(fields: Mapping[str, Any]) -> str | None:
    for key in ("display_name", "displayName", "name"):
        if text := _text(fields.get(key)):
            return text
    return " ".join(filter(None, (_text(fields.get(key)) for key in ("first_name", "last_name")))) or None


def _text(value: Any) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _taken(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: fields.get(name) for name in names}


def _entry(key: str, fields: Mapping[str, Any]) -> Entry:
    return Entry(key, _encode(fields))


def _fields(raw: bytes) -> dict[str, Any] | None:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return None


_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
