"""The Celery app: `celery -A worker worker` and `celery -A worker beat`. Nobody imports it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

from celery import Celery
from celery.signals import (
    after_task_publish,
    heartbeat_sent,
    setup_logging,
    worker_ready,
    worker_shutting_down,
)
from kombu import Queue

from pipeline import alive, tasks
from pipeline.faults import SettingsError
from pipeline.observe import configure
from pipeline.settings import Settings, load

QUEUES = ("hint", "pull", "publish", "backfill", "maintenance")
ENDS_WITHIN_S = 4.0
"""Told to end, a worker waits so long for what is under way, however soon that is done; then it hands it back."""

TICK_EVERY_S = float(os.environ.get("DEALSYNC_TICK_EVERY_S", "15"))
TICK_LASTS_S = 4 * TICK_EVERY_S
"""Ticks do not pile up while nobody works; but where workers are so busy that each waits for longer than the next takes
to come, they must not all expire unread: nothing would be started or rescued until the rush is over."""


def options(settings: Settings) -> dict[str, Any]:
    """Celery's settings, each with its reason. None of them is needed for correctness: the database remembers."""
    return {
        "broker_url": settings.broker.url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a broker that is away for an hour is waited for
        "broker_channel_error_retry": True,  # READONLY after a failover is passing trouble
        "broker_transport_options": {
            "visibility_timeout": 300,  # bounds how long a lost message stays lost; above the hard time limit
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
        "task_soft_time_limit": 3300,
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
    celery = Celery("dealsync", include=[tasks.__name__])
    celery.conf.update(options(settings))
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
