"""The writing half of the simulated cPod API: create, patch and soft delete (contract sections 5 and 15)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.cpod.simulated_lists import Turned
from connectors.cpod.simulated_tenant import Tenant
from connectors.simulated_records import Fields
from connectors.simulated_wire import Answer, Request, bytes_answer, json_answer

# fmt: off
WRITABLE: Final = frozenset({
    "account_id", "owner_id", "name", "deal_number", "pipeline_id", "stage", "value", "currency", "probability",
    "forecast_category", "expected_close_date", "next_followup_date", "deal_type", "deal_source", "competitors",
    "loss_reason", "loss_category", "closure_notes", "primary_contact_id", "contact_ids", "rfp_record_id", "quote_ids",
    "proposal_ids", "attachment_refs", "linked_task_ids", "custom_fields", "tags", "source", "source_type",
})
"""What a caller may set; the rest is the server's."""

SERVED: Final = frozenset({
    "id", "tenant_id", "app_id", "created_at", "updated_at", "created_by", "updated_by", "is_deleted", "deleted_at",
    "deleted_by", "schema_version", "version", "actual_close_date", "audit_log",
})
"""Sample noise: these stand in the vendor's sample bodies although the server sets them."""
# fmt: on


class WriteApi(Tenant):
    """A tenant whose deals can be written over HTTP."""

    _repeated: dict[str, Answer]

    def create_one(self, request: Request) -> Answer:
        """`POST`: 201 with the deal; a `deal_number` that is taken is answered 409."""
        key = request.headers.get("idempotency-key", "")
        seen = self.__dict__.setdefault("_repeated", {})
        if self.switches.idempotency and key in seen:
            return self._repeated[key]
        fields = self._checked(request)
        if fields.get("deal_number") and self.deals.find("deal_number", fields["deal_number"]) is not None:
            raise Turned(409, "deal_number is taken")
        self._lost(fields)
        stamped = {} if self.switches.app_id is None else {"app_id": self.switches.app_id}
        answer = json_answer(self.get(self.create(**fields, **stamped)), 201)
        if key:
            seen[key] = answer
        return answer

    def patch_one(self, deal_id: str, request: Request) -> Answer:
        """`PATCH`: 200 with the deal; 409 when the version given, in the body or in `If-Match`, is not its own."""
        deal, body = self.get(deal_id), _object(request)
        given = body.get("version", request.headers.get("if-match", "").strip('"') or None)
        if given is not None and str(given) != str(deal["version"]):
            raise Turned(409, f"version conflict: the deal has version {deal['version']}")
        if deal["is_deleted"]:
            if body.get("is_deleted") is not False:
                raise Turned(404, "deal not found")
            self.restore(deal_id)
        fields = self._checked(request)
        self._lost(deal | fields)
        if fields or not deal["is_deleted"]:
            self.edit(deal_id, **fields)
        return json_answer(self.get(deal_id))

    def delete_one(self, deal_id: str) -> Answer:
        """`DELETE` is soft and answers 204."""
        if self.get(deal_id)["is_deleted"]:
            raise Turned(404, "deal not found")
        self.delete(deal_id)
        return bytes_answer(b"", 204)

    def _checked(self, request: Request) -> Fields:
        body = _object(request)
        unknown = body.keys() - WRITABLE - SERVED
        if unknown and self.switches.strict_writes:
            raise Turned(422, f"extra property {min(unknown)}")
        if not isinstance(body.get("value"), int | Decimal | None) or isinstance(body.get("value"), bool):
            raise Turned(422, "value must be a number")
        return {key: value for key, value in body.items() if key in WRITABLE}

    def _lost(self, deal: Fields) -> None:
        missing = [key for key in ("loss_reason", "loss_category") if not deal.get(key)]
        if deal.get("stage") == self.stages[-1] and missing:
            raise Turned(422, f"{' and '.join(missing)} required when the stage is {self.stages[-1]}")


def _object(request: Request) -> dict[str, Any]:
    try:
        return _decode(request.body)
    except msgspec.DecodeError:
        raise Turned(400, "the body is no JSON object") from None


_decode = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode
