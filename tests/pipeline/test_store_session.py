"""The session: what a database cannot do just now is a fault that says what to do, and no bug."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from pipeline.faults import StoreUnavailable
from pipeline.store.session import Store


def test_who_finds_all_connections_in_use_is_told_so_and_may_come_again(sqlite_url: str):
    """A record that somebody went to look at just then is not to blame."""
    engine = create_engine(sqlite_url, pool_size=1, max_overflow=0, pool_timeout=0.1)
    store = Store(engine)
    with store.read(), pytest.raises(StoreUnavailable, match="all connections to the database are in use"):
        store.now()
    assert store.now().endswith("Z")
    engine.dispose()
