"""A store with one connection, in which records land at stated times: no source and no reader."""

from __future__ import annotations

from sqlalchemy import select

from connectors.source import Field, Record, Spoiled
from mappings.language import parse
from mappings.mapper import Mapper
from mappings.rules import Rules
from pipeline.apply import apply, bury
from pipeline.batch import Batch, Scope
from pipeline.store import connections, labels, runs
from pipeline.store.connections import MappingRow
from pipeline.store.session import Store, now
from pipeline.store.tables import events, parked
from pipeline.summary import Counts

ONE = "65f0c0ffee00000000000001"
T = [f"2026-05-0{day}T10:00:00.000Z" for day in range(1, 10)]


class Landing:
    """Records of one connection landing in a store."""

    def __init__(self, store: Store, text: str, rules: Rules | None = None) -> None:
        self.store = store
        self.use(text, rules)

    def use(self, text: str, rules: Rules | None = None) -> None:
        """From now on this table reads the records."""
        mapper = Mapper(parse(text, name="table"), rules or Rules(ledger_currency="USD"))
        source = mapper.mapping.source
        with self.store.write() as tx:
            connection = connections.enrol(tx, "eu", source)
            mapping = connections.keep_mapping(tx, MappingRow(0, mapper.version, source, text, "{}", now(tx)))
            run = runs.start(tx, "pull", connection.id, now(tx))
            self.scope = Scope(
                connection_id=connection.id,
                connection="eu",
                prefix="eu",
                epoch="epoch",
                mapper=mapper.with_labels(labels.known(tx, connection.id)),
                mapping_id=mapping,
                run_id=run,
            )

    def define(self, text: str, *fields: Field) -> None:
        """The source defines custom fields."""
        with self.store.write() as tx:
            labels.define(tx, self.scope.connection_id, self.scope.mapper.mapping.source, fields, now(tx))
        self.use(text)

    def land(
        self,
        *records: Record,
        at: str = T[0],
        spoiled: tuple[Spoiled, ...] = (),
        closely: bool = False,
        again: bool = False,
    ) -> Counts:
        """Apply records observed at a time."""
        batch = Batch(records=records, observed_at=at, spoiled=spoiled, closely=closely, again=again)
        with self.store.write() as tx:
            return apply(tx, self.scope, batch)

    def bury(self, at: str) -> Counts:
        """The deal is proven gone."""
        with self.store.write() as tx:
            return bury(tx, self.scope, ONE, at)

    def told(self) -> list[tuple[str, str, str]]:
        """Every event of the deal: type, cause, state."""
        with self.store.read() as tx:
            found = select(events.c.event_type, events.c.cause, events.c.state).order_by(events.c.revision)
            return [tuple(row) for row in tx.execute(found.where(events.c.source_id == ONE))]

    def amounts(self) -> list[int]:
        """The amounts of the deal's events, in major units."""
        return [int(state.split('"amount_cents":')[1].split(",")[0]) // 100 for _, _, state in self.told()]

    def shelf(self) -> list[tuple[str, str]]:
        """Everything ever parked: reason and state."""
        with self.store.read() as tx:
            return [tuple(row) for row in tx.execute(select(parked.c.reason, parked.c.state).order_by(parked.c.id))]
