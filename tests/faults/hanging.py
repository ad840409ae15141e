"""A worker whose main loop hangs a little after it was ready: `celery -A tests.faults.hanging worker`."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import worker_ready

from worker import app

__all__ = ["app"]

HANGS_AFTER_S = 1.0


@worker_ready.connect
def _hang(sender: Any, **_: object) -> None:
    sender.timer.call_after(HANGS_AFTER_S, time.sleep, (3600,))
