"""Receive: deliveries are proven, committed to the inbox as they came, and only then said to be accepted."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Literal, TypeAlias

import msgspec
import structlog
from sqlalchemy import Connection as Database

from connectors.registry import source as source_named
from connectors.signatures import Headers, Reason, Unproven, Verifier
from ledger.beside import Beside
from ledger.waiting import Waiting
from pipeline.faults import SettingsError, StoreUnavailable
from pipeline.sections import Webhook
from pipeline.store import connections, inbox
from pipeline.store.inbox import Delivery
from pipeline.store.session import Store, translated
from pipeline.wiring import App

__all__ = ["Beside", "Delivery", "Door", "Headers", "Intake", "Outcome", "Reason", "Unproven", "Waiting", "doors"]

log = structlog.get_logger()

TOGETHER = 500
"""At most so many deliveries share a commit."""

STATEMENT_MS = 5_000
"""A commit that takes longer is given up: senders wait ten seconds, and must hear 503 before."""

AGAIN_WITHIN_S = 1.0
"""A commit that failed sooner is tried once more: some senders send nothing twice."""

Outcome: TypeAlias = Literal["accepted", "known", "failed"]
"""`accepted` and `known` deliveries are in the inbox for good; of a `failed` one nothing may be said to be kept."""

_SEGMENT = re.compile(r"[A-Za-z0-9_-]{24,200}", re.ASCII)

_headers_json = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Door:
    """Where the deliveries of one connection come in: at its name, or with `segments` at its name and any of them."""

    connection: str
    connection_id: int
    verifier: Verifier
    signed: bool
    segments: tuple[str, ...] = field(default=(), repr=False)

    def places(self) -> list[str]:
        """What stands behind `/webhooks/` in an address at which deliveries are taken: as secret as a segment is."""
        return [f"{self.connection}/{segment}" for segment in self.segments] or [self.connection]

    def admit(self, headers: Headers, body: bytes, at: float) -> Delivery:
        """The delivery as it goes into the inbox, received `at` (seconds since 1970). Raises `Unproven`.

        A body that cannot be read is no forgery: it is let in, and found unreadable when it is heeded.
        """
        proof = self.verifier.verify(headers, body, at)
        if self.verifier.reads_body:
            with suppress(ValueError, RecursionError):
                self.verifier.admit(self.verifier.rules.hear(body), at)
        wanted = self.verifier.kept_headers
        kept = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in wanted}
        return Delivery(proof.name, self.connection_id, body, _headers_json(kept).decode(), proof.lasting)


def doors(app: App) -> dict[str, Door]:
    """The door of every connection that receives deliveries. Raises `SettingsError` for one that never could."""
    found, problems = {}, []
    for name, settings in app.settings.connections.items():
        if settings.webhook is None:
            continue
        declared = source_named(settings.source).webhooks
        rules = settings.webhook.over(declared)
        if without := settings.webhook.without_effect(declared):
            log.warning("webhook.without_effect", connection=name, settings=without)
        secrets = [secret.reveal() for secret in settings.webhook.secrets]
        try:
            verifier = Verifier(rules, secrets, name, settings.webhook.workspace_id)
            segments = segments_of(settings.webhook)
        except ValueError as error:
            problems.append(f"connections.{name}.webhook: {error}")
            continue
        with app.store.write() as tx:
            row = connections.enrol(tx, name, settings.source)
        found[name] = Door(name, row.id, verifier, signed=rules.scheme != "header", segments=segments)
    if problems:
        raise SettingsError(problems)
    return found


def segments_of(webhook: Webhook) -> tuple[str, ...]:
    """The segments that an address must bear, none where the connection's name alone will do.

    Raises `ValueError` for one that can be guessed, or that an address would bear otherwise than it is written, and
    `SettingsError` for one that is not there.
    """
    segments = tuple(secret.reveal() for secret in webhook.path_segments)
    if not all(map(_SEGMENT.fullmatch, segments)):
        raise ValueError(
            "a path segment must be 24 to 200 letters, digits, - or _ and nobody's to guess; "
            "make one with `openssl rand -hex 24`"
        )
    return segments


Settled: TypeAlias = Callable[[Sequence[tuple[Any, Delivery, Outcome]]], None]
"""Told after each commit what became of its deliveries, each with the ticket it was offered with; from a thread."""


class Intake:
    """A thread that commits deliveries: whatever arrived while the last commit ran shares the next one.

    It keeps a database connection of its own, so that it waits for no pool, and may be given up when it hangs.
    """

    def __init__(self, store: Store, settled: Settled) -> None:
        self._store = store
        self._settled = settled
        self._waiting: SimpleQueue[tuple[Any, Delivery] | None] = SimpleQueue()
        self._busy_since: float | None = None
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def offer(self, ticket: object, delivery: Delivery) -> None:
        """Have a delivery committed; `settled` is told of it under `ticket`."""
        self._waiting.put((ticket, delivery))

    def busy_s(self) -> float:
        """How long the commit under way has taken, in seconds; 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """Commit what was offered until now, then end."""
        self._waiting.put(None)
        self._thread.join(STATEMENT_MS / 1000 + 1)

    def _run(self) -> None:
        database: Database | None = None
        ended = False
        while not ended:
            batch, ended = self._gathered()
            if batch:
                database = self._commit(database, batch)
        if database is not None:
            database.close()

    def _gathered(self) -> tuple[list[tuple[Any, Delivery]], bool]:
        """Wait for a delivery, then take whatever came with it; and whether the end was asked for."""
        batch: list[tuple[Any, Delivery]] = []
        one = self._waiting.get()
        with suppress(Empty):
            while one is not None:
                batch.append(one)
                if len(batch) == TOGETHER:
                    return batch, False
                one = self._waiting.get_nowait()
            return batch, True
        return batch, False

    def _commit(self, database: Database | None, batch: list[tuple[Any, Delivery]]) -> Database | None:
        """Commit a batch and tell what became of it. The connection to go on with, None when it is of no more use."""
        self._busy_since = begun = time.monotonic()
        outcomes: list[tuple[Any, Delivery, Outcome]] = [(ticket, one, "failed") for ticket, one in batch]
        try:
            try:
                new = self._put(database or (database := self._connected()), batch)
            except StoreUnavailable:
                if time.monotonic() - begun > AGAIN_WITHIN_S:
                    raise
                _close(database)  # the database may have been restarted since: once more on a new connection
                new = self._put(database := self._connected(), batch)
            outcomes = []
            for ticket, one in batch:
                outcomes.append((ticket, one, "accepted" if one.name in new else "known"))
                new.discard(one.name)
            return database
        except Exception as error:
            log.warning("inbox.unavailable", deliveries=len(batch), reason=str(error).partition("\n")[0])
            _close(database)
            return None
        finally:
            self._busy_since = None
            self._settled(outcomes)

    def _put(self, database: Database, batch: list[tuple[Any, Delivery]]) -> set[bytes]:
        with translated(), database.begin():
            return inbox.put(database, [one for _, one in batch])

    def _connected(self) -> Database:
        """A connection of our own, that gives up what takes too long and never answers before its bytes are safe."""
        with translated():
            database = self._store.engine.connect()
            database.detach()
            if database.dialect.name == "postgresql":
                with database.begin():
                    database.exec_driver_sql(f"SET statement_timeout = {STATEMENT_MS}")
                    database.exec_driver_sql("SET synchronous_commit = on")
            else:  # not in a transaction, which would wait for other writers by the longer timeout
                database.connection.cursor().execute(f"PRAGMA busy_timeout = {STATEMENT_MS}")
            return database


def _close(database: Database | None) -> None:
    if database is not None:
        with suppress(Exception):
            database.close()
