"""Planhat's neighbours of the deals: users, companies and the definitions of custom fields (sections 8 and 9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec

from connectors.faults import Misconfigured, Unintelligible
from connectors.paging import BY_ID, Fetched, OffsetWalk, each_once
from connectors.planhat.cursor import Kind
from connectors.planhat.lists import Lists
from connectors.slicing import Sliced, Slicer
from connectors.source import Entry, Field, Found, Page, Record
from connectors.transport import Answer, Ask

UNDEFINED: Final = "the custom fields' definitions cannot be read with this token, so a renamed field gets a new key"
ILL_DEFINED: Final = "the custom fields' definitions could not be understood, so a renamed field gets a new key"

_PAGE = 1000
_DEFINITIONS = 2000
_PARENTS: Final[Mapping[Kind, str]] = {"deals": "deal", "opportunities": "opportunity"}


class _User(msgspec.Struct):
    nick: str | None = msgspec.field(name="nickName", default=None)
    first: str | None = msgspec.field(name="firstName", default=None)
    last: str | None = msgspec.field(name="lastName", default=None)
    email: str | None = None


class _Company(msgspec.Struct, rename="camel"):
    name: str | None = None
    external_id: str | None = None
    source_id: str | None = None
    phase: str | None = None
    status: str | None = None


class _Definition(msgspec.Struct):
    name: str
    parent: str
    hidden: bool = msgspec.field(name="isHidden", default=False)


def reference(lists: Lists, name: str) -> Iterator[Sequence[Entry]]:
    """Every user or company, a page at a time; inactive users too, since they may still own deals.

    Raises `Misconfigured` for another name.
    """
    if name not in _ENTRIES:
        raise Misconfigured(f"planhat has no reference data called {name[:40]!r}; it has {' and '.join(_ENTRIES)}")
    return ([Entry(record.source_id, _ENTRIES[name](record.raw)) for record in page] for page in _rows(lists, name))


class Definitions:
    """The tenant's custom fields, read once by each opened reader, before the first record that may bear them.

    Records bear them by label; the definition's id is what stays when an admin renames one. Without custom fields in
    the mapping nothing is asked.
    """

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self._told: set[Kind] = set()

    def with_pages(self, pages: Iterator[Page]) -> Iterator[Page]:
        """The pages, the first of them with records bearing the definitions as well."""
        for page in pages:
            if page.records:
                fields, notes = self._of(page.records[0])
                yield replace(page, fields=fields, notes=(*page.notes, *notes)) if fields or notes else page
            else:
                yield page

    def with_found(self, found: Found) -> Found:
        """The record, with the definitions if nothing bore them before."""
        fields, _ = self._of(found.record)
        return replace(found, fields=fields) if fields else found

    def _of(self, record: Record) -> tuple[tuple[Field, ...], tuple[str, ...]]:
        kind = next(kind for kind in _PARENTS if kind == record.kind)
        if kind in self._told or "custom" not in self._lists.claimed(kind):
            return (), ()
        self._told.add(kind)
        try:
            return self._asked(_PARENTS[kind])
        except (Unintelligible, msgspec.DecodeError):
            return (), (ILL_DEFINED,)

    def _asked(self, parent: str) -> tuple[tuple[Field, ...], tuple[str, ...]]:
        """All definitions fit into one page in practice (section 8); what did not would only lose its fixed key."""
        slicer = Slicer("customfields", id_key="_id", version_key="updatedAt")

        def read(answer: Answer) -> list[Record] | None:
            if answer.status != 200:
                return None
            return _whole(slicer.page(answer.body, not_after=answer.trusted_until), "customfields").records

        ask = Ask(path="/customfields", params={"limit": _DEFINITIONS}, accept=frozenset({403, 404}))
        rows = self._lists.transport.ask(ask, read)
        if rows is None:
            return (), (UNDEFINED,)
        found: dict[str, Field] = {}
        for row in rows:
            said = msgspec.json.decode(row.raw, type=_Definition)
            if said.parent.lower() == parent and not (said.hidden and said.name in found):
                found[said.name] = Field(row.source_id, said.name, said.name)
        return tuple(found.values()), ()


def _rows(lists: Lists, path: str) -> Iterator[list[Record]]:
    """A neighbouring list to its end, each row once."""
    slicer = Slicer(path, id_key="_id", version_key="updatedAt")

    def fetch(offset: int, limit: int) -> Fetched:
        def read(answer: Answer) -> Fetched:
            return Fetched(_whole(slicer.page(answer.body, not_after=answer.trusted_until), path), answer.requested_at)

        params: dict[str, str | int] = {"limit": limit, "offset": offset, "sort": "_id"}
        return lists.transport.ask(Ask(path=f"/{path}", params=params), read)

    walk = OffsetWalk(fetch, limit=_PAGE, overlap=lists.options.page_overlap, order=BY_ID)
    return each_once(step.fetched.rows.records for step in walk.steps())


def _whole(rows: Sliced, path: str) -> Sliced:
    if rows.spoiled:
        raise Unintelligible(f"an entry of /{path} cannot be read: {rows.spoiled[0].message}")
    return rows


def _user(raw: bytes) -> bytes:
    user = _said(raw, _User, "a user")
    name = user.nick or " ".join(filter(None, (user.first, user.last)))
    return msgspec.json.encode({"name": name or None, "email": user.email or None})


def _company(raw: bytes) -> bytes:
    said = _said(raw, _Company, "a company")
    return msgspec.json.encode({name: getattr(said, name) for name in _Company.__struct_fields__})


def _said(raw: bytes, type_: Any, what: str) -> Any:
    try:
        return msgspec.json.decode(raw, type=type_)
    except msgspec.DecodeError:
        raise Unintelligible(f"{what} is not as its contract says") from None


_ENTRIES: Final[Mapping[str, Callable[[bytes], bytes]]] = {"users": _user, "companies": _company}
