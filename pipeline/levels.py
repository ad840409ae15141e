"""Levels: how much waits where, for monitors; each number is counted in an index of its own."""

from __future__ import annotations

from pipeline.store import connections, hints, inbox, outbox
from pipeline.wiring import App


def levels(app: App) -> list[tuple[str, str, int]]:
    """What waits, as (level, connection, number).

    Deliveries waiting, unknown and unreadable; deals hinted at; events; incidents.
    """
    with app.store.read() as tx:
        names = connections.names(tx)
        deliveries = inbox.tally(tx)
        hinted = hints.tally(tx)
        unpublished, incidents = outbox.waiting(tx), outbox.incidents(tx)
    found = [("incidents", "", incidents)]
    found += [(state, names[number], many) for (number, state), many in deliveries.items()]
    for number, name in names.items():
        found.append(("hinted", name, hinted.get(number, 0)))
        found.append(("unpublished", name, unpublished.get(number, 0)))
        found += [
            (state, name, 0) for state in ("waiting", "unknown", "unreadable") if (number, state) not in deliveries
        ]
    return found
