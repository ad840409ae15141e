"""A PostgreSQL that hangs: it takes connections and requests, and answers nothing."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.faults.backing import Postgres


@contextmanager
def paused(server: Postgres) -> Iterator[None]:
    """Meanwhile every process of the server stands still."""
    postmaster = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    processes = [postmaster, *server.children()]
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
