"""Monaco's deliveries: it sends none itself; this is the contract for a customer's relay (section 13)."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from connectors.hints import Heard, Hint, Webhooks
from connectors.times import instant

TOLERANCE = timedelta(minutes=5)


class _Data(msgspec.Struct):
    id: str
    object: str


class _Body(msgspec.Struct):
    type: str
    data: _Data
    occurred_at: str | None = None


def hear(body: bytes) -> Heard:
    """What a delivery says. Raises `ValueError` for a body that is not as the contract says.

    `occurred_at` is the relay's time, not the record's `updated_at`: it makes no version.
    """
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the delivery is not as the relay's contract says: {error}") from None
    event, at = said.type[:64], instant(said.occurred_at)
    if said.data.object != "opportunity" or not event.startswith("opportunity."):
        return Heard(event, known=False, said_at=at)
    if not said.data.id:
        raise ValueError("the delivery names no opportunity: data.id is empty")
    return Heard(event, (Hint(said.data.id, deleted=event == "opportunity.deleted"),), said_at=at)


WEBHOOKS = Webhooks(
    scheme="hmac",
    hear=hear,
    signature_header="X-Monaco-Signature",
    timestamp_header="X-Monaco-Timestamp",
    delivery_header="X-Monaco-Delivery-Id",
    signed="timestamp.body",
    past=TOLERANCE,
    ahead=TOLERANCE,
    tells_time=True,
)
"""The time is signed with the body; the relay's delivery id stays the same when it tries again."""
