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


def admit(event: Event) -> Admitted:
    """The event as the ledger keeps it, its raw body being `deals.events.body`.

    Raises `Refusal` for what contracts/openquota.md section 3 does not allow.
    """
    state = read_json(event.state, "state")
    return admitted(event.external_id, event.event_type, event.dedup_key, state, body(event))


def admitted(external_id: str, event_type: str, dedup_key: str, state: Any, raw: bytes) -> Admitted:
    """An event as the ledger keeps it, from what its body was read into; `state` is used up.

    The four standard keys stay at the top of the state (when sent), all others go under `custom`; an object under a
    literal key `custom` is merged with them, the others winning. Raises `Refusal`.
    """
    checked_id("external_id", external_id)
    checked_id("dedup_key", dedup_key)
    if event_type not in _EVENT_TYPES:
        raise Refusal(f"event_type: one of {', '.join(EventType)} is expected")
    kept = _kept(state)
    if len(raw) > MAX_BODY:
        raise Refusal(f"the event has {len(raw)} bytes; the ledger takes at most {MAX_BODY}", "too_large")
    return Admitted(external_id, event_type, dedup_key, raw, kept)


def merged(before: str, state: str) -> str:
    """A kept state over the one before: only the keys it has are changed, custom keys one by one."""
    old, new = read_json(before.encode(), "state"), read_json(state.encode(), "state")
    return canonical({**old, **new, "custom": {**old["custom"], **new["custom"]}}).decode()


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


class Once:
    """Admitted events with each key once: `fresh`, in their order. The others are repeats within the batch."""

    def __init__(self, events: Sequence[Admitted]) -> None:
        self.fresh: list[Admitted] = []
        self._events = events
        self._places: list[tuple[int, bool]] = []
        first: dict[str, int] = {}
        for event in events:
            index = first.setdefault(event.dedup_key, len(self.fresh))
            repeats = index < len(self.fresh)
            self._places.append((index, repeats))
            if not repeats:
                self.fresh.append(event)

    def receipts(self, fresh: Sequence[Receipt]) -> list[Receipt]:
        """Every event's receipt, given those of the fresh ones."""
        return [
            self._repeated(event, index, fresh[index]) if repeats else fresh[index]
            for event, (index, repeats) in zip(self._events, self._places, strict=True)
        ]

    def _repeated(self, event: Admitted, index: int, first: Receipt) -> Receipt:
        conflict = first.conflict or not same_payload(self.fresh[index].raw, event.raw)
        return Receipt(
            outcome="already_there",
            source_event_id=first.source_event_id,
            domain_event_id=first.domain_event_id,
            deal_id=first.deal_id,
            conflict=conflict,
        )


class Batch:
    """A batch sorted out before any database sees it: what is refused, what waits, and `admitted` ones."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.admitted: list[Admitted] = []
        self._answers: list[Answer | None] = []
        stopped: set[str] = set()
        for event in events:
            answer: Answer | None = None
            if event.external_id in stopped:
                answer = Unsettled("not tried: an earlier event of this deal was not taken", tried=False)
            else:
                try:
                    self.admitted.append(admit(event))
                except Refusal as refusal:
                    answer = Rejected(refusal.reason, str(refusal))
                    stopped.add(event.external_id)
            self._answers.append(answer)

    def answers(self, receipts: Sequence[Receipt]) -> list[Answer]:
        """Every event's answer, given the receipts of the admitted ones in their order."""
        rest = iter(receipts)
        return [next(rest) if answer is None else answer for answer in self._answers]


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
