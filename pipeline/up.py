"""Up: the schedule and all the work of one configuration in the threads of one process, without a broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog

from connectors.faults import Fault
from ledger.port import LedgerFault
from pipeline import backfill_work, schedule
from pipeline.doorbell import LOOK_EVERY_S, Doorbell
from pipeline.faults import Busy, Interrupted, PipelineFault
from pipeline.forget import EVERY_S, forget
from pipeline.heed import heed
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.reconcile import reconcile
from pipeline.schedule import Due
from pipeline.summary import Summary
from pipeline.sweep import sweep
from pipeline.wiring import App

log = structlog.get_logger()

REST_S = 15.0
"""Work that failed is not started again sooner, however due it is."""

GRACE_S = 3.0
"""When told to stop, work under way may come to the end of its transaction within this time."""


class Place(NamedTuple):
    """What is done one at a time: all that reads a connection's pages, its hints, its backfill, the publisher."""

    queue: str
    connection: str


QUEUES = {"pull": "pull", "sweep": "pull", "reconcile": "pull", "fetch": "hint", "backfill": "backfill"}
"""Each queue has a thread of its own for each connection: a backfill delays no pull, and neither of them a hint."""


AT_ONCE = {"pull": 4, "hint": 4, "backfill": 2}
"""So many connections are worked on at once in each queue: the store has not many connections to give."""


class Crew:
    """The threads that do what is due, until `close`.

    They find it in the database alone: every second, and at once when deliveries are rung for. Any number of
    processes may do so; who does what is decided by leases. Nothing is lost when one of them is killed.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._stop = threading.Event()
        self._under_way: dict[Place, threading.Thread] = {}
        self._rests_until: dict[Place, float] = {}
        self._began_at: dict[Place, float] = {}
        self._forgets_at = 0.0
        self.bell = Doorbell(self._begin_due, every_s=LOOK_EVERY_S)

    def close(self) -> None:
        """Start nothing more, and give what is under way a moment to end; whatever does not is cut off, harmlessly."""
        self._stop.set()
        self.bell.close()
        ends = time.monotonic() + GRACE_S
        for thread in list(self._under_way.values()):
            thread.join(max(0.0, ends - time.monotonic()))

    def _begin_due(self, _: set[str]) -> None:
        """Start whatever is due and not under way; whose last turn is longest ago goes first."""
        due = {Place(QUEUES.get(verb, verb), connection): verb for verb, connection in self._due()}
        for place in sorted(due, key=lambda one: self._began_at.get(one, 0.0)):
            if self._stop.is_set():
                return
            if self._may_begin(place):
                name = f"{due[place]} {place.connection}".strip()
                thread = threading.Thread(target=self._do, args=(place, due[place]), name=name, daemon=True)
                self._began_at[place] = time.monotonic()
                self._under_way[place] = thread
                thread.start()

    def _may_begin(self, place: Place) -> bool:
        at_work = [one for one, thread in self._under_way.items() if one.queue == place.queue and thread.is_alive()]
        rested = self._rests_until.get(place, 0.0) <= time.monotonic()
        return rested and place not in at_work and len(at_work) < AT_ONCE.get(place.queue, 1)

    def _due(self) -> Iterable[Due]:
        found = schedule.due(self._app)
        if time.monotonic() >= self._forgets_at:
            found.append(Due("forget", ""))
        return found

    def _do(self, place: Place, verb: str) -> None:
        try:
            self._verb(verb)(place.connection)
        except Busy:
            log.debug("busy", verb=verb, connection=place.connection)
        except Interrupted:
            log.info("interrupted", verb=verb, connection=place.connection)
        except (Fault, PipelineFault, LedgerFault) as fault:
            self._rests_until[place] = time.monotonic() + REST_S
            log.warning("failed", verb=verb, connection=place.connection, reason=str(fault))
        except Exception:
            self._rests_until[place] = time.monotonic() + REST_S
            log.exception("crashed", verb=verb, connection=place.connection)
        else:
            self.bell.ring([place.connection])  # there may be more, and there may be events to send

    def _verb(self, verb: str) -> Callable[[str], object]:
        app, tell = self._app, self._tell
        verbs: dict[str, Callable[[str], object]] = {
            "pull": lambda name: pull(app, name, progress=tell),
            "sweep": lambda name: sweep(app, name, progress=tell),
            "reconcile": lambda name: reconcile(app, name, progress=tell),
            "fetch": lambda name: heed(app, name, progress=tell),
            "backfill": lambda name: backfill_work.work_on(app, name),
            "publish": lambda _: publish(app, progress=tell),
            "forget": lambda _: self._forget(),
        }
        return verbs[verb]

    def _tell(self, _: Summary) -> None:
        """Between two transactions is the place to stop."""
        if self._stop.is_set():
            raise Interrupted

    def _forget(self) -> None:
        self._forgets_at = time.monotonic() + EVERY_S
        forget(self._app.store)
