"""What must be true after quiet, asked of the simulated tenant's truth and of the ledger, never of our own counters."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from deals.identity import canonical, state_bytes
from ledger.embedded import ORG
from ledger.verify import verify
from mappings.mapper import Mapper
from mappings.outcome import Mapped
from pipeline.invariants import doctor
from pipeline.store import connections, labels
from tests.conformance.world import NAME, World, id_of

TABLES = ("events", "outbox", "receipts", "deals", "parked", "raw_blocks", "absences", "sightings")
LEDGER = ("ledger_source_events", "ledger_domain_events", "ledger_deals")


def asked(world: World, sql: str) -> list[Any]:
    with world.app.store.engine.connect() as tx:
        return list(tx.execute(text(sql)))


def rows(world: World) -> dict[str, int]:
    """How much is written down; runs and checkpoints aside."""
    return {table: asked(world, f"SELECT count(*) FROM {table}")[0][0] for table in (*TABLES, *LEDGER)}


def told(world: World) -> dict[str, list[str]]:
    """The types of the events that were decided, deal by deal, in their order."""
    found: dict[str, list[str]] = {}
    for source_id, kind in asked(world, "SELECT source_id, event_type FROM events ORDER BY source_id, revision"):
        found.setdefault(source_id, []).append(kind)
    return found


def buried(world: World) -> set[str]:
    return {row[0] for row in asked(world, "SELECT source_id FROM deals WHERE deleted")}


def parked(world: World) -> set[str]:
    return {row[0] for row in asked(world, "SELECT source_id FROM parked WHERE stage = 'record' AND state = 'open'")}


def ledger(world: World) -> dict[str, dict[str, Any]]:
    """What the ledger holds, by the source's id, flat as it was sent."""
    held = {}
    for deal in world.app.ledger.deals():
        state = dict(deal.state)
        held[deal.external_id.removeprefix(f"{NAME}:")] = {**state.pop("custom"), **state}
    return held


def readings(world: World) -> dict[str, bytes | None]:
    """What the mapping makes of every deal the tenant shows; None where it cannot be read."""
    mapper = mapper_of(world)
    kinds = dict(asked(world, "SELECT source_id, kind FROM deals"))
    known, found = set(world.crm.ids()), {}
    for record in world.crm.truth():
        source_id = id_of(record, known)
        assert source_id is not None, f"truth() shows a record that ids() does not have: {record}"
        reading = mapper.map(kinds.get(source_id, world.source.kinds[0]), record)
        found[source_id] = state_bytes(reading.state) if isinstance(reading, Mapped) else None
    return found


def mapper_of(world: World) -> Mapper:
    """The connection's mapper, with the keys that custom fields were bound to when they were first seen."""
    with world.app.store.read() as tx:
        row = connections.find(tx, NAME)
        assert row is not None, "nothing was ever read"
        return world.app.connection(NAME).mapper.with_labels(labels.known(tx, row.id))


def has_seen(world: World, ids: set[str]) -> None:
    """Each of these deals lies in the store, as it is now or as it was."""
    seen = {row[0] for row in asked(world, "SELECT source_id FROM deals")} | parked(world)
    assert ids <= seen, f"missed: {sorted(ids - seen)}"


def agrees(world: World) -> None:
    """Invariants 4, 5, 7, 9 and 15: the ledger is the source, deal by deal, and its history is sound."""
    held, wanted = ledger(world), readings(world)
    for source_id, state in wanted.items():
        if state is None:
            assert source_id in parked(world), f"{source_id} cannot be mapped, and is not parked"
        else:
            assert source_id in held, f"{source_id} is missing from the ledger"
            assert canonical(held[source_id]) == state, f"{source_id}: the ledger differs from the source"
    for source_id in held.keys() - set(world.crm.ids()):
        state = held[source_id]
        assert (state.get("deleted"), state["amount_cents"]) == (True, 0), f"{source_id} is gone, the ledger has it"
    assert asked(world, "SELECT count(*) FROM outbox")[0][0] == 0
    assert [check for check in doctor(world.app) if not check.ok] == []
    verdict = verify(world.app.store.engine, ORG)
    assert verdict.ok, verdict.first_bad
