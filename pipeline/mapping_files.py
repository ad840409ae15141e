"""Mapping files: the table a connection uses, and the rules its settings add, read from disk."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from pathlib import Path

from connectors.registry import source
from mappings.language import Mapping, MappingError, parse
from mappings.rules import Rates, Rules
from pipeline.faults import SettingsError
from pipeline.sections import Connection, Settings, TableFile


def shipped(source: str) -> str:
    """The text of the table shipped for a source."""
    return files("mappings").joinpath(f"{source}.toml").read_text(encoding="utf-8")


def mapping_of(settings: Settings, connection: Connection) -> Mapping:
    """The table a connection uses: its own file, or the one shipped. Raises `SettingsError` when it cannot be used."""
    if connection.mapping is None:
        return parse(shipped(connection.source), name=f"mappings/{connection.source}.toml (shipped)")
    path = settings.folder / connection.mapping
    mapping, kinds = parse_file(path), source(connection.source).kinds
    if mapping.source != connection.source:
        raise SettingsError([f"{path}: the table is for {mapping.source!r}, the connection is a {connection.source!r}"])
    if unknown := sorted(set(mapping.kinds) - set(kinds)):
        raise SettingsError(
            [f"{path}: {connection.source} has no records of kind {unknown[0]!r}, only {', '.join(kinds)}"]
        )
    return mapping


def parse_file(path: Path) -> Mapping:
    """A table from a file. Raises `SettingsError` with every problem found."""
    try:
        return parse(_text(path), name=str(path))
    except MappingError as error:
        raise SettingsError(list(error.problems)) from None


def rules_of(settings: Settings, connection: Connection) -> Rules:
    """The part of a record's reading that the connection's settings decide."""
    try:
        return _rules_of(settings, connection)
    except ValueError as error:
        raise SettingsError([f"the rules of this connection cannot be used: {error}"]) from None


def _rules_of(settings: Settings, connection: Connection) -> Rules:
    return Rules(
        ledger_currency=settings.ledger.currency,
        currency_policy=connection.currency_policy,
        default_currency=connection.default_currency,
        amount_unit=connection.options.amount_unit,
        rates=_rates(connection),
        owners=_owners(connection),
        owners_by="email" if connection.owners == "email" else "source_id",
        owner_policy=connection.owner_policy,
        **connection.options.readings(),
    )


def _owners(connection: Connection) -> dict[str, str] | None:
    """The owner table of a connection: a CSV file with the columns `source_id` and `owner_external_id`."""
    if not isinstance(connection.owners, TableFile):
        return None
    file = connection.owners.file
    owners: dict[str, str] = {}
    for line, row in _rows(file, ("source_id", "owner_external_id")):
        if owners.setdefault(row["source_id"], row["owner_external_id"]) != row["owner_external_id"]:
            raise SettingsError([f"{file}:{line}: the owner {row['source_id']!r} is listed twice"])
    return owners


def _rates(connection: Connection) -> Rates | None:
    """The rates table of a connection: a CSV file with the columns `currency`, `from` (a day) and `rate`."""
    if connection.rates is None:
        return None
    file = connection.rates.file
    found = []
    for line, row in _rows(file, ("currency", "from", "rate")):
        try:
            found.append((row["currency"], date.fromisoformat(row["from"]), Decimal(row["rate"])))
        except (ValueError, InvalidOperation):
            raise SettingsError([f"{file}:{line}: write a currency, a day like 2026-01-31 and a number"]) from None
    try:
        return Rates.of(found)
    except ValueError as error:
        raise SettingsError([f"{file}: {error}"]) from None


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a CSV file that has these columns, with their line numbers."""
    reader = csv.DictReader(_text(file).splitlines())
    if not set(columns) <= set(reader.fieldnames or ()):
        raise SettingsError([f"{file}: the first line must name the columns {', '.join(columns)}"])
    for row in reader:
        if None in row:  # 1,08 is two cells, and the first one of them another rate
            what = "the row has more cells than the first line names; put a value with a comma into quotes"
            raise SettingsError([f"{file}:{reader.line_num}: {what}, and write a number like 1.08"])
        values = {column: (row[column] or "").strip() for column in columns}
        if not all(values.values()):
            raise SettingsError([f"{file}:{reader.line_num}: every column needs a value"])
        yield reader.line_num, values


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror or 'cannot be read'}"]) from None
    except UnicodeDecodeError:
        raise SettingsError([f"{path}: the file is not UTF-8 text"]) from None
