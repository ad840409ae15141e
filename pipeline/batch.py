"""Batch: records on their way in, whose they are, and how they are to be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from connectors.source import Record, Spoiled
from deals.events import Cause
from mappings.mapper import Mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose records are applied, how they are read, and under which run."""

    connection_id: int
    connection: str
    prefix: str
    epoch: str
    mapper: Mapper
    mapping_id: int
    run_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records observed at one moment: the time just before their request was sent, by the database's clock. Those of
    the vault were observed each at a moment of its own: `moments` has these by the records' ids.

    `closely` says that the records were asked for by id: then even an unchanged one moves its deal's observation
    forward, so that a slow page asked for earlier cannot overwrite what was seen now. `again` says that they come from
    the vault because what they refer to has changed: they are mapped although their bytes are known.
    """

    records: Sequence[Record]
    observed_at: str
    spoiled: Sequence[Spoiled] = ()
    cause: Cause = Cause.SOURCE_CHANGE
    closely: bool = False
    again: bool = False
    moments: Mapping[str, str] = field(default_factory=dict)

    def moment(self, source_id: str) -> str:
        """When the record of this id was observed."""
        return self.moments.get(source_id, self.observed_at)


class Seen(NamedTuple):
    """A record that is not byte for byte what its deal was last projected from, with the digest of its bytes."""

    record: Record
    digest: bytes


def older(one: tuple[str | None, str], other: tuple[str | None, str]) -> bool:
    """Whether an observation (version, observed at) is older than another: by the source's version where both have
    one and they differ, else by when the request was sent."""
    if one[0] is not None and other[0] is not None and one[0] != other[0]:
        return one[0] < other[0]
    return one[1] < other[1]
