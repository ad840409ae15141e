"""Readings: what the mapping makes of a batch's records, a page at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from deals.identity import external_id
from mappings.outcome import Mapped, Problem, Unmappable
from pipeline.batch import Scope, Seen
from pipeline.decode import Undecodable, decode

Readings: TypeAlias = dict[bytes, Mapped | Unmappable]
"""What each record came to, by the digest of its bytes."""


def readings(scope: Scope, changed: Sequence[Seen]) -> Readings:
    """Map every record that is not a tombstone. Bytes that are there twice are read once."""
    found: Readings = {}
    for record, name in changed:
        if name in found or record.deleted:
            continue
        try:
            external_id(scope.prefix, record.source_id)
            found[name] = scope.mapper.map(record.kind, decode(record.raw))
        except Undecodable as error:
            found[name] = Unmappable((Problem("record", error.reason, str(error)),))
        except ValueError as error:
            found[name] = Unmappable((Problem("record", "BAD_ID", str(error)),))
    return found
