"""Mapping preview: what a table would make of the records that are kept here; nothing is asked, and nothing lands."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from deals.identity import decode_json, digest, external_id, state_bytes
from deals.state import DealState
from mappings.outcome import Mapped, Unmappable
from pipeline.batch import Scope, Seen
from pipeline.compare import differing
from pipeline.kept import deals_kept, parked_kept
from pipeline.readings import readings
from pipeline.store import connections, labels, projection
from pipeline.store.session import Store
from pipeline.wiring import App, Connected, connected


@dataclass(slots=True)
class Preview:
    """What a table makes of the living deals and the parked records of a connection, against what stands now.

    `unchanged`, `changed` and `unreadable` add up to `deals`; `resolved` of the `parked` records could be read.
    `money` is what the amounts would move by, in minor units; its one key is the ledger's currency, which all amounts
    are in. `reasons` say why records would be parked.
    """

    connection: str
    mapping_version: str
    deals: int = 0
    unchanged: int = 0
    changed: int = 0
    unreadable: int = 0
    parked: int = 0
    resolved: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    stages: Counter[tuple[str, str]] = field(default_factory=Counter)
    money: Counter[str] = field(default_factory=Counter)
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The preview as scripts rely on it; the commonest come first."""
        counts = ("deals", "unchanged", "changed", "unreadable", "parked", "resolved")
        stages = [{"before": one, "after": other, "deals": n} for (one, other), n in self.stages.most_common()]
        reasons = [{"reason": why, "field": name, "records": n} for (why, name), n in self.reasons.most_common()]
        return {
            "connection": self.connection,
            "mapping_version": self.mapping_version,
            **{name: getattr(self, name) for name in counts},
            "fields": dict(self.fields.most_common()),
            "stages": stages,
            "money": {currency: cents for currency, cents in sorted(self.money.items()) if cents},
            "reasons": reasons,
            "examples": self.examples,
        }


def preview(app: App, connection: str, table: Path | None = None, *, examples: int = 20) -> Preview:
    """Read everything kept of a connection with the table in a file, or with the configured one.

    Deals keep what they have when their record would be parked. Raises `SettingsError` for a table that cannot be
    used.
    """
    chosen = _with_table(app, connection, table)
    found = Preview(connection, chosen.mapper.version)
    with app.store.read() as tx:
        row = connections.find(tx, connection)
        scope = None if row is None else _scope(tx, app.store, chosen, row.id)
    if scope is not None:
        _preview_deals(app.store, scope, found, examples)
        _preview_parked(app.store, scope, found)
    return found


def _with_table(app: App, connection: str, table: Path | None) -> Connected:
    if table is None:
        return app.connection(connection)
    settings = app.settings.connection(connection).model_copy(update={"mapping": table.absolute()})
    all_of_them = {**app.settings.connections, connection: settings}
    return connected(app.settings.model_copy(update={"connections": all_of_them}), connection)


def _scope(tx: Connection, store: Store, chosen: Connected, connection_id: int) -> Scope:
    return Scope(
        connection_id=connection_id,
        connection=chosen.name,
        prefix=chosen.prefix,
        epoch=store.epoch,
        mapper=chosen.mapper.with_labels(labels.known(tx, connection_id)),
        mapping_id=connections.SEVERAL,
        run_id=0,
    )


def _preview_deals(store: Store, scope: Scope, found: Preview, examples: int) -> None:
    for kept in deals_kept(store, scope.connection_id, but_not=connections.SEVERAL):
        seen = [Seen(record, row.raw_digest) for row, record in kept]
        with store.read() as tx:
            outcomes = readings(tx, scope, seen, remember=False)
            states = projection.states(tx, scope.connection_id, [record.source_id for record, _ in seen])
        for record, name in seen:
            outcome = outcomes[name]
            found.deals += 1
            if isinstance(outcome, Unmappable):
                found.unreadable += 1
                _count_reason(found, outcome)
            elif (before := states[record.source_id]) == outcome.state:
                found.unchanged += 1
            else:
                _count_change(found, scope, record.source_id, (before, outcome.state), examples)


def _preview_parked(store: Store, scope: Scope, found: Preview) -> None:
    for kept in parked_kept(store, scope.connection_id):
        seen = [Seen(record, digest(record.raw)) for _, record in kept]
        with store.read() as tx:
            outcomes = readings(tx, scope, seen, remember=False)
        for _, name in seen:
            outcome = outcomes[name]
            found.parked += 1
            if isinstance(outcome, Mapped):
                found.resolved += 1
            else:
                _count_reason(found, outcome)


def _count_reason(found: Preview, outcome: Unmappable) -> None:
    first = outcome.problems[0]
    found.reasons[first.reason, first.field] += 1


def _count_change(
    found: Preview, scope: Scope, source_id: str, states: tuple[DealState, DealState], examples: int
) -> None:
    told = [state_bytes(state).decode() for state in states]
    names = differing(*told)
    before, after = map(decode_json, told)
    found.changed += 1
    found.fields.update(names)
    if "stage" in names:
        found.stages[before["stage"] or "", after["stage"] or ""] += 1
    moved = (after["amount_cents"] or 0) - (before["amount_cents"] or 0)
    found.money[scope.mapper.rules.ledger_currency] += moved
    if len(found.examples) < examples:
        fields = {name: {"before": before.get(name), "after": after.get(name)} for name in names}
        found.examples.append({"external_id": external_id(scope.prefix, source_id), "fields": fields})
