"""Landed: the records of deals as they were last applied or parked, for readers that need not read them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from connectors.source import Known, Record
from pipeline.store import connections, parking, projection, vault
from pipeline.store.session import Store
from pipeline.store.vault import RawRef


def landed(store: Store, connection: str) -> Known:
    """What a connection's deals were last landed from, by their ids: a parked record before the one applied.

    Deals that are gone, or whose state was taken from the ledger, have none.
    """

    def known(source_ids: Sequence[str]) -> Mapping[str, Record]:
        with store.read() as tx:
            row = connections.find(tx, connection)
            if row is None:
                return {}
            refs = {}
            for deal in projection.lookup(tx, row.id, source_ids).values():
                if not deal.deleted and deal.mapping_id != connections.FROM_LEDGER:
                    refs[deal.source_id] = deal.raw, deal.version, deal.kind
            for one in parking.open_records(tx, row.id, source_ids).values():
                entry = one.row
                if entry.raw_digest is not None and entry.raw_block is not None and entry.raw_position is not None:
                    ref = RawRef(entry.raw_digest, entry.raw_block, entry.raw_position)
                    refs[entry.source_id] = ref, entry.version, entry.kind or ""
            raws = vault.fetch_all(tx, [ref for ref, _, _ in refs.values()])
        return {
            source_id: Record(source_id, version, raws[ref], kind) for source_id, (ref, version, kind) in refs.items()
        }

    return known
