"""Renamed: a connection that was given another name is a new one to the store, and tells the ledger of all its deals
once more, under other ids: each is paid twice, and nothing that looks at one connection at a time can see it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from sqlalchemy import Connection, exists, func, select

from ledger import bulk
from pipeline.faults import SettingsError
from pipeline.store import connections
from pipeline.store.projection import head
from pipeline.store.tables import deals, events


def predecessors(tx: Connection, name: str, configured: Container[str]) -> Mapping[int, str]:
    """Whose deals a connection might tell of anew: the others of its source, configured no more, if it has none yet."""
    known = {row.name: row for row in connections.all_of_them(tx)}
    mine = known[name]
    if tx.execute(select(exists().where(deals.c.connection_id == mine.id))).scalar_one():
        return {}
    return {row.id: row.name for row in known.values() if row.source == mine.source and row.name not in configured}


def refuse_renamed(tx: Connection, name: str, before: Mapping[int, str], source_ids: Sequence[str]) -> None:
    """Raises `SettingsError` when one of these deals, about to land for the first time, lives under another name.

    Whether that is the same account or another one, whose ids happen to be alike, only a person can say.
    """
    alive = deals.c.connection_id.in_(list(before)), deals.c.deleted.is_(False)
    same = select(deals.c.connection_id, deals.c.source_id).where(*alive, bulk.among(tx, deals.c.source_id, source_ids))
    if (met := tx.execute(same.limit(1)).one_or_none()) is not None:
        old = before[met.connection_id]
        raise SettingsError(
            [
                f"connections.{name}: the ledger was told of its deal {met.source_id} as one of {old}, which is "
                "configured no more; under another name each deal would be paid twice. Write external_id_prefix = "
                f'"{old}" if this is {old} under a new name, or external_id_prefix = "{name}" if it is another account'
            ]
        )


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
        found = gone.join(there, same).join(before, head(before, gone)).join(after, head(after, there))
        twice = select(there.c.connection_id, func.count()).select_from(found).group_by(there.c.connection_id)
        living = gone.c.deleted.is_(False), there.c.deleted.is_(False), before.c.external_id != after.c.external_id
        for number, count in tx.execute(twice.where(gone.c.connection_id == old.id, *living)):
            yield (
                f"{count:,} deals of {old.name}, which is configured no more, are told of by {known[number].name} as "
                "well. If that is the same account under another name, each is paid twice: give it its name back"
            )
