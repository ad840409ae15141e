"""Simulated webhooks: what LeadLex sends when a deal changes, as contract section 13 describes it."""

from __future__ import annotations

import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from connectors.leadlex.simulated_switches import Switches
from connectors.simulated_records import Fields, encode
from connectors.simulated_sender import Outgoing, Sender

EVENTS: Final = frozenset({"deal.created", "deal.updated", "deal.deleted", "deal.bulk_created", "deal.bulk_updated"})
_PARTIAL = ("id", "stage", "status", "updated_date")


@dataclass(slots=True, kw_only=True)
class Hook:
    """One registered webhook. `sent` keeps its latest attempts, for whoever wants to replay one.

    `secret` is asked for each attempt, `now` tells the workspace's time, `new_id` draws a delivery's id.
    """

    id: str
    sender: Sender
    secret: Callable[[], str]
    now: Callable[[], str]
    new_id: Callable[[], str]
    switches: Switches
    events: frozenset[str] = EVENTS
    sent: deque[Outgoing] = field(default_factory=lambda: deque(maxlen=1000))

    def trigger(self, event: str, body: bytes) -> None:
        """Something happened: one delivery is due, if this webhook was registered for such events."""
        if event not in self.events:
            return
        happened, delivery = self.now(), self.new_id()

        def build(_attempt: int) -> Outgoing:
            name = self.new_id() if self.switches.fresh_delivery_ids else delivery
            told = self.now() if self.switches.fresh_header_time else happened
            attempt = signed(body, self.secret(), timestamp=told, delivery=name)
            self.sent.append(attempt)
            return attempt

        self.sender.send(build)


def signed(body: bytes, secret: str, *, timestamp: str, delivery: str) -> Outgoing:
    """A delivery as LeadLex signs it: over the raw body alone. Any other secret makes a forgery."""
    mac = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "LeadLex-Webhook/1.0",
        "X-LeadLex-Signature": f"sha256={mac}",
        "X-LeadLex-Timestamp": timestamp,
        "X-LeadLex-Delivery-ID": delivery,
    }
    return Outgoing(headers, body)


def told(event: str, data: Mapping[str, Any], *, timestamp: str, workspace_id: str) -> bytes:
    """The body of a delivery."""
    return encode({"event": event, "timestamp": timestamp, "workspace_id": workspace_id, "data": data})


def about(event: str, deal: Fields, switches: Switches) -> Fields:
    """What a single event says of its deal, in the shape that the switches name."""
    if event == "deal.deleted":
        one: dict[str, Fields] = {"deal": {"deal": {"id": deal["id"]}}, "id": {"id": deal["id"]}}
        return one.get(switches.deleted_as, {"deal_id": deal["id"]})
    if switches.payload == "bare":
        return deal
    shown = {key: deal[key] for key in _PARTIAL} if switches.payload == "partial" else deal
    return {"deal": shown}


def about_many(deals: Sequence[Fields], switches: Switches) -> Fields:
    """What a bulk event says: an array in the shape that the switches name, and its count."""
    ids: list[Any] = [deal["id"] for deal in deals]
    objects: list[Any] = [{"id": one} for one in ids]
    key = {"ids": "deals"}.get(switches.bulk_as, switches.bulk_as)
    return {key: ids if switches.bulk_as in ("ids", "deal_ids") else objects, "count": len(ids)}
