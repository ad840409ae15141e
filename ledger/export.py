"""Export: a period of the ledger as CSV, with digests that finance can cite."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from sqlalchemy import Engine, Row, select

from deals.identity import canonical, decode_json
from ledger.chain import GENESIS
from ledger.engine import reading
from ledger.faults import translated
from ledger.tables import domain_events, source_events

COLUMNS = (
    "sequence", "occurred_at", "external_id", "event_type", "amount_cents", "stage", "close_date", "owner_external_id",
    "custom", "dedup_key", "domain_event_id", "source_event_id", "hash",
)  # fmt: skip
"""The header of the file; `hash` is the event's own link of the ledger's chain."""

_WINDOW = 500


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: `sha256` is the digest of the file's bytes, `head` that of the last event in it.

    `before` is the head of the event before the first one: the ledger's chain leads from it to `head`.
    """

    events: int
    sha256: str
    before: str
    head: str


def export(engine: Engine, org: str, out: TextIO, *, since: str = "", until: str = "9999") -> Exported:
    """Write the events received from `since` (included) until `until` (excluded), ISO 8601 UTC, in their order.

    The file has a header, one line feed after each row and UTF-8 text, so that the same events always give the same
    bytes and the same digest. Amounts are whole minor units. Memory does not grow with the ledger. Raises a
    `LedgerFault`.
    """
    digest, count, before, head = hashlib.sha256(), 0, GENESIS.hex(), ""
    line = csv.writer(_Both(out, digest), lineterminator="\n")
    line.writerow(COLUMNS)
    for row in _rows(engine, org, since, until):
        if not count:
            before = bytes(row.prev_hash).hex()
        line.writerow(_cells(row))
        head = bytes(row.hash).hex()
        count += 1
    return Exported(count, digest.hexdigest(), before, head or before)


class _Both:
    """A file whose bytes are digested as they are written."""

    def __init__(self, out: TextIO, digest: Any) -> None:
        self._out, self._digest = out, digest

    def write(self, text: str) -> int:
        self._digest.update(text.encode())
        return self._out.write(text)


def _rows(engine: Engine, org: str, since: str, until: str) -> Iterator[Row[Any]]:
    domain, source = domain_events.c, source_events.c
    query = (
        select(domain_events, source.external_id, source.dedup_key)
        .join(source_events, source.id == domain.source_event_id)
        .where(domain.org_id == org, domain.occurred_at >= since, domain.occurred_at < until)
        .order_by(domain.sequence)
    )
    with translated(), reading(engine) as tx:
        yield from tx.execute(query, execution_options={"stream_results": True, "yield_per": _WINDOW})


def _cells(row: Row[Any]) -> tuple[object, ...]:
    state = decode_json(row.state)
    standard = (state.get(name) for name in ("amount_cents", "stage", "close_date", "owner_external_id"))
    custom = canonical(state.get("custom", {})).decode()
    return (
        row.sequence, row.occurred_at, row.external_id, row.event_type, *standard, custom, row.dedup_key, row.id,
        row.source_event_id, bytes(row.hash).hex(),
    )  # fmt: skip
