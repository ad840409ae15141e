"""Export: a period of the ledger in a file, with a digest that finance can cite, whatever the file's format."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple, Protocol

from sqlalchemy import Engine, Row, select

from deals.identity import canonical, decode_json
from ledger import bulk
from ledger.chain import GENESIS
from ledger.engine import reading
from ledger.faults import translated
from ledger.tables import domain_events, source_events

_WINDOW = 5000

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for a formula, full-width signs too: whoever may name a stage could have something run."""


class Entry(NamedTuple):
    """An event as it is exported. `amount_cents` are whole minor units, `custom` is canonical JSON; null is None.

    `hash` is the event's own link of the ledger's chain, in hex.
    """

    sequence: int
    occurred_at: str
    external_id: str
    event_type: str
    amount_cents: int | None
    stage: str | None
    close_date: str | None
    owner_external_id: str | None
    custom: str
    dedup_key: str
    domain_event_id: str
    source_event_id: str
    hash: str


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    `digest` is SHA-256, in hex, over the entries in their order: each as a canonical JSON array of its columns, with a
    line feed after it. `head` is the link of the last event and `before` that of the event before the first one: the
    ledger's chain leads from one to the other.
    """

    events: int
    digest: str
    before: str
    head: str


class Sheet(Protocol):
    """A file that entries are written to."""

    def write(self, entries: Sequence[Entry]) -> None:
        """Add entries behind those before them."""
        ...

    def finish(self, exported: Exported) -> None:
        """Write what belongs at the end; nothing may be added any more."""
        ...


def export(engine: Engine, org: str, sheet: Sheet, *, since: str = "", until: str = "9999") -> Exported:
    """Write the events received from `since` (included) until `until` (excluded), ISO 8601 UTC, in their order.

    Memory does not grow with the ledger. Raises a `LedgerFault`.
    """
    digest, count, before, head = hashlib.sha256(), 0, GENESIS.hex(), ""
    for rows in bulk.in_chunks(_rows(engine, org, since, until), _WINDOW):
        if not count:
            before = head = bytes(rows[0].prev_hash).hex()
        entries = [_entry(row) for row in rows]
        for entry in entries:
            digest.update(canonical(list(entry)) + b"\n")
        sheet.write(entries)
        count, head = count + len(entries), entries[-1].hash
    exported = Exported(count, digest.hexdigest(), before, head or before)
    sheet.finish(exported)
    return exported


class CsvSheet:
    """A header, then a line for each entry, ended by one line feed, in UTF-8: the same events are the same bytes.
    Every text is quoted, since a lone carriage return would end its line.

    An empty text and null look alike here; the digest tells them apart. Of a text that a spreadsheet would work out
    the first letter is an apostrophe, put before it; so is that of one that begins with an apostrophe itself: whoever
    takes one away has the text again. The digest is over the texts as they are.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._text = io.TextIOWrapper(out, encoding="utf-8", newline="")
        self._lines = csv.writer(self._text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        self._text.write(",".join(Entry._fields) + "\n")

    def write(self, entries: Sequence[Entry]) -> None:
        """Add lines."""
        self._lines.writerows([_plain(cell) for cell in entry] for entry in entries)

    def finish(self, exported: Exported) -> None:  # noqa: ARG002 - it is no line of a table
        """Hand everything over to the file, which stays open."""
        self._text.detach()


def _plain(cell: str | int | None) -> str | int | None:
    """A cell that nobody works out; a negative amount is a number and stays one."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith((*_FORMULA, "'")) else cell


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


def _entry(row: Row[Any]) -> Entry:
    state = decode_json(row.state)
    return Entry(
        sequence=row.sequence,
        occurred_at=row.occurred_at,
        external_id=row.external_id,
        event_type=row.event_type,
        amount_cents=state.get("amount_cents"),
        stage=state.get("stage"),
        close_date=state.get("close_date"),
        owner_external_id=state.get("owner_external_id"),
        custom=canonical(state.get("custom", {})).decode(),
        dedup_key=row.dedup_key,
        domain_event_id=row.id,
        source_event_id=row.source_event_id,
        hash=bytes(row.hash).hex(),
    )
