"""Simulated Automations: Planhat's webhook sender as contract section 14 describes it, with all its weaknesses."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, TypeAlias

import httpx

from connectors.simulation import SimClock

Op: TypeAlias = Literal["create", "update", "delete"]

TEMPLATE = (
    '{"v":1,"tenant":"simulated","model":"<<model>>","op":"<<op>>","id":"<<object._id>>",'
    '"updatedAt":"<<object.updatedAt>>"}'
)
"""The template we hand to admins; an admin has one automation an operation, so model and operation are typed text."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One outbound request of an automation."""

    op: Op
    record_id: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True, kw_only=True)
class Automation:
    """One automation: `deliver` is handed each delivery and answers the receiver's status code.

    A burst (a bulk upsert of many) runs it once a record, in no order when `shuffle`. A run is lost with probability
    `loss` and delivered twice with probability `duplicate`. A status other than 2xx, or a failing connection, is a
    failed run: it is never tried again, and `disable_after` of them within 24 h switch the automation off until
    `enable` is called by hand.
    """

    deliver: Callable[[Delivery], int]
    clock: SimClock
    random: Random
    model: str
    ops: frozenset[Op] = frozenset({"create", "update", "delete"})
    headers: Mapping[str, str] = field(default_factory=dict)
    template: str = TEMPLATE
    loss: float = 0.0
    duplicate: float = 0.0
    shuffle: bool = False
    disable_after: int = 10
    enabled: bool = True
    lost: int = 0
    _failures: deque[datetime] = field(default_factory=deque)
    _due: list[Delivery] = field(default_factory=list)

    def trigger(self, op: Op, record: Mapping[str, Any]) -> None:
        """A record was written: one run is due, if this automation looks at such writes and is switched on."""
        if self.enabled and op in self.ops:
            self._due.append(Delivery(op, str(record["_id"]), self.headers, self._body(op, record)))

    def run(self) -> None:
        """Carry out the runs that are due."""
        due, self._due = self._due, []
        if self.shuffle:
            self.random.shuffle(due)
        for delivery in due:
            if not self.enabled or self.random.random() < self.loss:
                self.lost += 1
                continue
            for _ in range(2 if self.random.random() < self.duplicate else 1):
                self._attempt(delivery)

    def enable(self) -> None:
        """What an admin does after noticing."""
        self.enabled = True
        self._failures.clear()

    def _attempt(self, delivery: Delivery) -> None:
        try:
            status = self.deliver(delivery)
        except (OSError, httpx.HTTPError):
            status = 0
        if 200 <= status < 300:
            return
        self._failures.append(self.clock.now)
        while self._failures[0] <= self.clock.now - timedelta(hours=24):
            self._failures.popleft()
        if len(self._failures) >= self.disable_after:
            self.enabled = False

    def _body(self, op: Op, record: Mapping[str, Any]) -> bytes:
        """After a delete only the id still resolves; other fields render as the text `undefined`."""
        updated = "undefined" if op == "delete" else str(record.get("updatedAt", "undefined"))
        filled = self.template.replace("<<model>>", self.model).replace("<<op>>", op)
        filled = filled.replace("<<object._id>>", str(record["_id"])).replace("<<object.updatedAt>>", updated)
        return filled.encode()
