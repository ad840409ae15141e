"""In process: how fast a page in memory becomes the decision "unchanged", with the product's own functions."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from sqlalchemy import select

from benchmarks.tenant import Tenant
from connectors.slicing import Slicer
from connectors.source import Record
from deals.identity import digest
from ledger.engine import connect, reading
from pipeline.store import projection
from pipeline.store.tables import connections

PAGE = 2_000
ROUNDS = 5
NOT_AFTER = "2999-01-01T00:00:00.000Z"

Known = Callable[[Sequence[Record]], Mapping[str, bytes]]
"""The digests last projected for these records: the one look-up of a page."""


def pages_of(tenant: Tenant) -> list[bytes]:
    """All pages as bytes in memory."""
    return [tenant.page(offset, PAGE, newest_first=False) for offset in range(0, tenant.deals, PAGE)]


def decide(slicer: Slicer, pages: Sequence[bytes], known: Known) -> int:
    """Slice each page, look its records up and compare their bytes' digests; how many are unchanged."""
    unchanged = 0
    for page in pages:
        records = slicer.page(page, not_after=NOT_AFTER).records
        before = known(records)
        for record in records:
            unchanged += before.get(record.source_id) == digest(record.raw)
    return unchanged


def rate_in_memory(deals: int) -> float:
    """Records a second when the known digests are at hand in a dictionary."""
    slicer = _slicer()
    pages = pages_of(Tenant(deals))
    digests = {r.source_id: digest(r.raw) for page in pages for r in slicer.page(page, not_after=NOT_AFTER).records}
    return _best(deals, pages, lambda _: digests)


def rate_with_store(deals: int, store_url: str) -> float:
    """Records a second when each page looks its deals up in a store, as a sweep does: one statement a page.

    The store must hold the tenant's `two_percent` edition.
    """
    tenant = Tenant(deals)
    tenant.switch("two_percent")
    engine = connect(store_url)
    try:
        with reading(engine) as tx:
            connection_id = tx.execute(select(connections.c.id)).scalar_one()

            def known(records: Sequence[Record]) -> Mapping[str, bytes]:
                rows = projection.lookup(tx, connection_id, [record.source_id for record in records])
                return {source_id: row.raw_digest for source_id, row in rows.items()}

            return _best(deals, pages_of(tenant), known)
    finally:
        engine.dispose()


def _slicer() -> Slicer:
    return Slicer("deal", id_key="_id", version_key="updatedAt")


def _best(deals: int, pages: Sequence[bytes], known: Known) -> float:
    """The best of some rounds: what the machine's other work did not take away."""
    fastest = float("inf")
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        unchanged = decide(_slicer(), pages, known)
        fastest = min(fastest, time.perf_counter() - begun)
        assert unchanged == deals, f"{unchanged:,} of {deals:,} were unchanged"
    return deals / fastest


def main() -> None:
    """`python -m benchmarks.unchanged DEALS [STORE_URL]`: one JSON line."""
    deals, store_url = int(sys.argv[1]), next(iter(sys.argv[2:]), None)
    found = rate_with_store(deals, store_url) if store_url else rate_in_memory(deals)
    print(json.dumps({"records_per_second": found}))


if __name__ == "__main__":
    main()
