"""Listen: deliveries in the inbox are read, and the records that they name are written down to be looked at."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import structlog

from connectors.hints import Hint
from connectors.registry import source as source_named
from connectors.source import Source
from deals.identity import external_id
from pipeline.decode import decode
from pipeline.store import connections, hints, inbox
from pipeline.store.hints import PULL
from pipeline.store.inbox import Settled, Told
from pipeline.store.session import later, now
from pipeline.wiring import App

log = structlog.get_logger()

DELIVERIES = 200
"""So many deliveries are read in one transaction."""

AFTER_NONSENSE = timedelta(seconds=30)
"""How long the pull waits that an unreadable delivery asks for, so that many of them ask for one."""

_LONGEST_VERSION = 64


class _Understood(NamedTuple):
    settled: Settled
    hints: tuple[Hint, ...] = ()
    pull: bool = False


def listen(app: App, connection: str) -> int:
    """Take the hints from the deliveries that wait; how many deliveries those were.

    Hints and the deliveries' ends are committed together. What nobody can read, and what names no record, asks for a
    pull: the source knows better than the delivery what has changed.
    """
    settings = app.settings.connection(connection)
    source, prefix = source_named(settings.source), settings.external_id_prefix or connection
    heard = 0
    while number := _some(app, connection, source, prefix):
        heard += number
    return heard


def _some(app: App, connection: str, source: Source, prefix: str) -> int:
    with app.store.read() as tx:
        row = connections.find(tx, connection)
        if row is None or row.id not in inbox.connections_waiting(tx):
            return 0
    with app.store.write() as tx:
        told = inbox.waiting(tx, row.id, DELIVERIES)
        at = now(tx)
        understood = [_understood(one, source, prefix) for one in told]
        asked = [hint for one in understood for hint in one.hints]
        pulls = [one for one in understood if one.pull]
        hints.want(tx, row.id, asked, at)
        if pulls:
            unread = all(one.settled.state == "unreadable" for one in pulls)
            hints.want(tx, row.id, [Hint(PULL)], at, due_at=later(at, AFTER_NONSENSE) if unread else at)
        inbox.settle(tx, [one.settled for one in understood], at)
    for one in understood:
        if one.settled.state == "unreadable":
            delivery, why = one.settled.name.hex(), one.settled.said
            log.warning("delivery.unreadable", connection=connection, delivery=delivery, reason=why)
    return len(told)


def _understood(told: Told, source: Source, prefix: str) -> _Understood:
    try:
        decode(told.body)  # a body that two readers could read differently names nothing
        heard = source.webhooks.hear(told.body)
    except (ValueError, RecursionError) as error:
        return _Understood(Settled(told.name, "unreadable", _line(str(error) or "nested too deep")), pull=True)
    if not heard.known:
        return _Understood(Settled(told.name, "unknown", _line(heard.event)))
    named = tuple(_sound(hint) for hint in heard.hints if _can_be_asked_for(hint.source_id, prefix))
    if len(named) < len(heard.hints):
        why = f"{len(heard.hints) - len(named)} of {len(heard.hints)} records bear an id that no record can have"
        return _Understood(Settled(told.name, "unreadable", why), named, pull=True)
    return _Understood(Settled(told.name, "heeded", _line(heard.event)), named, heard.pull or not named)


def _can_be_asked_for(source_id: str, prefix: str) -> bool:
    try:
        external_id(prefix, source_id)
    except ValueError:
        return False
    return source_id.isprintable()


def _sound(hint: Hint) -> Hint:
    """A version that no record can have is none: the record is looked at all the same."""
    version = hint.version
    if version is not None and (len(version) > _LONGEST_VERSION or not version.isprintable()):
        return Hint(hint.source_id, None, hint.deleted)
    return hint


def _line(said: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in said[:200])
