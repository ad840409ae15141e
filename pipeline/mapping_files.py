"""Mapping files: the table a connection uses, and the rules its settings add, read from disk."""

from __future__ import annotations

import csv
from importlib.resources import files
from pathlib import Path

from mappings.language import Mapping, MappingError, parse
from mappings.mapper import Rules
from pipeline.faults import SettingsError
from pipeline.settings import Connection, Settings


def shipped(source: str) -> str:
    """The text of the table shipped for a source."""
    return files("mappings").joinpath(f"{source}.toml").read_text(encoding="utf-8")


def mapping_of(settings: Settings, connection: Connection) -> Mapping:
    """The table a connection uses: its own file, or the one shipped. Raises `SettingsError` when it cannot be used."""
    if connection.mapping is None:
        return parse(shipped(connection.source), name=f"mappings/{connection.source}.toml (shipped)")
    path = settings.folder / connection.mapping
    mapping = parse_file(path)
    if mapping.source != connection.source:
        raise SettingsError([f"{path}: the table is for {mapping.source!r}, the connection is a {connection.source!r}"])
    return mapping


def parse_file(path: Path) -> Mapping:
    """A table from a file. Raises `SettingsError` with every problem found."""
    try:
        return parse(_text(path), name=str(path))
    except MappingError as error:
        raise SettingsError(list(error.problems)) from None


def rules_of(settings: Settings, connection: Connection) -> Rules:
    """The part of a record's reading that the connection's settings decide."""
    return Rules(
        ledger_currency=settings.ledger.currency,
        currency_policy=connection.currency_policy,
        default_currency=connection.default_currency,
        amount_unit=getattr(connection.options, "amount_unit", "major"),
        rates=None,
        owners=_owners(settings, connection),
        owner_policy=connection.owner_policy,
    )


def _owners(settings: Settings, connection: Connection) -> dict[str, str] | None:
    """The owner table of a connection: a CSV file with a header and the columns `source_id` and `owner_external_id`."""
    path = getattr(connection.owners, "file", None)
    if path is None:
        return None
    file = settings.folder / path
    rows = csv.DictReader(_text(file).splitlines())
    if not {"source_id", "owner_external_id"} <= set(rows.fieldnames or ()):
        raise SettingsError([f"{file}: the first line must name the columns source_id and owner_external_id"])
    owners: dict[str, str] = {}
    for row in rows:
        known = owners.setdefault(row["source_id"], row["owner_external_id"])
        if known != row["owner_external_id"]:
            raise SettingsError([f"{file}:{rows.line_num}: the owner {row['source_id']!r} is listed twice"])
    return owners


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror or 'cannot be read'}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: the file is not UTF-8 text"]) from None
