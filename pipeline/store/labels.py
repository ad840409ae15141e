"""Labels: the custom key that each custom field of a source is bound to, fixed when the field is first seen."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from connectors.source import Field
from ledger import bulk
from mappings.labels import bind
from pipeline.store.tables import custom_fields


def known(tx: Connection, connection_id: int) -> dict[str, str]:
    """The custom key of every record key that ever named a custom field of the connection."""
    found = select(custom_fields.c.record_key, custom_fields.c.key)
    return {row[0]: row[1] for row in tx.execute(found.where(custom_fields.c.connection_id == connection_id))}


def define(tx: Connection, connection_id: int, source: str, fields: Sequence[Field], at: str) -> bool:
    """Bind the fields that are new, and the new names of known ones; whether there were any.

    A key once bound to a field stays with it, whatever the field is called later.
    """
    of_connection = custom_fields.c.connection_id == connection_id
    columns = custom_fields.c.record_key, custom_fields.c.field_id, custom_fields.c.key, custom_fields.c.label
    rows = {row[0]: row[1:] for row in tx.execute(select(*columns).where(of_connection))}
    bound = {field_id: key for field_id, key, _ in rows.values()}
    keys = bind(source, [(field.id, field.record_key, field.label) for field in fields], bound)
    fresh = [
        (connection_id, field.record_key, field.id, keys[field.id], field.label, at)
        for field in fields
        if rows.get(field.record_key) != (field.id, keys[field.id], field.label)
    ]
    bulk.upsert(tx, custom_fields, fresh, keep=("since",))
    return bool(fresh)
