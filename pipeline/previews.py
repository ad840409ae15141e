"""Previews: dry runs of backfills that somebody asked a server for, left to workers or done in threads beside it."""

from __future__ import annotations

import threading

import structlog

from connectors.faults import Fault
from pipeline.audit import Operator
from pipeline.backfill import Window, begin
from pipeline.backfill_preview import foresee
from pipeline.backfill_report import Standing, Watch, standing, unwatched
from pipeline.faults import Busy, Interrupted, PipelineFault
from pipeline.ringing import ring_for
from pipeline.store import backfills
from pipeline.wiring import App

AT_ONCE = 2
"""A dry run reads as much as the backfill would: more of them wait until one of these is through."""

GRACE_S = 3.0

log = structlog.get_logger()


def look_ahead(app: App, number: int, watch: Watch = unwatched) -> None:
    """Find out what a planned backfill would do; where that does not come to its end, the plan says why."""
    try:
        foresee(app, number, watch=watch)
    except (Fault, PipelineFault) as fault:
        log.warning("preview.failed", backfill=number, reason=str(fault))
        _tell(app, number, f"the dry run did not come to its end: {fault}")
    except Exception as bug:
        log.exception("preview.crashed", backfill=number)
        _tell(app, number, f"the dry run met a bug ({type(bug).__name__}); the log has the details")


def _tell(app: App, number: int, reason: str) -> None:
    try:
        with app.store.write() as tx:
            backfills.set_state(tx, number, "planned", reason, ("planned",))
    except PipelineFault as fault:
        log.warning("preview.untold", backfill=number, reason=str(fault))


class Previews:
    """The dry runs that this process was asked for, until `close`. One that is cut off, or of which no worker hears,
    leaves a plan that can be carried out, cancelled, or planned anew; nothing of it has landed.
    """

    def __init__(self, app: App, *, here: bool) -> None:
        """They are done `here`, in threads, where there are no workers to leave them to."""
        self._app = app
        self._here = here
        self._stop = threading.Event()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._threads: list[threading.Thread] = []

    def begin(self, connection: str, window: Window, operator: Operator) -> Standing:
        """Plan a backfill, and begin to find out what it would do. Raises as `pipeline.backfill.begin`, and `Busy`."""
        if not self._here:
            number = begin(self._app, connection, window, "planned", operator=operator)
            ring_for(self._app, "preview", backfill=str(number))
            return standing(self._app, number)
        if not self._room.acquire(blocking=False):
            raise Busy(f"{AT_ONCE} dry runs are under way in this process: wait for one, or cancel it")
        try:
            number = begin(self._app, connection, window, "planned", operator=operator)
            thread = threading.Thread(target=self._look_ahead, args=(number,), name=f"preview {number}", daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()
        except BaseException:
            self._room.release()
            raise
        return standing(self._app, number)

    def close(self) -> None:
        """Begin nothing more, and give what is under way a moment to end; whatever does not is cut off, harmlessly."""
        self._stop.set()
        for thread in self._threads:
            thread.join(GRACE_S)

    def _look_ahead(self, number: int) -> None:
        try:
            look_ahead(self._app, number, self._watch)
        finally:
            self._room.release()

    def _watch(self, _: Standing) -> None:
        if self._stop.is_set():
            raise Interrupted
