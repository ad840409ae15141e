"""Previews: dry runs of backfills, carried out in threads beside the server whose pages asked for them."""

from __future__ import annotations

import threading

import structlog

from connectors.faults import Fault
from pipeline.audit import Operator
from pipeline.backfill import Window, begin
from pipeline.backfill_preview import foresee
from pipeline.backfill_report import Standing, standing
from pipeline.faults import Busy, Interrupted, PipelineFault
from pipeline.store import backfills
from pipeline.wiring import App

AT_ONCE = 2
"""A dry run reads as much as the backfill would: more of them wait until one of these is through."""

GRACE_S = 3.0

log = structlog.get_logger()


class Previews:
    """The dry runs under way in this process, until `close`. One that is cut off leaves a plan that can be carried out,
    cancelled, or planned anew; nothing of it has landed.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._stop = threading.Event()
        self._room = threading.BoundedSemaphore(AT_ONCE)
        self._threads: list[threading.Thread] = []

    def begin(self, connection: str, window: Window, operator: Operator) -> Standing:
        """Plan a backfill, and begin to find out what it would do. Raises as `pipeline.backfill.begin`, and `Busy`."""
        if not self._room.acquire(blocking=False):
            raise Busy(f"{AT_ONCE} dry runs are under way in this process: wait for one, or cancel it")
        try:
            number = begin(self._app, connection, window, "planned", operator=operator)
            thread = threading.Thread(target=self._foresee, args=(number,), name=f"preview {number}", daemon=True)
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

    def _foresee(self, number: int) -> None:
        try:
            foresee(self._app, number, watch=self._watch)
        except (Fault, PipelineFault) as fault:
            log.warning("preview.failed", backfill=number, reason=str(fault))
            self._tell(number, f"the dry run did not come to its end: {fault}")
        except Exception as bug:
            log.exception("preview.crashed", backfill=number)
            self._tell(number, f"the dry run met a bug ({type(bug).__name__}); the log has the details")
        finally:
            self._room.release()

    def _tell(self, number: int, reason: str) -> None:
        """Say with the plan why it has no whole expectation."""
        try:
            with self._app.store.write() as tx:
                backfills.set_state(tx, number, "planned", reason, ("planned",))
        except PipelineFault as fault:
            log.warning("preview.untold", backfill=number, reason=str(fault))

    def _watch(self, _: Standing) -> None:
        if self._stop.is_set():
            raise Interrupted
