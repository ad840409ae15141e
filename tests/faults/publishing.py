"""A process that publishes until nothing waits: `python -m tests.faults.publishing` with `DEALSYNC_CONFIG`."""

from __future__ import annotations

import os
import sys
import time

from ledger.port import LedgerUnavailable
from pipeline.faults import Busy
from pipeline.publish import publish
from pipeline.settings import load
from pipeline.store import outbox
from pipeline.wiring import open_app

PATIENCE_S = 240.0


def main() -> int:
    """0 when the outbox is empty."""
    ends = time.monotonic() + PATIENCE_S
    with open_app(load(None, os.environ), give_up_after_s=5.0) as app:
        while time.monotonic() < ends:
            try:
                publish(app)
            except (Busy, LedgerUnavailable):
                time.sleep(0.1)
            with app.store.read() as tx:
                if not outbox.waiting(tx):
                    return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
