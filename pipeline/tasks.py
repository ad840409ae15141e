"""Tasks: one for each verb, thin; a message carries ids and may be lost, doubled or late without any harm."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from typing import Any, NoReturn

import structlog
from celery import Celery, current_app, shared_task

from connectors.faults import Fault
from ledger.port import LedgerFault
from pipeline import backfill_work, schedule
from pipeline.faults import Busy, PipelineFault
from pipeline.forget import forget
from pipeline.heed import heed
from pipeline.poison import Sieve
from pipeline.previews import look_ahead
from pipeline.publish import publish as publish_events
from pipeline.pull import pull as pull_connection
from pipeline.reconcile import reconcile as reconcile_connection
from pipeline.settings import load
from pipeline.store import outbox
from pipeline.store.session import now
from pipeline.sweep import sweep as sweep_connection
from pipeline.wiring import App, open_app

log = structlog.get_logger()

EXPECTED = (Fault, PipelineFault, LedgerFault)
"""Faults that are no bug. The work is found again in the database, not in the message."""

PATIENCE_S = 5.0
"""A task does not sit out an outage: it ends, and the next tick rings again."""


class CutOff(BaseException):
    """A task has had its time. Like every order to stop it is no `Exception`: no code takes it for a fault of what is
    in hand."""


_held_open = ExitStack()
"""Keeps this process's app open: what nobody holds is collected, and takes the ledger's threads along."""


def task_of(verb: str, *, queue: str) -> Callable[[Callable[..., None]], Any]:
    """Make a function the task of a verb, for which is rung in `queue`.

    A fault that is no bug ends it with a line of our own: Celery's line for it would carry the traceback. Somebody
    else who is doing the same is as good as doing it, and so is whoever has done it since the tick rang: messages pile
    up while no worker is there to take them. What has had its time ends like a process that is told to stop, and is
    found again, where it was, by the next tick. Any other error is left to Celery, traceback and all.
    """

    def made(do: Callable[..., None]) -> Any:
        @wraps(do)
        def task(*, since: str | None = None, **ids: Any) -> str:
            try:
                if since is not None and schedule.is_over(_app(), schedule.Due(verb, ids["connection"]), since):
                    return "over"
                with _in_time():
                    do(**ids)
            except CutOff:
                log.info("cut_off", verb=verb, **ids)
                return "cut off"
            except Busy:
                log.debug("busy", verb=verb, **ids)
                return "busy"
            except EXPECTED as fault:
                log.warning("failed", verb=verb, **ids, reason=str(fault))
                return "failed"
            return "done"

        return shared_task(name=verb, queue=queue)(task)

    return made


@contextmanager
def _in_time() -> Iterator[None]:
    """Celery tells a task whose time is over by a signal; what it would raise then looks like a bug of ours."""

    def cut_off(*_: object) -> NoReturn:
        raise CutOff

    if threading.current_thread() is not threading.main_thread():  # no signal comes here, and no time is limited
        yield
        return
    before = signal.signal(signal.SIGUSR1, cut_off)
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


@task_of("pull", queue="pull")
def pull(*, connection: str, **_: object) -> None:
    """Pull one connection, then ring for its events."""
    pull_connection(_app(), connection)
    _ring_for_events()


@task_of("sweep", queue="pull")
def sweep(*, connection: str, **_: object) -> None:
    """Sweep one connection, then ring for its events."""
    sweep_connection(_app(), connection)
    _ring_for_events()


@task_of("reconcile", queue="pull")
def reconcile(*, connection: str, **_: object) -> None:
    """Compare one connection with the ledger; nothing is repaired."""
    reconcile_connection(_app(), connection)


@task_of("fetch", queue="hint")
def fetch(*, connection: str, **_: object) -> None:
    """Fetch the deals that deliveries of a connection hinted at, then ring for their events."""
    heed(_app(), connection)
    _ring_for_events()


@task_of("backfill", queue="backfill")
def backfill(*, connection: str, **_: object) -> None:
    """Read one chunk of a connection's backfill, then ring for the next and for the events."""
    if backfill_work.work_on(_app(), connection):
        ring("backfill", connection=connection)
    _ring_for_events()


@task_of("preview", queue="backfill")
def preview(*, backfill: str, **_: object) -> None:
    """Find out what a backfill that is planned would do; nothing lands."""
    look_ahead(_app(), int(backfill))


@task_of("publish", queue="publish")
def publish(**_: object) -> None:
    """Send what the outbox holds."""
    publish_events(_app())


@task_of("tick", queue="maintenance")
def tick(**_: object) -> None:
    """Ring for whatever is due: the schedule, and the rescue of work that nobody rang for; forget what nobody needs."""
    with _app().store.read() as tx:
        since = now(tx)
    for work in schedule.due(_app()):
        by_interval = {"since": since} if work.verb in schedule.VERBS else {}
        ring(work.verb, **({"connection": work.connection, **by_interval} if work.connection else {}))
    forget(_app().store)


def use_broker(url: str) -> None:
    """Ring through this broker from a process that is no worker."""
    app = Celery("dealsync", broker=url)
    app.set_default()  # for every thread; the current app is only that of this one
    app.conf.update(
        broker_transport_options={"socket_timeout": 2, "socket_connect_timeout": 2}, task_ignore_result=True
    )


def ring(verb: str, **ids: str) -> None:
    """Send a message after the commit it belongs to. A broker that cannot take it costs a few seconds, not the work."""
    try:
        current_app.tasks[verb].apply_async(kwargs=ids, retry=False)
    except Exception as error:
        log.warning("ring.failed", verb=verb, reason=type(error).__name__)


def _ring_for_events() -> None:
    """Ring for the events that wait, if any do: most pulls find nothing new, and to publish nothing is a run too."""
    with _app().store.read() as tx:
        waiting = outbox.any_at_all(tx)
    if waiting:
        ring("publish")


@cache
def _app() -> App:
    """This process's own store and ledger, opened by its first task: never before a fork."""
    app = _held_open.enter_context(open_app(load(None, os.environ), give_up_after_s=PATIENCE_S))
    app.ledger = Sieve(app.ledger)
    return app
