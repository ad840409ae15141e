"""cPod's deliveries: the vendor's event record, of which only the deal and its version are looked at (section 13)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from connectors.hints import Heard, Hint, Webhooks
from connectors.slicing import counted
from connectors.times import instant

_TOLERANCE = timedelta(minutes=5)


class _Payload(msgspec.Struct):
    id: str | None = None
    version: Any = None


class _Event(msgspec.Struct):
    type: str
    resourceId: str | None = None
    resource_id: str | None = None
    organizationId: str | None = None
    organization_id: str | None = None
    payload: _Payload | None = None
    timestamp: str | None = None


def hear(body: bytes) -> Heard:
    """What a delivery says. Raises `ValueError` for a body that is no event record.

    Events of other resources are known to exist and not looked at. `deal.deleted` is a hint like any other until the
    deal itself was asked for.
    """
    try:
        said = msgspec.json.decode(body, type=_Event)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the delivery is no event record of cPod's: {error}") from None
    event, workspace = said.type[:64], said.organizationId or said.organization_id
    said_at = instant(said.timestamp)
    if not said.type.startswith("deal."):
        return Heard(event, known=False, workspace=workspace, said_at=said_at)
    payload = said.payload or _Payload()
    named = said.resourceId or said.resource_id or payload.id
    hints = (Hint(named, counted(payload.version), said.type == "deal.deleted"),) if named else ()
    return Heard(event, hints, pull=not hints, workspace=workspace, said_at=said_at)


WEBHOOKS = Webhooks(
    scheme="hmac",
    hear=hear,
    signature_header="X-Cpod-Signature",
    timestamp_header="X-Cpod-Timestamp",
    delivery_header="X-Cpod-Delivery",
    signed="auto",
    past=_TOLERANCE,
    ahead=_TOLERANCE,
    tells_workspace=True,
    tells_time=True,
)
