"""Demo, the proof: what the CRMs say here and now, held against the ledger, deal by deal and in money."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy import func, select

from deals.identity import canonical, state_bytes
from deals.money import exponent, minor_units
from mappings.mapper import Mapper
from mappings.outcome import Mapped
from pipeline.invariants import Check, doctor
from pipeline.ledger_tools import verify
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import list_parked
from pipeline.sandbox import Tenant
from pipeline.store import connections, labels
from pipeline.store.tables import events, outbox, receipts
from pipeline.sweep import sweep
from pipeline.wiring import App


def proof(app: App, crms: Mapping[str, Tenant]) -> list[Check]:
    """Every check of the demo, in the order of the invariants they are named after."""
    found = [_rerun_writes_nothing(app, list(crms))]
    for name, crm in crms.items():
        found += [_ledger_is_source(app, name, crm), _money_is_source_money(app, name, crm)]
    found += doctor(app)
    verdict = verify(app.settings)
    what = f"{verdict['events']} events, {verdict['deals']} deals"
    chain = Check("15 the ledger's chain and projection verify", verdict["ok"], str(verdict["first_bad"] or what))
    return [*found, chain]


def _rerun_writes_nothing(app: App, names: list[str]) -> Check:
    """Invariant 8, by doing it all again."""
    title = "8 running it again writes nothing"
    before = _rows(app)
    for name in names:
        for again in (pull(app, name), sweep(app, name), publish(app)):
            if again.events or again.published:
                return Check(title, False, f"run {again.run} of {name} made events")
    after = _rows(app)
    same = before == after
    return Check(title, same, f"{after[0]} events before and after" if same else f"{before} -> {after}")


def _rows(app: App) -> tuple[int, ...]:
    with app.store.read() as tx:
        counts = [tx.execute(select(func.count()).select_from(t)).scalar_one() for t in (events, outbox, receipts)]
    return (*counts, sum(1 for _ in app.ledger.deals()))


def _ledger_is_source(app: App, name: str, crm: Tenant) -> Check:
    """Invariant 7 against the CRM itself: each deal it shows, read here and now, is what the ledger holds."""
    title = f"7 {name}: ledger = source, deal by deal"
    mapper, kind = _mapper(app, name), app.connection(name).source.kinds[0]
    held = _held(app, name)
    waiting = _waiting(app, name)
    agreeing = 0
    for record in crm.truth():
        source_id = _id_of(record)
        if source_id in waiting:
            continue
        reading = mapper.map(kind, record)
        if not isinstance(reading, Mapped):
            return Check(title, False, f"deal {source_id} cannot be mapped, but is not parked")
        state = held.pop(source_id, None)
        if state is None or canonical(_flat(state)) != state_bytes(reading.state):
            return Check(title, False, f"deal {source_id} differs")
        agreeing += 1
    left = [one for one, state in held.items() if not state["custom"].get("deleted") and one not in waiting]
    if left:
        return Check(title, False, f"{len(left)} deals the CRM does not have")
    return Check(title, True, f"{agreeing} deals agree{_left_out(waiting)}")


def _money_is_source_money(app: App, name: str, crm: Tenant) -> Check:
    """Invariant 7 in money, added up from the CRM's own decimals; only the table's word for the amount is believed."""
    title = f"7 {name}: ledger = source, in money"
    connected, waiting = app.connection(name), _waiting(app, name)
    rule = connected.mapper.mapping.kinds[connected.source.kinds[0]].amount
    unit = connected.settings.options.amount_unit
    ours: Counter[str] = Counter()
    for source_id, state in _held(app, name).items():
        if source_id not in waiting:
            ours[state["custom"].get("currency", "USD")] += state["amount_cents"] or 0
    theirs: Counter[str] = Counter()
    for record in crm.truth():
        amount = _at(record, rule.sources[0])
        if _id_of(record) not in waiting and amount is not None:
            currency = str(_at(record, rule.currency or "") or "USD").strip().upper()
            theirs[currency] += minor_units(Decimal(amount), currency, unit).units
    amounts = {currency: Decimal(cents).scaleb(-exponent(currency)) for currency, cents in sorted(ours.items())}
    totals = ", ".join(f"{currency} {amount:,}" for currency, amount in amounts.items())
    return Check(title, +ours == +theirs, f"{totals}{_left_out(waiting)}")


def _mapper(app: App, name: str) -> Mapper:
    with app.store.read() as tx:
        row = connections.find(tx, name)
        assert row is not None
        return app.connection(name).mapper.with_labels(labels.known(tx, row.id))


def _held(app: App, name: str) -> dict[str, dict[str, Any]]:
    """What the ledger holds of a connection, by source id."""
    return {
        deal.external_id.removeprefix(f"{name}:"): dict(deal.state)
        for deal in app.ledger.deals()
        if deal.external_id.startswith(f"{name}:")
    }


def _waiting(app: App, name: str) -> set[str]:
    return {entry["source_id"] for entry in list_parked(app) if entry["connection"] == name}


def _id_of(record: Mapping[str, Any]) -> str:
    """A record's own id, whichever way its vendor spells that."""
    return str(record["_id"] if "_id" in record else record["id"])


def _at(record: Mapping[str, Any], path: str) -> Any:
    value: Any = record
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _left_out(parked: set[str]) -> str:
    return f"; the {len(parked)} parked left out" if parked else ""


def _flat(state: dict[str, Any]) -> dict[str, Any]:
    return {**state["custom"], **{name: value for name, value in state.items() if name != "custom"}}
