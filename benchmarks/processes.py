"""Processes that serve and work while something is measured: begun, ready, and ended with the block."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import stage
from benchmarks.measure import Failed

BEGINS_WITHIN_S = 60.0
_ENDS_WITHIN_S = 30.0


@contextmanager
def worker(log: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[None]:
    """A Celery worker of one child, on all queues if `arguments` name none, ready to work."""
    command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "--concurrency", "1"]
    command += ["--without-gossip", "--without-mingle", *arguments]
    with _begun(command, stage.ROOT, environment, log) as process:
        _said(process, log, " ready.")
        yield


@contextmanager
def beat(log: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Celery's beat."""
    command = [sys.executable, "-m", "celery", "-A", "worker", "beat", "--schedule", str(log.with_suffix(".schedule"))]
    with _begun(command, stage.ROOT, environment, log):
        yield


@contextmanager
def serving(verb: str, folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[int, int]]:
    """`dealsync serve` or `up`, listening; its port and its pid."""
    log = folder / f"{verb}.log"
    with _begun([stage.DEALSYNC, verb, "--port", "0"], folder, environment, log) as process:
        listening = _said(process, log, "listens on http://")
        yield int(listening.partition("listens on http://")[2].partition(";")[0].rpartition(":")[2]), process.pid


@contextmanager
def _begun(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _said(process: subprocess.Popen[bytes], log: Path, words: str) -> str:
    """The line of its log that shows that it is ready. Raises `Failed`."""
    ends = time.monotonic() + BEGINS_WITHIN_S
    while True:
        text = log.read_text()
        if line := next((line for line in text.splitlines() if words in line), None):
            return line
        if process.poll() is not None or time.monotonic() > ends:
            raise Failed(f"{log.stem} did not begin: {text[-600:]}")
        time.sleep(0.05)
