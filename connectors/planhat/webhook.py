"""Planhat's deliveries: whatever the admin typed into the Automation, by the template we hand out (section 14)."""

from __future__ import annotations

import msgspec

from connectors.hints import Heard, Hint, Webhooks
from connectors.times import instant

_MODELS = ("Deal", "Opportunity")
_OPS = ("create", "update", "delete")


class _Body(msgspec.Struct, rename="camel"):
    id: str
    model: str
    op: str
    updated_at: str | None = None
    tenant: str | None = None


def hear(body: bytes) -> Heard:
    """What a delivery says. Raises `ValueError` for a body that is not as the template makes it.

    A field that no longer resolves is rendered as the text `undefined`, which is no time and so no version.
    """
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the delivery is not what our template makes: {error}") from None
    event = f"{said.model}.{said.op}"[:64]
    if said.model not in _MODELS or said.op not in _OPS:
        return Heard(event, known=False, workspace=said.tenant)
    hint = Hint(said.id, instant(said.updated_at), said.op == "delete")
    return Heard(event, (hint,) if said.id not in ("", "undefined") else (), workspace=said.tenant)


WEBHOOKS = Webhooks(scheme="header", header="X-Planhat-Secret", hear=hear, tells_workspace=True)
"""No signature, no time, no delivery id: a secret header, and the digest of the body as the delivery's name."""
