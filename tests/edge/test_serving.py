"""A server ends when it is told to, whatever it is doing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from contextlib import suppress

import httpx
import pytest

SERVER = """
import threading
from fastapi import FastAPI
from edge.cli import serving
from edge.cli.terminal import Terminal

serving.ENDS_WITHIN_S = 1.0
app = FastAPI()

@app.get("/hangs")
def hangs() -> None:
    print("asked", flush=True)
    threading.Event().wait()

serving.serve(Terminal(), app, ("127.0.0.1", 0), "it", "", None)
"""


@pytest.mark.parametrize(("asked", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_request_that_never_ends_does_not_keep_the_server_from_ending(asked: signal.Signals, code: int):
    command = [sys.executable, "-u", "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" listens on ")[2].partition(";")[0]

        def ask() -> None:
            with suppress(httpx.HTTPError):
                httpx.get(f"{url}/hangs", timeout=60)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            assert server.stdout.readline() == "asked\n"
            server.send_signal(asked)
            assert server.wait(30) == code
        finally:
            server.kill()
            asking.join()
