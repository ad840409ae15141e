"""Acme's deliveries: which deal has changed, and by which number."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from connectors.hints import Heard, Hint, Webhooks
from connectors.slicing import counted

_TOLERANCE = timedelta(minutes=5)


class _Body(msgspec.Struct):
    deal: str
    seq: int
    gone: bool = False


def hear(body: bytes) -> Heard:
    """What a delivery says. Raises `ValueError` for a body that is not as the contract says."""
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the delivery is none of Acme's: {error}") from None
    return Heard("deal.gone" if said.gone else "deal.changed", (Hint(said.deal, counted(said.seq), said.gone),))


WEBHOOKS = Webhooks(
    scheme="hmac",
    hear=hear,
    signature_header="X-Acme-Signature",
    timestamp_header="X-Acme-Timestamp",
    delivery_header="X-Acme-Delivery",
    signed="timestamp.body",
    past=_TOLERANCE,
    ahead=_TOLERANCE,
)
