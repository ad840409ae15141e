"""Readings: what the mapping makes of a batch's records, a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection

from deals.identity import external_id
from mappings.mapper import Mapper
from mappings.outcome import Mapped, Problem, Unmappable
from mappings.references import References
from pipeline.batch import Scope, Seen
from pipeline.decode import Undecodable, decode
from pipeline.store import references

Readings: TypeAlias = dict[bytes, Mapped | Unmappable]
"""What each record came to, by the digest of its bytes."""


def readings(tx: Connection, scope: Scope, changed: Sequence[Seen], *, remember: bool = True) -> Readings:
    """Map every record that is not a tombstone. Bytes that are there twice are read once.

    Where the mapping looks things up, all records are decoded first, and what they refer to is read at once; see
    `referred_to` for `remember`.
    """
    found: Readings = {}
    records: dict[bytes, tuple[str, dict[str, Any]]] = {}
    look_up = bool(scope.mapper.references)
    for record, name in changed:
        if name in found or record.deleted:
            continue
        try:
            external_id(scope.prefix, record.source_id)
            fields = decode(record.raw)
        except Undecodable as error:
            found[name] = Unmappable((Problem("record", error.reason, str(error)),))
        except ValueError as error:
            found[name] = Unmappable((Problem("record", "BAD_ID", str(error)),))
        else:
            if look_up:
                records[name] = (record.kind, fields)
            else:
                found[name] = scope.mapper.map(record.kind, fields)
    if records:
        known = referred_to(tx, scope, records.values(), remember=remember)
        found.update((name, scope.mapper.map(kind, fields, known)) for name, (kind, fields) in records.items())
    return found


def referred_to(
    tx: Connection, scope: Scope, records: Iterable[tuple[str, dict[str, Any]]], *, remember: bool = True
) -> References:
    """What these records (kind and fields) refer to. What is not there is asked for again soon, if we `remember`."""
    asked = wanted(scope.mapper, records)
    known = references.look_up(tx, scope.connection_id, asked)
    if remember:
        references.missed(tx, scope.connection_id, [name for name, keys in asked.items() if keys - known[name].keys()])
    return known


def wanted(mapper: Mapper, records: Iterable[tuple[str, dict[str, Any]]]) -> dict[str, set[str]]:
    """The reference data that these records (kind and fields) need: its names, and the keys in each, every key once."""
    asked: dict[str, set[str]] = {}
    for kind, fields in records:
        for name, key in mapper.lookups(kind, fields):
            asked.setdefault(name, set()).add(key)
    return asked
