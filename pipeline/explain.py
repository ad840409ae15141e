"""Explain: why a deal has the values it has, from the bytes of the source to the receipt of the ledger."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Connection, select

from deals.identity import decode_json
from deals.state import STANDARD
from mappings.language import parse
from mappings.mapper import Mapped, Mapper
from mappings.rules import Rules
from pipeline.browse import find
from pipeline.decode import decode
from pipeline.readings import wanted
from pipeline.store import connections, labels, references, vault
from pipeline.store.connections import FROM_LEDGER, MappingRow
from pipeline.store.tables import deals, events, receipts
from pipeline.store.vault import RawRef
from pipeline.wiring import App


def explain(app: App, external_id: str) -> dict[str, Any]:
    """Each field of a deal with its value, where it came from, the raw value, the rule that read it, and the event
    that first carried the value; then the deal's latest event with what was flagged in reading it, and the ledger's
    receipt. Raises `Unknown`.

    Where a value came from is worked out anew from the record's own bytes and the mapping version that read them,
    both of which the store keeps; what was looked up (decision 0009) is looked up as it stands today.
    """
    connection_id, source_id = find(app, external_id)
    with app.store.read() as tx:
        history = _events(tx, connection_id, source_id)
        fields = {name: _field(tx, name, history) for name in _names(history[-1])}
        head = history[-1]
        if head["event_type"] != "delete":
            _origin(tx, head)
        return {
            "external_id": head["external_id"],
            "revision": head["revision"],
            "deleted": _deleted(tx, connection_id, source_id),
            "fields": fields,
            "event": {
                "dedup_key": head["dedup_key"],
                "event_type": head["event_type"],
                "cause": head["cause"],
                "run": head["run_id"],
                "raw_digest": head["raw_digest"].hex(),
                "source_version": head["version"],
                "recorded_at": head["recorded_at"],
                "flags": head.get("flags", []),
            },
            "receipt": _receipt(tx, connection_id, source_id, head["revision"]),
        }


def _events(tx: Connection, connection_id: int, source_id: str) -> list[dict[str, Any]]:
    of_deal = select(events).where(events.c.connection_id == connection_id, events.c.source_id == source_id)
    rows = tx.execute(of_deal.order_by(events.c.revision)).mappings()
    return [{**row, "values": decode_json(row["state"])} for row in rows]


def _names(head: dict[str, Any]) -> list[str]:
    return [*STANDARD, *sorted(name for name in head["values"] if name not in STANDARD)]


def _field(tx: Connection, name: str, history: list[dict[str, Any]]) -> dict[str, Any]:
    """A field's present value, explained by the event since which it has had that value."""
    value = history[-1]["values"].get(name)
    since = history[-1]
    for event in reversed(history):
        if event["values"].get(name) != value or (name in event["values"]) != (name in history[-1]["values"]):
            break
        since = event
    origin = {} if since["event_type"] == "delete" else _origin(tx, since).get(name, {})
    return {
        "value": value,
        "from": origin.get("from"),
        "raw": origin.get("raw"),
        "rule": origin.get("rule") or _why(since),
        "mapping_version": _mapping(tx, since).version,
        "cause": since["cause"],
        "observed_at": since["recorded_at"],
        "revision": since["revision"],
    }


def _why(event: dict[str, Any]) -> str | None:
    """What stands in the place of a rule where no record was read."""
    if event["mapping_id"] == FROM_LEDGER:
        return "what the ledger held when the store was rebuilt"
    return "the tombstone of a deleted deal" if event["event_type"] == "delete" else None


def _origin(tx: Connection, event: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every field's origin in one event, from its bytes and its mapping version."""
    if event["mapping_id"] == FROM_LEDGER:
        return {}
    if "origins" not in event:
        ref = RawRef(event["raw_digest"], event["raw_block"], event["raw_position"])
        used = _mapping(tx, event)
        mapper = Mapper(
            parse(used.body, name=f"mapping {used.version[:12]}"), Rules.from_meaning(json.loads(used.rules))
        )
        mapper = mapper.with_labels(labels.known(tx, event["connection_id"]))
        kind, record = _kind(tx, event), decode(vault.fetch(tx, ref))
        known = references.look_up(tx, event["connection_id"], wanted(mapper, [(kind, record)]))
        found, reading = mapper.origins(kind, record, known), mapper.map(kind, record, known)
        event["flags"] = list(reading.flags) if isinstance(reading, Mapped) else []
        event["origins"] = {
            name: {"from": origin.source, "raw": origin.raw, "rule": origin.rule} for name, origin in found.items()
        }
    origins: dict[str, dict[str, Any]] = event["origins"]
    return origins


def _mapping(tx: Connection, event: dict[str, Any]) -> MappingRow:
    """The mapping version an event was read with, looked up once for all its fields."""
    if "mapping" not in event and event["mapping_id"] == FROM_LEDGER:
        event["mapping"] = MappingRow(FROM_LEDGER, "none", "", "", "", event["recorded_at"])
    elif "mapping" not in event:
        event["mapping"] = connections.mapping(tx, event["mapping_id"])
    used: MappingRow = event["mapping"]
    return used


def _kind(tx: Connection, event: dict[str, Any]) -> str:
    of_deal = select(deals.c.kind).where(
        deals.c.connection_id == event["connection_id"], deals.c.source_id == event["source_id"]
    )
    return str(tx.execute(of_deal).scalar_one())


def _deleted(tx: Connection, connection_id: int, source_id: str) -> bool:
    of_deal = select(deals.c.deleted).where(deals.c.connection_id == connection_id, deals.c.source_id == source_id)
    return bool(tx.execute(of_deal).scalar_one())


def _receipt(tx: Connection, connection_id: int, source_id: str, revision: int) -> dict[str, Any]:
    of_event = select(
        receipts.c.outcome,
        receipts.c.source_event_id,
        receipts.c.domain_event_id,
        receipts.c.deal_id,
        receipts.c.settled_at,
    ).where(
        receipts.c.connection_id == connection_id, receipts.c.source_id == source_id, receipts.c.revision == revision
    )
    row = tx.execute(of_event).mappings().one_or_none()
    return {} if row is None else dict(row)
