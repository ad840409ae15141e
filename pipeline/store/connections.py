"""Connections: the number, state and mapping of each configured account; and the mapping versions ever used."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, Table, select, text, update

from pipeline.store.tables import connections, facts, mappings

SEVERAL = 0
"""In the place of a mapping's number: deals may have been read with several, until a replay has gone over them all."""

FROM_LEDGER = -1
"""In the place of a mapping's number: the deal's state was taken from the ledger when the store was rebuilt, and no
record of the source was read yet. The bytes kept for it are the ledger's."""


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """What the store knows of a connection."""

    id: int
    name: str
    source: str
    state: str
    reason: str | None
    last_success: str | None
    mapping_id: int | None


def find(tx: Connection, name: str) -> ConnectionRow | None:
    """The connection of that name, if it was ever used."""
    row = tx.execute(select(connections).where(connections.c.name == name)).one_or_none()
    return None if row is None else ConnectionRow(*row)


def all_of_them(tx: Connection) -> list[ConnectionRow]:
    """Every connection ever used, by name."""
    return [ConnectionRow(*row) for row in tx.execute(select(connections).order_by(connections.c.name))]


def names(tx: Connection) -> dict[int, str]:
    """The name of every connection ever used, by its number."""
    return {row.id: row.name for row in all_of_them(tx)}


def enrol(tx: Connection, name: str, source: str) -> ConnectionRow:
    """The connection of that name, numbered on first use."""
    row = find(tx, name)
    if row is None:
        _insert_once(tx, connections, {"name": name, "source": source, "state": "new"})
        row = find(tx, name)
        assert row is not None
    return row


def set_state(tx: Connection, connection_id: int, state: str, reason: str | None) -> None:
    """Record how the last attempt to use the connection went."""
    change = update(connections).where(connections.c.id == connection_id)
    tx.execute(change.values(state=state, reason=reason))


def wait(tx: Connection, connection_id: int, reason: str) -> None:
    """Say what a connection waits for, which is as well as it was; what refuses it is more than that."""
    mine = connections.c.id == connection_id, connections.c.state != "refused"
    tx.execute(update(connections).where(*mine).values(reason=reason))


def succeeded(tx: Connection, connection_id: int, at: str) -> None:
    """Record a run that ended well."""
    change = update(connections).where(connections.c.id == connection_id)
    tx.execute(change.values(state="ok", reason=None, last_success=at))


def use_mapping(tx: Connection, connection_id: int, mapping_id: int) -> None:
    """All deals of the connection have been read with this mapping."""
    tx.execute(update(connections).where(connections.c.id == connection_id).values(mapping_id=mapping_id))


@dataclass(frozen=True, slots=True)
class MappingRow:
    """A mapping version as it was stored on first use: the table's text and the connection's rules, as JSON."""

    id: int
    version: str
    source: str
    body: str
    rules: str
    first_used_at: str


def keep_mapping(tx: Connection, row: MappingRow) -> int:
    """The number of a mapping version, stored on first use (`row.id` is not read)."""
    wanted = select(mappings.c.id).where(mappings.c.version == row.version)
    known = tx.execute(wanted).scalar_one_or_none()
    if known is None:
        values = {"version": row.version, "source": row.source, "body": row.body, "rules": row.rules}
        _insert_once(tx, mappings, {**values, "first_used_at": row.first_used_at})
        known = tx.execute(wanted).scalar_one()
    return int(known)


def mapping(tx: Connection, mapping_id: int) -> MappingRow:
    """A mapping version by its number."""
    return MappingRow(*tx.execute(select(mappings).where(mappings.c.id == mapping_id)).one())


def fact(tx: Connection, name: str, value: str) -> str:
    """A fact of the store, set to `value` the first time it is asked for and never changed."""
    wanted = select(facts.c.value).where(facts.c.name == name)
    known = tx.execute(wanted).scalar_one_or_none()
    if known is None:
        _insert_once(tx, facts, {"name": name, "value": value})
        known = tx.execute(wanted).scalar_one()
    return str(known)


def renew_fact(tx: Connection, name: str, value: str) -> None:
    """Give a fact another value: the store is no longer the one it was drawn for."""
    fact(tx, name, value)
    tx.execute(update(facts).where(facts.c.name == name).values(value=value))


def _insert_once(tx: Connection, table: Table, values: dict[str, str]) -> None:
    """Another process may be just about to insert the same row: then this one waits for it and leaves the row alone."""
    columns, slots = ", ".join(values), ", ".join(f":{name}" for name in values)
    tx.execute(text(f"INSERT INTO {table.name} ({columns}) VALUES ({slots}) ON CONFLICT DO NOTHING"), values)  # noqa: S608
