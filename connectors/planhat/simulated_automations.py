"""Simulated Automations: Planhat's webhook sender as contract section 14 describes it, with all its weaknesses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from connectors.simulated_sender import Outgoing, Sender

Op: TypeAlias = Literal["create", "update", "delete"]

EVERY_OP: Final[frozenset[Op]] = frozenset({"create", "update", "delete"})

TEMPLATE = (
    '{"v":1,"tenant":"simulated","model":"<<model>>","op":"<<op>>","id":"<<object._id>>",'
    '"updatedAt":"<<object.updatedAt>>"}'
)
"""The template we hand to admins; an admin has one automation an operation, so model and operation are typed text."""


@dataclass(frozen=True, slots=True)
class Automation:
    """One automation: which writes it looks at, and what its request says; `sender` carries that out.

    A burst (a bulk upsert of many) runs it once a record. `headers` is asked for each run, so that an admin may paste
    another secret meanwhile.
    """

    sender: Sender
    model: str
    headers: Callable[[], Mapping[str, str]]
    ops: frozenset[Op] = EVERY_OP
    template: str = TEMPLATE

    def trigger(self, op: Op, record: Mapping[str, Any]) -> None:
        """A record was written: one run is due, if this automation looks at such writes and is switched on."""
        if op in self.ops:
            body = self._body(op, record)
            self.sender.send(lambda _attempt: Outgoing(self.headers(), body))

    def _body(self, op: Op, record: Mapping[str, Any]) -> bytes:
        """After a delete only the id still resolves; other fields render as the text `undefined`."""
        updated = "undefined" if op == "delete" else str(record.get("updatedAt", "undefined"))
        filled = self.template.replace("<<model>>", self.model).replace("<<op>>", op)
        filled = filled.replace("<<object._id>>", str(record["_id"])).replace("<<object.updatedAt>>", updated)
        return filled.encode()
