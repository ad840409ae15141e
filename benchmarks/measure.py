"""Measuring a process from outside: wall clock, CPU of itself and its children, and the peak memory of the largest."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

LONG_S = 5.0


class Failed(Exception):
    """A measured process ended otherwise than with 0; the message holds the end of its output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What one pass cost.

    `wall_s` from the first process's start to the last one's end, interpreters and imports included. `working_s` is
    what the program itself says it took after its imports. `cpu_s` user and system, of the processes themselves, not
    of PostgreSQL or the page server. `peak_mb` is the resident peak of the largest process, in 10^6 bytes; a process
    inherits the peak of whoever starts it, so whoever measures stays small.
    """

    wall_s: float
    working_s: float | None
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Ended:
    """One process that ended well: its `Spent` and the last JSON line it wrote."""

    spent: Spent
    said: dict[str, object]


class Running:
    """A started process."""

    def __init__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._out = tempfile.TemporaryFile("w+")  # noqa: SIM115 - read when the process has ended
        self._err = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._begun = time.perf_counter()
        self._process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err
        )
        self._ended: Ended | None = None

    def wait(self) -> Ended:
        """Its figures, once it has ended. Raises `Failed`."""
        ended = self._collect(0)
        assert ended is not None
        return ended

    def kill(self) -> None:
        """End it, if it still runs."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.wait()

    def _collect(self, options: int) -> Ended | None:
        if self._ended is not None:
            return self._ended
        # wait4 tells what the process and the children it waited for used; getrusage would mix all contenders.
        pid, status, usage = os.wait4(self._process.pid, options)
        if pid == 0:
            return None
        wall_s = time.perf_counter() - self._begun
        self._process.returncode = os.waitstatus_to_exitcode(status)
        with self._out, self._err:
            said, told = _last_json(_text(self._out)), _text(self._err)
        if self._process.returncode != 0:
            tail = told.strip()[-600:]
            raise Failed(f"{Path(self._command[0]).name} ended with {self._process.returncode}: {tail or said}")
        inside = said.get("seconds")
        spent = Spent(
            wall_s=wall_s,
            working_s=float(inside) if isinstance(inside, int | float) else None,
            cpu_s=usage.ru_utime + usage.ru_stime,
            peak_mb=usage.ru_maxrss * 1024 / 1e6,
        )
        self._ended = Ended(spent, said)
        return self._ended


def run(command: Sequence[str], *, folder: Path, environment: Mapping[str, str]) -> Ended:
    """Run one process to its end. Raises `Failed`."""
    return Running(command, folder=folder, environment=environment).wait()


def steady(measured: Callable[[], Ended]) -> Ended:
    """A pass that may be repeated: the median of three where it is short, so that one hiccup does not decide."""
    first = measured()
    if first.spent.wall_s > LONG_S:
        return first
    return sorted([first, measured(), measured()], key=lambda ended: ended.spent.wall_s)[1]


def one_after_the_other(parts: Sequence[Spent]) -> Spent:
    """Several processes of one pass, each started when the one before had ended."""
    inside = [part.working_s for part in parts if part.working_s is not None]
    working_s = sum(inside) if len(inside) == len(parts) else None
    return replace(at_once(parts, wall_s=sum(part.wall_s for part in parts)), working_s=working_s)


def at_once(parts: Sequence[Spent], *, wall_s: float) -> Spent:
    """Several processes of one pass that overlapped: their working seconds do not add up."""
    return Spent(
        wall_s=wall_s,
        working_s=None,
        cpu_s=sum(part.cpu_s for part in parts),
        peak_mb=max(part.peak_mb for part in parts),
    )


def _text(file: TextIO) -> str:
    file.seek(0)
    return file.read()


def _last_json(text: str) -> dict[str, object]:
    """The document on stdout, or the last line of it that is one."""
    for candidate in (text, *reversed(text.splitlines())):
        try:
            value = json.loads(candidate)
        except ValueError:
            continue
        if isinstance(value, dict):
            return value
    return {}
