"""Admission: which events the ledger takes, and the form in which it keeps their state."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from deals.events import Event, EventType, body
from deals.identity import MAX_KEY, canonical
from deals.state import MAX_DIGITS, STANDARD
from ledger.port import Answer, Receipt, Rejected, Unsettled

MAX_BODY = 256 * 1024
"""The largest request body in bytes (contracts/openquota.md section 3.1)."""

_EVENT_TYPES = frozenset(EventType)
_TEXTS = ("stage", "close_date", "owner_external_id")
_TOO_LONG = 10**MAX_DIGITS

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Admitted(msgspec.Struct, frozen=True, gc=False):
    """An event the ledger takes: `raw` is kept as it came, `state` is its normalised form as canonical JSON."""

    external_id: str
    event_type: str
    dedup_key: str
    raw: bytes
    state: str


class Refusal(ValueError):
    """The event can never be taken as it is; `reason` is the code of the error envelope."""

    def __init__(self, message: str, reason: str = "invalid_request") -> None:
        super().__init__(message)
        self.reason = reason


def admit(event: Event, raw: bytes | None = None) -> Admitted:
    """The event as the ledger keeps it. `raw` is the request body it came in, when that is not `deals.events.body`.

    Raises `Refusal` for what contracts/openquota.md section 3 does not allow.
    """
    checked_id("external_id", event.external_id)
    checked_id("dedup_key", event.dedup_key)
    if event.event_type not in _EVENT_TYPES:
        raise Refusal(f"event_type: one of {', '.join(EventType)} is expected")
    state = normalised(event.state)
    if raw is None:
        raw = body(event)
    if len(raw) > MAX_BODY:
        raise Refusal(f"the event has {len(raw)} bytes; the ledger takes at most {MAX_BODY}", "too_large")
    return Admitted(event.external_id, event.event_type, event.dedup_key, raw, state)


def normalised(state: bytes) -> str:
    """A `state` as the ledger keeps it: the four standard keys (when sent), and all others under `custom`.

    An object under a literal key `custom` is merged with the other extras, the extras winning.
    Raises `Refusal` when it is no JSON object or a standard key has a wrong type.
    """
    return _kept(read_json(state, "state"))


def checked_id(name: str, value: str) -> None:
    """Raise `Refusal` unless `value` is a text of 1 to 255 characters that every database can keep."""
    if not value:
        raise Refusal(f"{name}: must not be empty")
    if len(value) > MAX_KEY:
        raise Refusal(f"{name}: {len(value)} characters; the ledger takes at most {MAX_KEY}")
    if not value.isprintable() and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise Refusal(f"{name}: must be Unicode text without NUL")


def derived(raw: bytes) -> tuple[str, str, str]:
    """What a request body says: external id, event type and normalised state. Raises `Refusal` if it says nothing."""
    fields = read_json(raw, "the body")
    if type(fields) is not dict or type(fields.get("external_id")) is not str or "state" not in fields:
        raise Refusal("the body: an object with external_id and state is expected")
    return fields["external_id"], fields.get("event_type", EventType.UPSERT.value), _kept(fields["state"])


def same_payload(one: bytes, other: bytes) -> bool:
    """Whether two request bodies say the same of the same deal, whatever their spacing and order of keys."""
    try:
        return one == other or derived(one) == derived(other)
    except Refusal:
        return False


class Batch:
    """A batch sorted out before any database sees it: what is refused, what waits, and each key once.

    Answers are put in by place; `fresh` holds the events to write, in their order.
    """

    def __init__(self, events: Sequence[Event], raws: Sequence[bytes | None] | None = None) -> None:
        self.fresh: list[Admitted] = []
        self._answers: list[Answer | None] = [None] * len(events)
        self._places: list[int] = []
        self._repeats: list[tuple[int, int, bytes]] = []
        first: dict[str, int] = {}
        stopped: set[str] = set()
        for place, event in enumerate(events):
            if event.external_id in stopped:
                self._answers[place] = Unsettled("not tried: an earlier event of this deal was not taken", tried=False)
                continue
            try:
                admitted = admit(event, raws[place] if raws else None)
            except Refusal as refusal:
                self._answers[place] = Rejected(refusal.reason, str(refusal))
                stopped.add(event.external_id)
                continue
            index = first.setdefault(event.dedup_key, len(self.fresh))
            if index < len(self.fresh):
                self._repeats.append((place, index, admitted.raw))
            else:
                self.fresh.append(admitted)
                self._places.append(place)

    def answers(self, receipts: Sequence[Receipt]) -> list[Answer]:
        """Every event's answer, given the receipts of the fresh ones in their order."""
        for place, receipt in zip(self._places, receipts, strict=True):
            self._answers[place] = receipt
        for place, index, raw in self._repeats:
            first = receipts[index]
            self._answers[place] = Receipt(
                outcome="already_there",
                source_event_id=first.source_event_id,
                domain_event_id=first.domain_event_id,
                deal_id=first.deal_id,
                conflict=first.conflict or not same_payload(self.fresh[index].raw, raw),
            )
        return [answer for answer in self._answers if answer is not None]


def read_json(data: bytes, what: str) -> Any:
    """JSON with its numbers exact. Raises `Refusal`, naming `what` it was."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(f"{what}: not valid JSON ({str(error)[:120]})") from None


def _kept(fields: Any) -> str:
    if type(fields) is not dict:
        raise Refusal("state: an object is expected")
    kept = {name: fields.pop(name) for name in STANDARD if name in fields}
    _check_standard(kept)
    inner = fields.get("custom")
    if type(inner) is dict:
        del fields["custom"]
        fields = {**inner, **fields}
    kept["custom"] = fields
    return canonical(kept).decode()


def _check_standard(fields: dict[str, Any]) -> None:
    amount = fields.get("amount_cents")
    if amount is not None and (type(amount) is not int or abs(amount) >= _TOO_LONG):
        raise Refusal(f"state.amount_cents: an integer of at most {MAX_DIGITS} digits or null is expected")
    for name in _TEXTS:
        value = fields.get(name)
        if value is not None and type(value) is not str:
            raise Refusal(f"state.{name}: a text or null is expected")
