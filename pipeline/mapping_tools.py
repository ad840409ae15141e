"""Mapping tools: check, show and suggest the table of a connection, and what its records bear beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from connectors.paging import each_once
from connectors.source import Field, Page, Record
from mappings.labels import bind
from mappings.suggest import Observed
from mappings.suggest import suggest as suggested
from pipeline.decode import Undecodable, decode
from pipeline.faults import SettingsError
from pipeline.listing import NOBODYS, numbered
from pipeline.mapping_files import parse_file, shipped
from pipeline.settings import Settings
from pipeline.store import drifting
from pipeline.wiring import App, connected


def lint(settings: Settings | None, name: str) -> list[str]:
    """Every problem of a connection's table and rules, or of the table in a file when `name` is a path."""
    try:
        if settings is not None and name in settings.connections:
            connected(settings, name)
        else:
            parse_file(Path(name))
    except SettingsError as error:
        return error.problems
    return []


def suggest(app: App, connection: str, *, sample: int = 2000) -> str:
    """A commented table made from up to `sample` of the tenant's own deals; nothing is stored."""
    chosen = app.connection(connection)
    reader = chosen.open_reader(app.store.now, app.permits(connection, "pull"))
    observed, fields = Observed(), list[Field]()
    try:
        # Pages overlap, and counts are to be counts of deals.
        pages = each_once(_read(reader.everything(None), fields))
        for record in islice(chain.from_iterable(pages), sample):
            try:
                observed.add(record.kind, decode(record.raw))
            except Undecodable:
                continue
    finally:
        reader.close()
    keys = bind(chosen.source.name, [(field.id, field.record_key, field.label) for field in fields], {})
    labels = {field.record_key: keys[field.id] for field in fields}
    return suggested(chosen.source.name, observed, shipped(chosen.source.name), labels)


def _read(pages: Iterable[Page], fields: list[Field]) -> Iterator[Sequence[Record]]:
    """The records of a full read, page by page; and the custom fields that the source has defined by then."""
    for page in pages:
        fields += page.fields
        yield page.records


def describe(settings: Settings, connection: str) -> list[Any]:
    """The table a connection uses, row by row."""
    from mappings.describe import describe as rows

    return list(rows(connected(settings, connection).mapper.mapping))


def drift(app: App, connection: str, *, limit: int | None = None) -> list[dict[str, Any]]:
    """The keys that the connection's records bear and its table neither claims nor ignores, the most frequent first:
    how many records bore each, and from when to when. At most `limit` of them. Raises `Unknown`.
    """
    number = numbered(app, connection)
    with app.store.read() as tx:
        return drifting.listed(tx, NOBODYS if number is None else number, limit)
