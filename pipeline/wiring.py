"""Wiring: the composition root, where settings become a store, a ledger and readers, once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import httpx
from sqlalchemy import Engine

from connectors.pacing import Permits
from connectors.registry import source as source_named
from connectors.source import Account, Known, Reader, Source, nothing_known
from ledger.budget import Budget, KeyPurse, budget_name
from ledger.embedded import EmbeddedLedger
from ledger.engine import connect
from ledger.migrating import Schema
from ledger.port import Ledger
from ledger.remote import RemoteLedger
from ledger.schema import LEDGER
from mappings.mapper import Mapper
from pipeline import settings as configuration
from pipeline.faults import SettingsError, StoreUnready
from pipeline.mapping_files import mapping_of, rules_of
from pipeline.memory import ready_for_pages
from pipeline.permits import Office, lane_of
from pipeline.settings import Settings
from pipeline.store import connections, schema
from pipeline.store.connections import MappingRow
from pipeline.store.session import Store, translated

GIVE_UP_AFTER_S = 30.0
"""How long a dead other side is retried by a command run by hand."""

_SCHEMAS: list[Schema] = [schema.STORE, LEDGER]
"""What the store's database holds, whichever ledger is used: of one elsewhere, the budget of its key lies here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A configured connection with its source and its mapping, ready to be read."""

    name: str
    settings: configuration.Connection
    source: Source
    mapper: Mapper
    body: str
    transport: httpx.BaseTransport | None = field(default=None, repr=False)
    give_up_after_s: float = GIVE_UP_AFTER_S

    @property
    def prefix(self) -> str:
        """What the external ids of the connection's deals begin with."""
        return self.settings.external_id_prefix or self.name

    def open_reader(
        self, now: Callable[[], str], permits: Permits | None = None, known: Known = nothing_known
    ) -> Reader:
        """Open the connection's API. `now` is the database's clock; see `App.permits` for what limits its requests, and
        `pipeline.landed` for what is known already."""
        account = Account(
            name=self.name,
            base_url=self.settings.base_url,
            credentials=self.settings.credentials(),
            options=self.settings.options,
            fields={kind: self.mapper.fields(kind) for kind in self.source.kinds},
            now=now,
            give_up_after_s=self.give_up_after_s,
            transport=self.transport,
            permits=permits,
            known=known,
        )
        return self.source.open(account)

    def mapping_row(self, at: str) -> MappingRow:
        """The mapping in force, as the store keeps it."""
        rules = json.dumps(self.mapper.rules.meaning(), sort_keys=True)
        return MappingRow(0, self.mapper.version, self.source.name, self.body, rules, at)


@dataclass(slots=True)
class App:
    """Everything a verb needs."""

    settings: Settings
    store: Store
    ledger: Ledger
    transports: Mapping[str, httpx.BaseTransport] = field(default_factory=dict)
    give_up_after_s: float = GIVE_UP_AFTER_S
    epoch: Callable[[], float] | None = None
    """Takes the place of the database's clock in counting requests, where a simulated tenant has a time of its own."""

    _office: Office = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._office = Office(self.store, self.settings)

    def close(self) -> None:
        """Close what was opened for the budgets."""
        self._office.close()

    def permits(self, connection: str, kind: str) -> Permits:
        """What a reader of a connection takes permits from, for a run of this kind: its account's budget."""
        return self._office.permits(connection, lane_of(kind), self.epoch)

    def budgets_left(self) -> dict[str, int]:
        """How many requests of each account may be sent at this moment, where anything limits them."""
        return self._office.left(self.epoch)

    def connection(self, name: str) -> Connected:
        """A configured connection. Raises `Unknown`, and `SettingsError` for a mapping that cannot be used."""
        return connected(self.settings, name, self.transports.get(name), self.give_up_after_s)


def connected(
    settings: Settings,
    name: str,
    transport: httpx.BaseTransport | None = None,
    give_up_after_s: float = GIVE_UP_AFTER_S,
) -> Connected:
    """A configured connection without a store, for `check` and `mapping`."""
    chosen = settings.connection(name)
    mapping, source = mapping_of(settings, chosen), source_named(chosen.source)
    mapper = Mapper(mapping, rules_of(settings, chosen))
    for unknown in sorted(mapper.references - source.references.keys()):
        has = ", ".join(source.references) or "none"
        raise SettingsError(
            [f"connections.{name}: the mapping looks things up in {unknown!r}, and {source.name} has {has} to look in"]
        )
    return Connected(
        name=name,
        settings=chosen,
        source=source,
        mapper=mapper,
        body=mapping.text,
        transport=transport,
        give_up_after_s=give_up_after_s,
    )


@contextmanager
def open_app(
    settings: Settings,
    *,
    transports: Mapping[str, httpx.BaseTransport] | None = None,
    give_up_after_s: float = GIVE_UP_AFTER_S,
) -> Iterator[App]:
    """Open the store and the ledger, and close them again.

    An SQLite store is created and migrated here; another one must be ready, or `StoreUnready` is raised.
    """
    ready_for_pages()
    store = open_store(settings)
    try:
        ledger = open_ledger(settings, store)
        try:
            app = App(settings, store, ledger, transports or {}, give_up_after_s)
            with closing(app):
                yield app
        finally:
            ledger.close()
    finally:
        store.engine.dispose()


def open_store(settings: Settings) -> Store:
    """The store of the configuration, migrated when it is an embedded one."""
    store = Store(_engine(settings))
    try:
        with translated():
            if store.engine.dialect.name == "sqlite":
                migrate(settings)
            for one in _SCHEMAS:
                schema.require(store.engine, one)
        with store.write() as tx:
            store.epoch = connections.fact(tx, "epoch", uuid.uuid4().hex)
    except BaseException:
        store.engine.dispose()
        raise
    return store


def open_ledger(settings: Settings, store: Store) -> Ledger:
    """The ledger of the configuration."""
    if settings.ledger.kind == "embedded":
        return EmbeddedLedger(store.engine, now=store.now, choices=settings.ledger.choices())
    return open_remote(settings, store.engine)


def open_remote(settings: Settings, engine: Engine | None = None) -> Ledger:
    """The ledger over HTTP; nothing is asked of it yet. With the store's engine, its key's budget is shared by all."""
    ledger = settings.ledger
    assert ledger.api_key is not None
    key = ledger.api_key.reveal()
    purse = KeyPurse(engine, budget_name(ledger.url, key)) if engine is not None else None
    return RemoteLedger(ledger.url, key, budget=Budget(ledger.requests_per_minute, purse))


def migrate(settings: Settings) -> list[str]:
    """Bring the store's tables, and the embedded ledger's, to this version; one line for each migration applied.

    Raises `StoreUnready` for tables of a newer version.
    """
    engine = _engine(settings)
    try:
        with translated():
            return [line for one in _SCHEMAS for line in one.migrate(engine)]
    except ValueError as error:
        raise StoreUnready(str(error)) from None
    finally:
        engine.dispose()


def _engine(settings: Settings) -> Engine:
    try:
        return connect(settings.store.url)
    except ValueError as error:
        raise SettingsError([f"store.url: {error}"]) from None
