"""LeadLex's deliveries: signed over the raw body alone, in many shapes, of which only the ids are believed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import msgspec

from connectors.hints import Heard, Hint, Webhooks
from connectors.slicing import MAX_ID
from connectors.times import instant

MANY = 20
"""A bulk delivery that names more deals asks for a pull: two requests instead of one for each (section 13)."""

_SINGLE = frozenset({"deal.created", "deal.updated", "deal.deleted"})
_BULK = frozenset({"deal.bulk_created", "deal.bulk_updated", "import.completed"})
_LISTS = ("deals", "deal_ids", "items")
_IDS = ("id", "deal_id")


class _Body(msgspec.Struct):
    event: str
    timestamp: Any = None
    workspace_id: str | None = None
    data: Any = None


def hear(body: bytes) -> Heard:
    """What a delivery says. Raises `ValueError` for a body that is no event.

    The deal may lie in `data.deal`, be `data` itself, or be named by its id alone; a bulk event lists objects or ids
    under `deals`, `deal_ids` or `items`. A bulk event that names none, too many, or fewer than it counts, and the end
    of an import, ask for a pull.
    """
    try:
        said = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"the delivery is no event as LeadLex documents them: {error}") from None
    if not said.event:
        raise ValueError("the delivery does not say which event it tells of")
    event, at = said.event[:64], instant(said.timestamp)
    if said.event in _BULK:
        ids = list(dict.fromkeys(_ids(_several(said.data))))
        if not 0 < len(ids) <= MANY or len(ids) < _count(said.data):
            return Heard(event, pull=True, workspace=said.workspace_id, said_at=at)
        return Heard(event, tuple(map(Hint, ids)), workspace=said.workspace_id, said_at=at)
    if said.event not in _SINGLE:
        return Heard(event, known=False, workspace=said.workspace_id, said_at=at)
    deal = _deal(said.data)
    gone = said.event == "deal.deleted"
    ids = list(_ids([deal]))
    version = None if gone else instant(deal.get("updated_date")) if isinstance(deal, Mapping) else None
    hints = tuple(Hint(one, version, gone) for one in ids)
    return Heard(event, hints, pull=not hints, workspace=said.workspace_id, said_at=at)


def _deal(data: Any) -> Any:
    return data.get("deal", data) if isinstance(data, Mapping) else data


def _several(data: Any) -> Iterable[Any]:
    if isinstance(data, list):
        return data
    if isinstance(data, Mapping):
        for key in _LISTS:
            if isinstance(data.get(key), list):
                return list(data[key])
    return ()


def _ids(items: Iterable[Any]) -> Iterator[str]:
    for item in items:
        named = next((item[key] for key in _IDS if key in item), None) if isinstance(item, Mapping) else item
        if isinstance(named, str) and 0 < len(named) <= MAX_ID and named.isprintable():
            yield named


def _count(data: Any) -> int:
    count = data.get("count") if isinstance(data, Mapping) else None
    return count if type(count) is int else 0


WEBHOOKS = Webhooks(
    scheme="leadlex",
    hear=hear,
    signature_header="X-LeadLex-Signature",
    signed="body",
    past=timedelta(hours=24),
    ahead=timedelta(minutes=10),
    tells_workspace=True,
    tells_time=True,
)
"""The time in the signed body counts, not the header's. The delivery id changes with every attempt, so the digest of
the body is what names a delivery (section 13)."""
