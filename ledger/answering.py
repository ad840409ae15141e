"""Answering: what a request hears of the receipts of its events (contracts/openquota.md section 3.3)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.admission import Admitted
from ledger.choices import Choices
from ledger.counting import Counting
from ledger.door import RawHeaders, Reply
from ledger.port import Receipt
from ledger.reading import Request

_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class _Ids(msgspec.Struct):
    source_event_id: str
    domain_event_id: str
    deal_id: str


class Answering:
    """Replies to what was committed; each outcome is counted, and a conflict logged."""

    def __init__(self, choices: Choices, counting: Counting) -> None:
        self._choices = choices
        self._counting = counting

    def reply(self, request: Request, receipts: Sequence[Receipt], headers: RawHeaders) -> Reply:
        """The answer to a request, given the receipts of its events in their order."""
        if not request.many:
            [event], [receipt] = request.events, receipts
            if not receipt.conflict:
                ids = _Ids(receipt.source_event_id, receipt.domain_event_id, receipt.deal_id)
                return Reply(self._status(receipt), _encode(ids), headers)
            status, said = self._conflict(event, receipt)
            return Reply(status, _encode(said), headers)
        answers = map(self._outcome, request.events, receipts)
        results = [
            next(answers)
            if refused is None
            else {"status": refused.status, "error": refused.code, "reason": refused.reason}
            for refused in request.results
        ]
        return Reply(200, _encode({"results": results}), headers)

    def _outcome(self, event: Admitted, receipt: Receipt) -> dict[str, Any]:
        if not receipt.conflict:
            return {"status": self._status(receipt), **_ids(receipt)}
        status, said = self._conflict(event, receipt)
        return {"status": status, **said}

    def _status(self, receipt: Receipt) -> int:
        self._counting.taken(receipt.outcome)
        return 201 if receipt.outcome == "appended" else 200

    def _conflict(self, event: Admitted, receipt: Receipt) -> tuple[int, dict[str, Any]]:
        self._counting.taken("conflict")
        _log.error("the key %s holds another payload: see %s", event.dedup_key, receipt.domain_event_id)
        status = self._choices.conflict_status
        said: dict[str, Any] = {"error": "conflict"} if status == 409 else {}
        return status, {**said, **_ids(receipt), "conflict": True}


def _ids(receipt: Receipt) -> dict[str, Any]:
    return {
        "source_event_id": receipt.source_event_id,
        "domain_event_id": receipt.domain_event_id,
        "deal_id": receipt.deal_id,
    }
