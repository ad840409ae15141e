"""The Celery app: `celery -A worker worker` and `celery -A worker beat`. Nobody imports it."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from typing import Any

import structlog
from celery import Celery, Task
from celery.bootsteps import StartStopStep
from celery.exceptions import WorkerShutdown
from celery.signals import (
    after_task_publish,
    heartbeat_sent,
    setup_logging,
    worker_ready,
    worker_shutting_down,
)
from celery.worker import state
from celery.worker.request import Request
from kombu import Queue

from pipeline import alive, tasks
from pipeline.faults import SettingsError
from pipeline.observe import configure
from pipeline.settings import Settings, load

log = structlog.get_logger()

QUEUES = ("hint", "pull", "publish", "backfill", "maintenance")
ENDS_WITHIN_S = 4.0
"""Told to end, a worker waits so long for what is under way, however soon that is done; then it hands it back."""

TICK_EVERY_S = float(os.environ.get("DEALSYNC_TICK_EVERY_S", "15"))
TICK_LASTS_S = 4 * TICK_EVERY_S
"""Ticks do not pile up while nobody works; but where workers are so busy that each waits for longer than the next takes
to come, they must not all expire unread: nothing would be started or rescued until the rush is over."""

LISTENS_EVERY_S = float(os.environ.get("DEALSYNC_LISTENS_EVERY_S", "10"))
"""A worker looks so often whether it still hears its queues: deaf, it ends within a minute or so."""


class Taken(Request):  # type: ignore[misc]
    """A message that a worker has in hand.

    Celery logs that it could not be acknowledged, and goes on; but then it counts as in hand for good, and with as many
    of them as it has processes a worker on Redis asks for no more, so does not even notice that it was cut off. Here
    that is what it is, the loss of the broker: the worker connects anew, and has nothing in hand.
    """

    def __init__(self, message: Any, **given: Any) -> None:
        super().__init__(message, **{**given, "connection_errors": ()})  # those are the errors that it would swallow


class Verb(Task):  # type: ignore[misc]
    """What every task of ours is."""

    Request = Taken


class Hearing(StartStopStep):  # type: ignore[misc]
    """Ends a worker that goes deaf or hangs, from whatever cause: whoever supervises it begins it anew."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    _looking: Any = None

    def start(self, consumer: Any) -> None:
        """Look at regular times as long as this connection to the broker lasts."""
        self._ear, self._pulse = alive.Ear(), alive.Pulse(LISTENS_EVERY_S, _hangs)
        self._looking = consumer.timer.call_repeatedly(LISTENS_EVERY_S, self._look, (consumer,))

    def stop(self, consumer: Any) -> None:
        """Look no more."""
        if self._looking is not None:  # a connection may be lost before it has begun
            self._pulse.stop()
            consumer.timer.cancel(self._looking)

    def _look(self, consumer: Any) -> None:
        self._pulse.beat()
        idle = not state.reserved_requests and not state.active_requests
        queue = _waits(consumer) if idle else None
        if self._ear.deaf(taken=state.all_total_count[0], waits=queue is not None):
            log.error(
                "worker.deaf", queue=queue, reason="messages wait, and this worker takes none: it ends, to be restarted"
            )
            raise WorkerShutdown(os.EX_UNAVAILABLE)


def _hangs() -> None:
    """Say where everybody stands, and end at once: what hangs can be asked for nothing more."""
    log.error("worker.hangs", reason="this worker's main loop comes round no more: it ends, to be restarted")
    faulthandler.dump_traceback()
    os._exit(os.EX_SOFTWARE)


def _waits(consumer: Any) -> str | None:
    """One of a worker's queues in which a message is known to wait. A broker that does not answer tells of none."""
    channel = consumer.task_consumer.channel
    for queue in consumer.task_consumer.queues:
        try:
            if channel.queue_declare(queue.name, passive=True).message_count:
                return str(queue.name)
        except consumer.channel_errors:
            continue  # on Redis a queue that is empty is none
        except consumer.connection_errors:
            return None
    return None


def options(settings: Settings) -> dict[str, Any]:
    """Celery's settings, each with its reason. None of them is needed for correctness: the database remembers."""
    return {
        "broker_url": settings.broker.url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a broker that is away for an hour is waited for
        "broker_channel_error_retry": True,  # READONLY after a failover is passing trouble
        "broker_transport_options": {
            "visibility_timeout": 300,  # bounds how long a message stays lost; one too many finds a lease
            "socket_timeout": 2,  # ringing must never hang
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,  # finds half-open sockets
        },
        "task_queues": [Queue(name) for name in QUEUES],
        "task_default_queue": "maintenance",
        "task_acks_late": True,  # acknowledged after the database commit
        "task_reject_on_worker_lost": True,  # a killed child's message comes back
        "task_ignore_result": True,  # the truth is in the database; results only grow
        "task_serializer": "json",
        "accept_content": ["json"],  # pickle would make the broker able to run code
        "task_soft_time_limit": 3300,  # what it was at is gone on with by the next: see pipeline.tasks
        "task_time_limit": 3600,  # the lease is the real guard
        "worker_prefetch_multiplier": 1,  # nothing waits behind a long task
        "worker_cancel_long_running_tasks_on_connection_loss": True,  # its twin is already on the way
        "worker_soft_shutdown_timeout": ENDS_WITHIN_S,
        "worker_enable_remote_control": False,  # less surface; control replies have filled brokers
        "worker_hijack_root_logger": False,
        "worker_max_tasks_per_child": 500,  # leaks recur
        "enable_utc": True,
        "timezone": "UTC",
        "beat_scheduler": "celery.beat:Scheduler",  # keeps nothing: what is due is worked out from the database
        "beat_schedule": {"tick": {"task": "tick", "schedule": TICK_EVERY_S, "options": {"expires": TICK_LASTS_S}}},
    }


def build() -> Celery:
    """The app for the configuration in force. Ends the process with one line when there is none to work with."""
    try:
        settings = load(None, os.environ)
    except SettingsError as error:
        sys.exit(f"dealsync: {error}")
    if settings.broker.url == "none":
        sys.exit('dealsync: broker.url is "none": workers need a broker; without one, run the commands themselves')
    celery = Celery("dealsync", include=[tasks.__name__], task_cls=Verb)
    celery.conf.update(options(settings))
    celery.steps["consumer"].add(Hearing)
    celery.set_default()
    return celery


@setup_logging.connect
def _log(**_: object) -> None:
    """Keep our own logging: Celery's lines go through the same processors, redaction included."""
    configure("json", os.environ.get("DEALSYNC_LOG_LEVEL", "info"))


@heartbeat_sent.connect
@worker_ready.connect
def _alive(**_: object) -> None:
    """A worker lives as long as its main process comes round to its heartbeat."""
    alive.tell(os.environ)


@worker_shutting_down.connect
def _insist(how: str, **_: object) -> None:
    """Without REMAP_SIGTERM a worker that is told to end waits for its tasks, however long those take: not here."""
    if how == "Warm":
        quitting = threading.Timer(ENDS_WITHIN_S, os.kill, (os.getpid(), signal.SIGQUIT))
        quitting.daemon = True
        quitting.start()


@after_task_publish.connect(sender="tick")
def _rung(**_: object) -> None:
    """Beat lives as long as it rings; nobody else sends this message."""
    alive.tell(os.environ)


app = build()
