"""Reading: a request's bytes as the events they speak of, or as a refusal (contracts/openquota.md section 3)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from deals.events import EventType
from ledger.admission import Admitted, Refusal, admitted, read_json
from ledger.door import RawHeaders, Reply, problem

MOST_EVENTS = 500
"""Events in one batch."""

MAX_BATCH = 4 * 1024 * 1024
"""The largest body of a batch in bytes; each event in it is bounded as if it came alone."""

_STATUSES = {"invalid_request": 400, "too_large": 413}


class Refused(NamedTuple):
    """A request, or an event of a batch, that is not taken."""

    status: int
    code: str
    reason: str

    def reply(self, headers: RawHeaders) -> Reply:
        """The answer that says so."""
        return problem(self.status, self.code, headers, reason=self.reason)


class Request(NamedTuple):
    """The events of a request. `results` has a place for each event sent: None where it is among `events`."""

    events: Sequence[Admitted]
    many: bool = False
    results: Sequence[Refused | None] = (None,)


class _Batch(msgspec.Struct):
    events: list[msgspec.Raw]


_batch = msgspec.json.Decoder(_Batch).decode


def single(raw: bytes) -> Request | Refused:
    """The event of a body; without a key it gets one of ours."""
    one = _event(raw)
    return one if isinstance(one, Refused) else Request((one,))


def batch(raw: bytes) -> Request | Refused:
    """The events of a batch. After one that is refused the later events of its deal are not tried."""
    try:
        found = _batch(raw).events
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Refused(400, "invalid_request", f"the body: an object with a list of events is expected ({error})"[:200])
    if not 1 <= len(found) <= MOST_EVENTS:
        return Refused(400, "invalid_request", f"events: 1 to {MOST_EVENTS} are expected")
    taken: list[Admitted] = []
    results: list[Refused | None] = []
    stopped: set[str] = set()
    for one in (_event(bytes(part)) for part in found):
        if isinstance(one, tuple) and isinstance(one, Refused):
            results.append(one)
            stopped.add(_deal_of(bytes(found[len(results) - 1])))
        elif one.external_id in stopped:
            results.append(Refused(424, "not_tried", "an earlier event of this deal was refused"))
        else:
            results.append(None)
            taken.append(one)
    return Request(taken, True, results)


def _event(raw: bytes) -> Admitted | Refused:
    try:
        fields = read_json(raw, "the body")
        if type(fields) is not dict:
            raise Refusal("the body: an object is expected")
        external_id = _text(fields, "external_id")
        kind = _text(fields, "event_type") if "event_type" in fields else EventType.UPSERT.value
        key = _text(fields, "dedup_key") if fields.get("dedup_key") is not None else _own_key(external_id)
        return admitted(external_id, kind, key, fields.get("state"), raw)
    except Refusal as refusal:
        return Refused(_STATUSES[refusal.reason], refusal.reason, str(refusal))


def _deal_of(raw: bytes) -> str:
    """The deal a refused event is of, as far as it can be told."""
    try:
        fields = read_json(raw, "the body")
    except Refusal:
        return ""
    deal = fields.get("external_id") if type(fields) is dict else None
    return deal if type(deal) is str else ""


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if type(value) is not str:
        raise Refusal(f"{name}: a text is expected")
    return value


def _own_key(external_id: str) -> str:
    """A key from the external id and the time: a retry is then a new event, as the contract says."""
    return f"auto:{hashlib.sha256(external_id.encode(errors='replace')).hexdigest()[:32]}:{time.time_ns()}"
