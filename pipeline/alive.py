"""Alive: a worker or beat says again and again that it lives, and `python -m pipeline.alive 60` asks whether it has.

It listens on nothing that could be probed, so it touches a file, which `DEALSYNC_ALIVE_FILE` names, and tells systemd's
watchdog where there is one. Whoever hangs, is frozen or has lost its broker for good does neither. A worker that goes
round and takes no message any more finds that out itself, by its `Ear`, and ends; so does one that comes round no more,
by its `Pulse`: not everybody who supervises processes acts on what a probe says.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

FILE = "DEALSYNC_ALIVE_FILE"


def tell(environ: Mapping[str, str]) -> None:
    """Say that this process lives. To be unable to say so is no fault: then somebody else finds out."""
    if file := environ.get(FILE):
        with suppress(OSError):
            Path(file).touch()
    if address := environ.get("NOTIFY_SOCKET"):
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as watchdog:
            watchdog.connect("\0" + address[1:] if address.startswith("@") else address)
            watchdog.send(b"WATCHDOG=1")


def lives(environ: Mapping[str, str], within_s: float) -> bool:
    """Whether the process that shares our files has said so of late: a worker does every two seconds, beat when it
    rings.
    """
    try:
        return time.time() - Path(environ[FILE]).stat().st_mtime <= within_s
    except (KeyError, OSError):
        return False


@dataclass(slots=True)
class Ear:
    """Judges by looks at regular times whether a worker still hears its queues.

    One that has nothing in hand takes a message within a second. So it is deaf when at each of `patience` looks in a
    row a message waited and nothing had been taken since the look before. Looks are counted, not seconds: whoever was
    kept from looking, by a broker that is away, has missed nothing.
    """

    patience: int = 6
    _taken: int = -1
    _missed: int = 0

    def deaf(self, *, taken: int, waits: bool) -> bool:
        """Judge after another look: `taken` counts the messages taken so far, `waits` says that nothing is in hand
        and a message is known to wait.
        """
        self._missed = self._missed + 1 if waits and taken == self._taken else 0
        self._taken = taken
        return self._missed >= self.patience


class Pulse:
    """Watches from a thread whether a loop still comes round, until `stop`.

    Looks are counted here too: a process that was frozen as a whole has missed nothing.
    """

    def __init__(self, every_s: float, stopped: Callable[[], None]) -> None:
        """`stopped` is called by the thread once six looks in a row, `every_s` apart, saw the loop stand still."""
        self._every_s, self._stopped = every_s, stopped
        self._rounds = 0
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()

    def beat(self) -> None:
        """The loop has come round."""
        self._rounds += 1

    def stop(self) -> None:
        """Watch no more."""
        self._over.set()

    def _watch(self) -> None:
        ear = Ear()
        while not self._over.wait(self._every_s):
            if ear.deaf(taken=self._rounds, waits=True):
                self._stopped()
                return


if __name__ == "__main__":
    sys.exit(not lives(os.environ, float(sys.argv[1])))
