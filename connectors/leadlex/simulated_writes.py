"""The simulated LeadLex API's write verbs: three bulk limits, aliases in and canonical names out, no idempotency."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.leadlex.simulated_tenant import Tenant
from connectors.simulated_records import Fields
from connectors.simulated_wire import Answer, Request, json_answer

_ALIASES: Final = {
    "contact_id": "main_contact_id",
    "owner_id": "owner_user_id",
    "deal_type": "matter_type",
    "description": "high_level_description",
    "follow_up_date": "next_follow_up_date",
}
_PATCHED: Final = frozenset(
    {"name", "stage", "status", "pipeline", "estimated_value", "priority", "tags", "main_contact_id", "owner_user_id",
     "matter_type", "closed_date", "high_level_description", "next_follow_up_date", "probability", "currency"}
)  # fmt: skip
_CREATED: Final = (_PATCHED - {"closed_date"}) | {"related_company_id", "fee_model"}
_BLANK: Final[Fields] = {
    "stage": None, "status": "active", "pipeline": "Sales", "estimated_value": None, "main_contact_id": None,
    "owner_user_id": None, "related_company_id": None, "priority": None, "matter_type": None, "fee_model": None,
    "tags": [], "high_level_description": None, "next_follow_up_date": None, "probability": None, "closed_date": None,
}  # fmt: skip
CREATE_MAX, UPDATE_MAX, DELETE_MAX = 50, 100, 500
"""How many deals the bulk verbs take (section 8)."""


class Rejected(Exception):
    """The request is turned away with this status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class WriteApi(Tenant):
    """The write side of `/v1/deals` (section 8)."""

    def write(self, key: str, request: Request) -> Answer:
        """Carry out whatever is no GET."""
        body = _body(request) if request.method in ("POST", "PATCH") else {}
        match request.method, key:
            case "POST", "":
                return json_answer({"data": self._made(body)}, 201)
            case "POST", "bulk":
                return self._bulk_create(body)
            case "PATCH", "bulk":
                ids = _ids(body, UPDATE_MAX)
                return json_answer({"data": {"updated": self.edit_many(ids, **_fields(body.get("updates"), _PATCHED))}})
            case "POST", "bulk-delete":
                return self._bulk_delete(_ids(body, DELETE_MAX), dry=body.get("dry_run") is True)
            case "PATCH", _ if key:
                self.existing(key)
                self.edit(key, **_fields(body, _PATCHED))
                return json_answer({"data": self.as_one(self.get(key))})
            case "DELETE", _ if key:
                self.existing(key)
                self.delete(key)
                return json_answer({"data": {"deleted": True, "id": key}})
        raise Rejected(405, "method_not_allowed", "no such verb here")

    def existing(self, deal_id: str) -> Fields:
        """The deal; raises `Rejected` with 404 when there is none."""
        deal = self.records.latest(deal_id)
        if deal is None:
            raise Rejected(404, self.switches.not_found_code, "deal not found")
        return deal

    def _made(self, body: Fields) -> Fields:
        if not isinstance(body.get("name"), str) or not body["name"]:
            raise Rejected(400, "validation_error", "name is required")
        currency = {"currency": body["currency"]} if body.get("currency") else {}
        deal_id = self.create(created=_moment(body.get("created_date")), **(_BLANK | _fields(body, _CREATED)))
        if not currency:
            self._without_currency(deal_id)
        return self.get(deal_id)

    def _without_currency(self, deal_id: str) -> None:
        with self.exclusive():
            before = self.get(deal_id)
            self.records.put({key: value for key, value in before.items() if key != "currency"})
            self.index.forget()

    def _bulk_create(self, body: Fields) -> Answer:
        items = body.get("deals")
        if not isinstance(items, list) or not 0 < len(items) <= CREATE_MAX:
            raise Rejected(400, "validation_error", f"deals must be a list of 1 to {CREATE_MAX}")
        if not all(isinstance(item, dict) and item.get("name") for item in items):
            raise Rejected(400, "validation_error", "each deal needs a name")
        return json_answer({"data": [self._made(item) for item in items]}, 201)

    def _bulk_delete(self, ids: list[str], *, dry: bool) -> Answer:
        found = [one for one in dict.fromkeys(ids) if self.records.latest(one) is not None]
        for one in () if dry else found:
            self.delete(one)
        counts = {"deleted_count": len(found), "not_found_count": len(set(ids)) - len(found), "errors": []}
        return json_answer({"data": counts})


def _body(request: Request) -> Fields:
    try:
        body = _decoder.decode(request.body)
    except msgspec.DecodeError:
        raise Rejected(400, "validation_error", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Rejected(400, "validation_error", "an object is required")
    return body


def _fields(body: Any, allowed: frozenset[str]) -> Fields:
    if not isinstance(body, dict):
        raise Rejected(400, "validation_error", "an object is required")
    named = {_ALIASES.get(key, key): value for key, value in body.items()}
    return {key: value for key, value in named.items() if key in allowed}


def _ids(body: Fields, maximum: int) -> list[str]:
    ids = body.get("deal_ids")
    if not isinstance(ids, list) or not 0 < len(ids) <= maximum:
        raise Rejected(400, "validation_error", f"deal_ids must be a list of 1 to {maximum}")
    return [str(one) for one in ids]


def _moment(text: Any) -> datetime | None:
    """A caller's creation date; what is none counts as not given."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else None


_decoder = msgspec.json.Decoder(float_hook=Decimal)
