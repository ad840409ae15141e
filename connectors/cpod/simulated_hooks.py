"""Simulated webhooks: registration, signed deliveries, the pause after failures, and the records kept of all that."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, Literal, TypeAlias

from connectors.cpod.simulated_data import TENANT, stamp
from connectors.simulated_records import Fields
from connectors.simulated_sender import Build, Outgoing, Post, Sender
from connectors.simulated_wire import json_answer
from connectors.simulation import SimClock

Encoding: TypeAlias = Literal["sha256=hex", "hex", "base64"]

KEPT: Final = timedelta(days=90)
"""How long the event history reaches back (section 13)."""

RETRIES: Final = tuple(timedelta(seconds=2**attempt) for attempt in range(4))
"""The waits before the second to fifth attempt: `maxAttempts` is 5, the backoff exponential."""

_AUDITED: Final = {"created": "create", "updated": "update", "stage_changed": "update", "deleted": "delete"}


@dataclass(slots=True, kw_only=True)
class Hook:
    """One registered webhook. Those registered over HTTP have no sender: a simulator calls nobody."""

    record: Fields
    sender: Sender | None = None
    timestamped: bool = True
    encoding: Encoding = "sha256=hex"
    paused_at: str | None = None

    def shown(self, now: str) -> Fields:
        """The webhook as its API shows it; it is paused when its sender has given up."""
        paused = self.sender is not None and not self.sender.enabled
        self.paused_at = (self.paused_at or now) if paused else None
        failures = 0
        for status in reversed(self.sender.statuses if self.sender is not None else ()):
            if 200 <= status < 300:
                break
            failures += 1
        return self.record | {"paused_at": self.paused_at, "consecutive_failures": failures}


class Hooks:
    """The tenant's webhooks, its event history of 90 days, and its audit log with a sequence without holes."""

    def __init__(self, seed: int, clock: SimClock, secret: Callable[[], str]) -> None:
        self._random = Random(f"{seed}/hooks")  # noqa: S311 - reproducible, not secret
        self._clock = clock
        self._secret = secret
        self._serial = 0
        self.registered: dict[str, Hook] = {}
        self.history: deque[tuple[datetime, Fields]] = deque()
        self.audit: list[Fields] = []

    def register(
        self, post: Post, *, timestamped: bool = True, encoding: Encoding = "sha256=hex", **settings: Any
    ) -> Sender:
        """A webhook of all deal events; `settings` are those of `Sender`.

        Without `timestamped` no `X-Cpod-Timestamp` is sent and the body alone is signed. It retries four times with
        growing waits and pauses itself after 10 failures in a row, unless the settings say otherwise.
        """
        settings = {"retries": RETRIES, "disable_after": 10, **settings}
        sender = Sender(post=post, clock=self._clock, random=self._random, **settings)
        record = self.add({"name": "dealsync", "url": "https://receiver.example/webhooks", "event_types": ["deal.*"]})
        hook = self.registered[record["id"]]
        hook.sender, hook.timestamped, hook.encoding = sender, timestamped, encoding
        return sender

    def add(self, fields: Mapping[str, Any]) -> Fields:
        """A new registration; gives its record. The secret lives in a vault and never in the record."""
        self._serial += 1
        record = {
            "id": f"whk_{self._serial:06d}",
            "direction": "outbound",
            "signature_scheme": "hmac-sha256",
            "vault_path": f"webhooks/{self._serial}",
            "headers": {},
            "enabled": True,
            "retry_policy": {"maxAttempts": 5, "backoff": "exponential", "timeoutMs": 10000},
            **fields,
        }
        self.registered[record["id"]] = Hook(record=record)
        return record

    def happened(self, what: str, deal: Fields) -> None:
        """A deal was written: the event is kept, audited, and due for delivery."""
        now = stamp(self._clock.now)
        self.audit.append(
            {"sequence_id": len(self.audit) + 1, "actor_type": "user", "actor_id": deal.get("updated_by"),
             "action": f"deals.{_AUDITED[what]}", "resource_type": "deal", "resource_id": deal["id"], "created_at": now}
        )  # fmt: skip
        event = {
            "id": f"{self._random.getrandbits(128):032x}",
            "type": f"deal.{what}",
            "resourceId": deal["id"],
            "resourceType": "deal",
            "organizationId": TENANT,
            "workspaceId": None,
            "timestamp": now,
            "payload": {"id": deal["id"], "stage": deal["stage"], "version": deal["version"]},
        }
        self.history.append((self._clock.now, event))
        self._forget()
        for hook in self.registered.values():
            if hook.sender is not None and hook.record["enabled"]:
                hook.sender.send(self._delivery(event, hook))

    def events(self, query: Mapping[str, str]) -> list[Fields]:
        """The event history as it is asked for: `since`, `types` (comma-separated), `resourceType`, `limit`."""
        self._forget()
        types, kind = query.get("types"), query.get("resourceType", "deal")
        found = [
            event
            for _, event in self.history
            if event["timestamp"] >= query.get("since", "")
            and (types is None or event["type"] in types.split(","))
            and event["resourceType"] == kind
        ]
        return found[: int(query.get("limit", "100"))]

    def audited(self, query: Mapping[str, str]) -> list[Fields]:
        """The audit events, oldest first: those behind `after_sequence`, `limit` of them."""
        after = int(query.get("after_sequence", "0"))
        return self.audit[after : after + int(query.get("limit", "500"))]

    def run(self) -> None:
        """Carry out the deliveries that are due."""
        for hook in list(self.registered.values()):
            if hook.sender is not None:
                hook.sender.run()

    def _forget(self) -> None:
        while self.history and self.history[0][0] < self._clock.now - KEPT:
            self.history.popleft()

    def _delivery(self, event: Fields, hook: Hook) -> Build:
        body = json_answer(event).body

        def build(_attempt: int) -> Outgoing:
            """Each attempt is signed anew, under the same delivery id."""
            headers = {"Content-Type": "application/json", "X-Cpod-Delivery": str(event["id"])}
            signed = body
            if hook.timestamped:
                at = str(int(self._clock.now.timestamp()))
                headers["X-Cpod-Timestamp"], signed = at, at.encode() + b"." + body
            mac = hmac.new(self._secret().encode(), signed, hashlib.sha256).digest()
            headers["X-Cpod-Signature"] = _written(mac, hook.encoding)
            return Outgoing(headers, body)

        return build


def _written(mac: bytes, encoding: Encoding) -> str:
    if encoding == "base64":
        return base64.b64encode(mac).decode()
    return mac.hex() if encoding == "hex" else f"sha256={mac.hex()}"
