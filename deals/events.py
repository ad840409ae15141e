"""Events: what is appended to the ledger, why, and the exact bytes it travels as."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import msgspec


class EventType(StrEnum):
    """The ledger's hint of what changed (contracts/openquota.md section 3.5); the state beside it is what counts."""

    UPSERT = "upsert"
    STAGE_CHANGE = "stage_change"
    AMOUNT_CHANGE = "amount_change"
    DELETE = "delete"


class Cause(StrEnum):
    """Why we appended an event; kept on our side so that finance can tell an edit from a repair."""

    SOURCE_CHANGE = "source_change"
    BACKFILL = "backfill"
    MAPPING_CHANGE = "mapping_change"
    REPAIR = "repair"
    UNDELETE = "undelete"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Event:
    """One change of one deal: `state` is canonical JSON, `dedup_key` is fixed before the first send, never remade."""

    external_id: str
    event_type: str
    dedup_key: str
    state: bytes


def body(event: Event) -> bytes:
    """The request body of an event: the same event always gives the same bytes, so a retry is byte-identical."""
    return b'{"dedup_key":%b,"event_type":%b,"external_id":%b,"state":%b}' % (
        _text(event.dedup_key),
        _text(event.event_type),
        _text(event.external_id),
        event.state,
    )


_text = msgspec.json.Encoder().encode
