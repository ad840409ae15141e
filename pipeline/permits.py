"""Permits: one budget for each source account, shared by all connections and processes that use it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from connectors.pacing import Limit, Permits
from connectors.permits import Batches, HeldPermits, Purse
from connectors.spending import Lane, Spending, Terms, free_now
from pipeline.redis_purse import Keeper
from pipeline.settings import Settings
from pipeline.store.budgets import AccountPurse, all_of_them
from pipeline.store.session import Store, now

BATCHES = Batches(at_once=16, good_for=2.0, late=0.1, ahead=True)
"""Where there is ample room. For `good_for` seconds a holder may not have heard what another was told."""

_LANES: dict[str, Lane] = {"fetch": "hint", "sweep": "reconcile", "reconcile": "reconcile", "backfill": "backfill"}


def lane_of(kind: str) -> Lane:
    """The lane of a run of this kind: a pull's, unless it is more urgent, or reads everything and can wait."""
    return _LANES.get(kind, "pull")


def account_of(settings: Settings, connection: str) -> str:
    """The account that a connection's requests are counted against."""
    return settings.connection(connection).account or connection


def limits_of(settings: Settings) -> dict[str, list[Limit]]:
    """The limits of each account, by its name: for each window, the least that any of its connections states."""
    limits: dict[str, dict[tuple[float, bool], Limit]] = {}
    for name, connection in settings.connections.items():
        known = limits.setdefault(connection.account or name, {})
        for limit in connection.options.limits():
            window = limit.seconds, limit.aligned
            known[window] = min(limit, known.get(window, limit))
    return {account: list(known.values()) for account, known in limits.items()}


class Office:
    """What the readers of one process take their permits from.

    That is Redis where it is the broker, and the store otherwise.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._settings = settings
        url = settings.broker.url
        self._keeper = Keeper(url, store.epoch) if url.startswith(("redis://", "rediss://")) else None

    def permits(self, connection: str, lane: Lane, epoch: Callable[[], float] | None = None) -> Permits:
        """What a reader of the connection takes its permits from. `epoch` takes the place of the keeper's clock."""
        account = account_of(self._settings, connection)
        limits = limits_of(self._settings)[account]
        purse: Purse = AccountPurse(self._store, account, epoch)
        if self._keeper is not None:
            purse = self._keeper.purse(purse, account, limits, epoch)
        if epoch is not None:
            return HeldPermits(purse, Terms(limits, lane), BATCHES._replace(ahead=False), monotonic=epoch)
        return HeldPermits(purse, Terms(limits, lane), BATCHES)

    def left(self, epoch: Callable[[], float] | None = None) -> dict[str, int]:
        """How many requests of each account may be sent now, where anything limits them."""
        with self._store.read() as tx:
            known = all_of_them(tx)
            instant = datetime.fromisoformat(now(tx)).timestamp() if epoch is None else epoch()
        found = {}
        for account, limits in sorted(limits_of(self._settings).items()):
            own = known.get(account, Spending())
            parts = [free_now(own, instant, limits)]
            if self._keeper is not None and own.loan:
                purse = AccountPurse(self._store, account, epoch)
                parts.append(self._keeper.purse(purse, account, limits, epoch).free_now())
            if told := [part for part in parts if part is not None]:
                found[account] = sum(told)
        return found

    def close(self) -> None:
        """Close what was opened."""
        if self._keeper is not None:
            self._keeper.close()
