"""A real `dealsync serve` process, and ways to speak to it that no well-behaved client has."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

SECRET = "hook-canary-4711/+x"
SEGMENTS = ("path-canary-" + "7" * 24, "path-canary-next-" + "Z" * 24)
CONFIG = """\
[store]
url = "{store}"
[connections.planhat]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
default_currency = "USD"
[connections.planhat.webhook]
secrets = [{{ env = "HOOK_SECRET" }}]
[connections.planhat.options]
requests_per_minute = 100000
[connections.signed]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
[connections.signed.webhook]
scheme = "hmac"
signature_header = "X-Signature"
secrets = [{{ env = "HOOK_SECRET" }}]
[connections.private]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
[connections.private.webhook]
secrets = [{{ env = "HOOK_SECRET" }}]
path_segments = [{{ env = "HOOK_PATH" }}, {{ env = "HOOK_PATH_NEXT" }}]
[connections.deaf]
source = "planhat"
base_url = "{crm}"
token = {{ env = "PLANHAT_TOKEN" }}
"""


class Server:
    """The process, its address, and what it has logged."""

    def __init__(self, folder: Path, token: str) -> None:
        command = [str(Path(sys.executable).parent / "dealsync"), "serve", "--port", "0"]
        environ = {**os.environ, "PLANHAT_TOKEN": token, "HOOK_SECRET": SECRET, "DEALSYNC_LOG_LEVEL": "debug"}
        environ |= dict(zip(("HOOK_PATH", "HOOK_PATH_NEXT"), SEGMENTS, strict=True))
        self._log = folder / f"serve-{time.monotonic_ns()}.log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=log, text=True
            )
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert "listens on http://127.0.0.1:" in said, self.log()
        self.port = int(said.partition(";")[0].rpartition(":")[2])
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=20)

    def post(self, body: bytes, connection: str = "planhat", **headers: str) -> httpx.Response:
        """A delivery with the right secret and a JSON type, unless `headers` say otherwise."""
        said = {"X-Planhat-Secret": SECRET, "Content-Type": "application/json"}
        said |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(f"/webhooks/{connection}", content=body, headers=said)

    @contextmanager
    def line(self) -> Iterator[socket.socket]:
        """A bare connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as line:
            yield line

    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text(errors="replace")

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; its exit code."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        assert self.process.stdout is not None
        code = self.process.wait(20)
        self.process.stdout.close()
        return code


@contextmanager
def serving(folder: Path, store: str, crm: str = "http://127.0.0.1:9", token: str = "t") -> Iterator[Server]:
    """A server over a store, ended with the block."""
    (folder / "dealsync.toml").write_text(CONFIG.format(store=store, crm=crm))
    server = Server(folder, token)
    try:
        yield server
    finally:
        server.end()
