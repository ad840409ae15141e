"""The doorbell: new deliveries are told on after their commit, in a thread, where it delays and endangers nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from connectors.faults import Fault
from ledger.port import LedgerFault
from pipeline.faults import PipelineFault
from pipeline.forget import EVERY_S, forget
from pipeline.heed import heed, needing
from pipeline.ringing import has_workers, ring_for
from pipeline.wiring import App

log = structlog.get_logger()

TOGETHER_S = 0.25
"""Deliveries that come within this time of each other are rung for once."""

LOOK_EVERY_S = 1.0
"""Without a broker the database is asked so often for what is due."""

_EXPECTED = (Fault, PipelineFault, LedgerFault)


class Doorbell:
    """Tells on which connections have deliveries: to workers, or where there is no broker to a thread of ours.

    It may lose what it was told: the database remembers, and is asked again.
    """

    def __init__(self, answer: Callable[[set[str]], None], *, every_s: float | None = None) -> None:
        self._answer = answer
        self._every_s = every_s
        self._rung: set[str] = set()
        self._changed = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
        self._thread.start()

    def ring(self, connections: Iterable[str]) -> None:
        """These have new deliveries. Returns at once."""
        with self._changed:
            self._rung.update(connections)
            self._changed.notify()

    def close(self) -> None:
        """Answer what is being answered, then end; a little later at most."""
        with self._changed:
            self._open = False
            self._changed.notify()
        self._thread.join(5.0)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._rung or not self._open, self._every_s)
                if not self._open:
                    return
                rung, self._rung = self._rung, set()
            try:
                self._answer(rung)
            except _EXPECTED as fault:
                log.warning("doorbell.failed", reason=str(fault))
            except Exception:
                log.exception("doorbell.crashed")  # and goes on: this thread is what starts everything in `up`
            time.sleep(TOGETHER_S)


def doorbell(app: App) -> Doorbell:
    """The doorbell of a configuration: it rings for workers; where there are none, what is due is heeded here."""
    if not has_workers(app):
        return Doorbell(_Heeding(app).begin, every_s=LOOK_EVERY_S)

    def ring_all(rung: set[str]) -> None:
        for connection in sorted(rung):
            ring_for(app, "fetch", connection=connection)

    return Doorbell(ring_all)


class _Heeding:
    """Heeds whatever is due, each connection in a thread of its own: one source's outage keeps no other waiting.

    In another one it forgets what nobody needs: beat, which does so elsewhere, is not there.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._under_way: dict[str, threading.Thread] = {}
        self._forgets_at = 0.0

    def begin(self, _: set[str]) -> None:
        for connection in needing(self._app):
            self._begin(f"heed {connection}", partial(heed, self._app, connection))
        if time.monotonic() >= self._forgets_at:
            self._forgets_at = time.monotonic() + EVERY_S
            self._begin("forget", partial(forget, self._app.store))

    def _begin(self, name: str, verb: Callable[[], object]) -> None:
        known = self._under_way.get(name)
        if known is None or not known.is_alive():
            thread = threading.Thread(target=self._do, args=(name, verb), name=name, daemon=True)
            self._under_way[name] = thread
            thread.start()

    def _do(self, name: str, verb: Callable[[], object]) -> None:
        try:
            verb()
        except _EXPECTED:
            pass  # written down with its run; what failed is due again later
        except Exception:
            log.exception("doorbell.crashed", verb=name)
