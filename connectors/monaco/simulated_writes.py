"""The simulated writes of Monaco's API: create with its idempotency key, and the partial update that is assumed."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.monaco.simulated_lists import Rejected
from connectors.monaco.simulated_tenant import Organization
from connectors.simulated_records import Fields, encode
from connectors.simulated_wire import Answer, Request, bytes_answer

_WRITABLE: Final = frozenset(
    {"name", "account_id", "stage", "estimated_value", "estimated_close_date", "notes", "owner_user_id", "tags"}
)
_REQUIRED: Final = ("name", "account_id")


class WriteApi(Organization):
    """An organization whose opportunities can be written over HTTP (sections 5 and 15)."""

    _made: dict[str, str] | None = None

    def create_one(self, request: Request) -> Answer:
        """`POST /opportunities/`: answers the opportunity; a repeated `idempotency_key` answers the first one."""
        body = _body(request)
        for key in _REQUIRED:
            if not body.get(key):
                raise Rejected(422, f"{key} is required", "body", key)
        made = self._made = self._made or {}
        key = str(body.get("idempotency_key") or "")
        deal_id = made.get(key) if key else None
        if deal_id is None:
            deal_id = self.create(**dict.fromkeys(_WRITABLE - {"owner_user_id"}) | self._fields(body))
            made |= {key: deal_id} if key else {}
        return self.enveloped(self.records.served(deal_id) or encode(self.get(deal_id)))

    def update_one(self, deal_id: str, request: Request) -> Answer:
        """`PATCH /opportunities/{id}`: only what is given changes; null takes a value away."""
        if self.records.latest(deal_id) is None:
            raise Rejected(404, "Opportunity not found")
        self.edit(deal_id, **self._fields(_body(request)))
        return self.enveloped(encode(self.get(deal_id)))

    def enveloped(self, data: bytes, **parts: Any) -> Answer:
        """An answer whose `data` are these bytes."""
        rest = encode({**parts, "meta": self.meta()})
        return bytes_answer(b'{"data":' + data + b"," + rest[1:])

    def meta(self) -> Fields:
        """What every answer ends with."""
        return {"timestamp": self.make.stamp(self.clock.now)}

    def _fields(self, body: Fields) -> Fields:
        if unknown := body.keys() - _WRITABLE - {"idempotency_key"}:
            raise Rejected(422, f"{min(unknown)} cannot be written", "body", min(unknown))
        if body.get("account_id") is not None and self.tables["accounts"].latest(str(body["account_id"])) is None:
            raise Rejected(422, "account_id does not exist", "body", "account_id")
        fields = {key: body[key] for key in _WRITABLE - {"owner_user_id"} if key in body}
        if "owner_user_id" in body:
            users = {user["id"]: user for user in self.make.users}
            fields["owner"] = users.get(body["owner_user_id"])
        return fields


def _body(request: Request) -> Fields:
    try:
        return _decoder.decode(request.body)
    except msgspec.DecodeError:
        raise Rejected(422, "the body is not a JSON object", "body") from None


_decoder = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
