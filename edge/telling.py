"""Telling: what a fault is over HTTP: its status, the exit code that a command would end with, and some lines."""

from __future__ import annotations

import uuid
from typing import NamedTuple

import structlog

from edge.exits import BUG, BUSY, CONFIGURATION, PARKED, REFUSED, UNAVAILABLE, USAGE, code_of, told
from pipeline.redaction import escaped, scrub

STATUS = {USAGE: 404, CONFIGURATION: 500, REFUSED: 502, PARKED: 409, UNAVAILABLE: 503, BUSY: 409}
"""The status of what ends a command with this code. Whoever acts on what is there, but not fit for it, hears 409."""

log = structlog.get_logger("dealsync")


class Told(NamedTuple):
    """A fault as it is told."""

    status: int
    code: int
    messages: list[str]

    @property
    def headers(self) -> dict[str, str]:
        """What is told beside it: what may work in a moment says when to come again."""
        return {"Retry-After": "5"} if self.status == 503 else {}

    def as_json(self) -> dict[str, object]:
        """The envelope of every fault, the one that `--json` prints."""
        return {"error": {"code": self.code, "messages": self.messages}}


def telling_of(error: Exception, *, acting: bool) -> Told:
    """How a fault is told to whoever looks or acts. What nobody foresaw is logged, and told without its text."""
    code = code_of(error)
    if code is None:
        return Told(500, BUG, [reported(error)])
    status = 409 if acting and code == USAGE else STATUS.get(code, 503)
    return Told(status, code, [escaped(scrub(line)) for line in told(error)])


def plainly(status: int, message: str) -> Told:
    """A refusal of ours in one line."""
    return Told(status, {401: REFUSED, 403: REFUSED, 503: UNAVAILABLE}.get(status, USAGE), [message])


def reported(error: Exception) -> str:
    """Log what nobody foresaw, with its traceback, under a number that the person can quote; the line to tell them."""
    number = uuid.uuid4().hex[:12]
    log.error("bug", report=number, exc_info=error)
    return (
        f"this is a bug in dealsync ({type(error).__name__}); report it with the log line that carries report={number}"
    )
