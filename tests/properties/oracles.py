"""What must be true after quiet, asked of the simulator's truth and of the tables, never of our own counters."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from deals.identity import canonical, decode_json, state_bytes
from ledger.embedded import ORG
from ledger.verify import verify
from mappings.outcome import Mapped
from pipeline.invariants import doctor
from pipeline.wiring import App

Core = tuple[int | None, str | None, str | None, str | None, str | None]
"""Amount in cents, the source's stage word, close date, owner, name: read from a record without our mapping."""


class Seen:
    """Every state that each deal ever had at the source."""

    def __init__(self) -> None:
        self.states: dict[str, set[Core]] = {}

    def note(self, crm: PlanhatSimulator) -> None:
        for one in crm.ids():
            self.states.setdefault(one, set()).add(core(crm.get(one)))


def core(record: dict[str, Any]) -> Core:
    total, day = record.get("total"), record.get("closeDate")
    return (
        None if total is None else round(Decimal(total) * 100),
        record.get("stage"),
        day and day[:10],
        record.get("ownerId"),
        record.get("name"),
    )


def sweep_under_way(app: App) -> bool:
    return bool(_all(app, "SELECT 1 FROM checkpoints WHERE stream = 'sweep'"))


def rows(app: App) -> dict[str, int]:
    """How much is written down; runs and times of sighting aside."""
    tables = ("events", "outbox", "receipts", "deals", "parked", "raw_blocks", "absences", "sightings", "drift")
    tables += ("ledger_source_events", "ledger_domain_events", "ledger_deals", "mapping_versions")
    return {table: _all(app, f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def history_is_sound(app: App) -> None:
    """Invariants 4, 5, 6, 9 and 15, and that nothing is left lying about."""
    told = _all(
        app,
        "SELECT s.external_id, e.revision, e.dedup_key, e.event_type, e.state, e.version, s.raw_body, d.event_type "
        "FROM ledger_domain_events d JOIN ledger_source_events s ON s.id = d.source_event_id "
        "LEFT JOIN events e ON e.dedup_key = s.dedup_key ORDER BY d.sequence",
    )
    decided = _all(app, "SELECT external_id, revision FROM events ORDER BY external_id, revision")
    assert len({row[2] for row in told}) == len(told) == len(decided), "an event was lost or doubled"
    lanes: dict[str, list[int]] = {}
    versions: dict[str, str] = {}
    for deal, revision, _, kind, state, version, raw, kind_told in told:
        lanes.setdefault(deal, []).append(revision)
        sent = decode_json(raw)
        assert (canonical(sent["state"]), sent["event_type"], kind) == (state.encode(), kind_told, kind_told)
        if version is not None:
            assert versions.get(deal, "") <= version, f"{deal}: an older version overwrote a newer one"
            versions[deal] = version
    for deal, revisions in lanes.items():
        assert revisions == list(range(1, len(revisions) + 1)), f"{deal}: {revisions}"
    lossy = 'SELECT id FROM runs WHERE "read" <> applied + unchanged + superseded + parked + out_of_scope'
    assert _all(app, lossy) == []
    assert _all(app, "SELECT count(*) FROM outbox")[0][0] == 0
    assert _all(app, "SELECT run_id FROM sightings") == []
    assert [check for check in doctor(app) if not check.ok] == []
    verdict = verify(app.store.engine, ORG)
    assert verdict.ok, verdict.first_bad


def ledger_is_source(app: App, crm: PlanhatSimulator, name: str, seen: Seen) -> None:
    """Invariant 7, deal by deal and in money."""
    ledger = fold(app, name)
    projection = _projection(app)
    assert {deal: canonical(state) for deal, state in ledger.items()} == projection
    readable = readings(app, crm, name)
    for one, (record, state) in readable.items():
        assert one in ledger, f"{one} is missing from the ledger"
        assert canonical(ledger[one]) == state, f"{one}: the ledger differs from the source"
        amount, _, day, owner, called = core(record)
        held = ledger[one]
        assert (held["amount_cents"], held["close_date"], held["owner_external_id"]) == (amount, day, owner)
        assert held["name"] == called
    existing = set(crm.ids())
    for one, state in ledger.items():
        if one not in existing:
            assert (state.get("deleted"), state["amount_cents"]) == (True, 0), f"{one} is gone, the ledger has it"
        elif one not in readable and not state.get("deleted"):
            was = {(amount, day, owner, called) for amount, _, day, owner, called in seen.states[one]}
            now = (state["amount_cents"], state["close_date"], state["owner_external_id"], state["name"])
            assert now in was, f"{one}: the ledger holds what the source never said"
    assert _money(ledger[one] for one in readable) == _truth(record for record, _ in readable.values())


def pull_has_seen(app: App, crm: PlanhatSimulator, name: str, except_for: set[str]) -> None:
    """A pull by itself finds every change that moves `updatedAt`; the others only a sweep can find."""
    projection = _projection(app)
    for one, (_, state) in readings(app, crm, name).items():
        assert one in except_for or projection.get(one) == state, f"{one}: a pull has missed its change"


def parked_is_what_cannot_be_read(app: App, crm: PlanhatSimulator, name: str) -> None:
    """Whatever exists and cannot be read is parked or put aside, and nothing else is that the source still has."""
    existing, readable = set(crm.ids()), readings(app, crm, name).keys()
    shelf = _all(app, "SELECT source_id, state FROM parked WHERE stage = 'record' AND source_id NOT LIKE 'raw:%'")
    opened = {source_id for source_id, state in shelf if state == "open"}
    aside = {source_id for source_id, state in shelf if state == "discarded"}
    assert opened & readable == set(), "a deal that can be read is parked"
    assert existing - readable <= opened | aside, "a deal that cannot be read is neither parked nor put aside"
    assert opened <= existing, "a deal that is gone is parked"


def fold(app: App, name: str) -> dict[str, dict[str, Any]]:
    """The last state of each deal as the ledger's events tell it, custom keys beside the standard ones."""
    told = _all(
        app,
        "SELECT s.external_id, d.state FROM ledger_domain_events d "
        "JOIN ledger_source_events s ON s.id = d.source_event_id ORDER BY d.sequence",
    )
    folded = {}
    for external_id, state in told:
        flat = decode_json(state)
        folded[external_id.removeprefix(f"{name}:")] = {**flat.pop("custom"), **flat}
    return folded


def readings(app: App, crm: PlanhatSimulator, name: str) -> dict[str, tuple[dict[str, Any], bytes]]:
    """The records that the source shows and today's mapping can read, with their canonical states."""
    mapper = app.connection(name).mapper
    found = {}
    for record in crm.truth():
        reading = mapper.map("deals", record)
        if isinstance(reading, Mapped):
            found[record["_id"]] = (record, state_bytes(reading.state))
    return found


def _projection(app: App) -> dict[str, bytes]:
    heads = (
        "SELECT d.source_id, e.state FROM deals d JOIN events e ON e.connection_id = d.connection_id "
        "AND e.source_id = d.source_id AND e.revision = d.revision"
    )
    return {row[0]: row[1].encode() for row in _all(app, heads)}


def _money(states: Any) -> Counter[tuple[str, str | None]]:
    return Counter(_summed((s.get("currency", "USD"), s["owner_external_id"], s["amount_cents"]) for s in states))


def _truth(records: Any) -> Counter[tuple[str, str | None]]:
    return Counter(_summed((r.get("currency", "USD"), r.get("ownerId"), core(r)[0]) for r in records))


def _summed(amounts: Any) -> dict[tuple[str, str | None], int]:
    sums: dict[tuple[str, str | None], int] = {}
    for currency, owner, cents in amounts:
        sums[currency, owner] = sums.get((currency, owner), 0) + (cents or 0)
    return sums


def _all(app: App, sql: str) -> list[Any]:
    with app.store.engine.connect() as tx:
        return list(tx.execute(text(sql)))
