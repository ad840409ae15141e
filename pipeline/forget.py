"""Forget: what has been of use and is no longer, deleted a part at a time, by whoever looks after what is due."""

from __future__ import annotations

from pipeline.reconcile_reading import KEPT_FOR, STREAM
from pipeline.store import abandoned, inbox
from pipeline.store.session import Store

EVERY_S = 300.0
"""Whoever looks after what is due without a broker forgets so often; beat's tick always does."""

_AT_ONCE = 20_000


def forget(store: Store) -> None:
    """Delete old settled deliveries, and what reconciles have laid down that nobody can go on with.

    A connection that was taken out of the configuration leaves such rows, and so does one that nobody reconciles any
    more. Which connections are configured is not asked: another process may know more of them. Killed, it is gone on
    with by the next one. Raises `StoreUnavailable`.
    """
    with store.write() as tx:
        inbox.forget(tx)
    with store.read() as tx:
        cleared = _AT_ONCE if abandoned.waiting(tx, STREAM, KEPT_FOR) else 0
    while cleared == _AT_ONCE:
        with store.write() as tx:
            cleared = abandoned.clear(tx, STREAM, KEPT_FOR, _AT_ONCE)
