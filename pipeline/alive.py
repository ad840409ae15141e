"""Alive: a worker or beat says again and again that it lives, and `python -m pipeline.alive 60` asks whether it has.

It listens on nothing that could be probed, so it touches a file, which `DEALSYNC_ALIVE_FILE` names, and tells systemd's
watchdog where there is one. Whoever hangs, is frozen or has lost its broker for good does neither.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
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


if __name__ == "__main__":
    sys.exit(not lives(os.environ, float(sys.argv[1])))
