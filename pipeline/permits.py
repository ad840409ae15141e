"""Permits: one budget for each source account, shared by all connections and processes that use it."""

from __future__ import annotations

from collections.abc import Callable

from connectors.pacing import Limit, Permits
from connectors.permits import Batches, Held
from connectors.spending import Lane, Terms
from pipeline.settings import Settings
from pipeline.store.budgets import SharedPurse
from pipeline.store.session import Store

BATCHES = Batches(at_once=16, good_for=2.0, late=0.1, ahead=True)
"""Where there is ample room. For `good_for` seconds a holder may not have heard what another was told."""

_LANES: dict[str, Lane] = {"fetch": "hint", "reconcile": "reconcile", "backfill": "backfill"}


def lane_of(kind: str) -> Lane:
    """The lane of a run of this kind: a pull's, unless it does something more or less urgent."""
    return _LANES.get(kind, "pull")


def account_of(settings: Settings, connection: str) -> str:
    """The account that a connection's requests are counted against."""
    return settings.connection(connection).account or connection


def limits_of(settings: Settings, account: str) -> list[Limit]:
    """The limits of an account: for each window, the least that any of its connections states."""
    limits: dict[tuple[float, bool], Limit] = {}
    for name, connection in settings.connections.items():
        if (connection.account or name) == account:
            for limit in connection.options.limits():
                window = limit.seconds, limit.aligned
                limits[window] = min(limit, limits.get(window, limit))
    return list(limits.values())


def shared_permits(
    store: Store, settings: Settings, connection: str, lane: Lane, epoch: Callable[[], float] | None = None
) -> Permits:
    """What a reader of the connection takes its permits from. `epoch` takes the place of the database's clock."""
    account = account_of(settings, connection)
    limits, purse = limits_of(settings, account), SharedPurse(store, account, epoch)
    if epoch is not None:
        return Held(purse, Terms(limits, lane), BATCHES._replace(ahead=False), monotonic=epoch)
    return Held(purse, Terms(limits, lane), BATCHES)
