"""Serving: an ASGI application on an address of our own, until somebody ends it."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from edge.cli.terminal import Terminal
from edge.exits import BUSY, INTERRUPTED, Failed

_GRACE_S = 10
"""Requests under way may end within this time."""

ENDS_WITHIN_S = 13.0
"""A server is gone within 15 s of SIGTERM: what is still under way then is cut off, as if the machine had failed."""


class _Server(uvicorn.Server):
    """Ends even where a request does not: one that asks a database which hangs would hold the process for as long."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Somebody has asked for the end."""
        code = INTERRUPTED if sig == signal.SIGINT else 0
        insisting = threading.Timer(ENDS_WITHIN_S, os._exit, (code,))
        insisting.daemon = True
        insisting.start()
        super().handle_exit(sig, frame)


def serve(
    terminal: Terminal,
    app: Any,
    address: tuple[str, int],
    what: str,
    path: str,
    more: Callable[[str], tuple[dict[str, Any], str]] | None = None,
) -> None:
    """Listen, say where, and serve until SIGTERM (ends the command with 0) or Ctrl-C (130).

    `more` is told the base URL and gives what else is said: keys of the JSON document, and text for people.
    """
    host, _ = address
    listening = _bound(address)
    port = listening.getsockname()[1]
    base_url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    keys, text = more(base_url) if more is not None else ({}, "")
    if terminal.json:
        terminal.document({"url": base_url + path, "host": host, "port": port, **keys})
    else:
        terminal.line(f"{what} listens on {base_url}{path}; Ctrl-C ends it")
        for line in text.splitlines():
            terminal.line(line)
    settings = uvicorn.Config(
        app,
        interface="asgi3",
        log_config=None,
        access_log=False,  # a line a request costs more than the request, and says what the metrics say
        server_header=False,
        proxy_headers=False,  # nobody asks where a request came from
        ws="none",
        timeout_graceful_shutdown=_GRACE_S,
    )
    signal.signal(signal.SIGTERM, _done)
    _Server(settings).run(sockets=[listening])


def _bound(address: tuple[str, int]) -> socket.socket:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=512)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number and number > 0 else "no such address"
        raise Failed(
            f"cannot listen on {host} port {port}: {why}; choose another with --host and --port", BUSY
        ) from None


def _done(_: int, __: FrameType | None) -> None:
    """uvicorn hands the signal back once it has shut down."""
    sys.exit(0)
