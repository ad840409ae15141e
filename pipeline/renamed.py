"""Renamed: a connection that was given another name is a new one to the store, and tells the ledger of all its deals
once more, under other ids: each is paid twice, and nothing that looks at one connection at a time can see it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause

from pipeline.store import connections
from pipeline.store.tables import deals, events


def told_under_two_names(configured: Container[str], tx: Connection) -> Iterator[str]:
    """Living deals of a connection that is configured no more, which one of the same source, that is, tells of too.

    One that took over the other's `external_id_prefix` tells of them by the same ids, and that is as it should be.
    """
    known = {row.id: row for row in connections.all_of_them(tx)}
    for old in known.values():
        others = [row.id for row in known.values() if row.name in configured and row.source == old.source]
        if old.name in configured or not others:
            continue
        gone, there, before, after = deals.alias(), deals.alias(), events.alias(), events.alias()
        same = (there.c.source_id == gone.c.source_id) & there.c.connection_id.in_(others)
        found = gone.join(there, same).join(before, _head(before, gone)).join(after, _head(after, there))
        twice = select(there.c.connection_id, func.count()).select_from(found).group_by(there.c.connection_id)
        living = gone.c.deleted.is_(False), there.c.deleted.is_(False), before.c.external_id != after.c.external_id
        for number, count in tx.execute(twice.where(gone.c.connection_id == old.id, *living)):
            yield (
                f"{count:,} deals of {old.name}, which is configured no more, are told of by {known[number].name} as "
                "well. If that is the same account under another name, each is paid twice: give it its name back"
            )


def _head(event: FromClause, deal: FromClause) -> ColumnElement[bool]:
    return and_(*(event.c[name] == deal.c[name] for name in ("connection_id", "source_id", "revision")))
