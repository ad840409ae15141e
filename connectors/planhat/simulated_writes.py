"""The writing half of the simulated Planhat API: create, update, bulk upsert and delete (contract section 6)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec

from connectors.planhat.simulated_people import People
from connectors.simulated_records import Fields, Records
from connectors.simulated_wire import Answer, Request, bytes_answer, json_answer

MAX_ITEMS: Final = 5_000
MAX_BODY: Final = 32 << 20

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_AMOUNTS = ("mrr", "arr", "nrr", "total", "fees")


class Rejected(Exception):
    """The API turns a request, or one item of a bulk upsert, away."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class Tally:
    """The envelope that a bulk upsert answers."""

    created: int = 0
    created_errors: list[Any] = field(default_factory=list)
    inserts: list[Fields] = field(default_factory=list)
    updated: int = 0
    updated_errors: list[Any] = field(default_factory=list)
    updates: list[Fields] = field(default_factory=list)
    unchanged: int = 0
    modified: list[str] = field(default_factory=list)
    permission_errors: list[Any] = field(default_factory=list)

    def answer(self) -> Answer:
        """200 when all is well, 403 when rights were missing, 206 when some items went through, 400 when none did."""
        wrong = len(self.created_errors) + len(self.updated_errors)
        through = self.created + self.updated + self.unchanged
        status = 403 if self.permission_errors else 200 if not wrong else 206 if through else 400
        envelope = {
            "created": self.created, "createdErrors": self.created_errors, "insertsKeys": self.inserts,
            "updated": self.updated, "updatedErrors": self.updated_errors, "updatesKeys": self.updates,
            "nonupdates": self.unchanged, "modified": self.modified,
            "upsertedIds": [keys["_id"] for keys in self.inserts], "permissionErrors": self.permission_errors,
        }  # fmt: skip
        return json_answer(envelope, status)


class WriteApi(People):
    """A tenant whose records can be written over HTTP."""

    def create_one(self, request: Request) -> Answer:
        """`POST`: answers the full record."""
        record = self._insert(_object(_body(request)))
        return json_answer(record, self.switches.created_status)

    def update_one(self, key: str, request: Request) -> Answer:
        """`PUT` of one is a partial update and answers a reduced record."""
        fields = _object(_body(request))
        if "_id" in fields:
            raise Rejected(400, "_id cannot be updated")
        record_id = find(self.records, key)
        if record_id is None:
            raise Rejected(404, f"{self.model.parent} not found")
        record = self._update(self.get(record_id), fields)
        if self.switches.thin_put:
            record = {name: record[name] for name in self.model.thin_put if name in record}
        return json_answer(record)

    def upsert_many(self, request: Request) -> Answer:
        """`PUT` of an array: items are matched by `_id`, `sourceId`, `externalId`; what matches nothing is made."""
        items = _body(request)
        if not isinstance(items, list):
            raise Rejected(400, "an array is required")
        if len(items) > MAX_ITEMS:
            raise Rejected(400, f"at most {MAX_ITEMS} items are allowed")
        tally = Tally()
        for index, item in enumerate(items):
            if index == self.switches.bulk_500_after:
                raise Rejected(500, "internal error")
            self._upsert(item, tally)
        return tally.answer()

    def delete_one(self, key: str) -> Answer:
        """`DELETE` knows only `_id`."""
        exists = self.records.latest(key) is not None
        if exists:
            self._may_write(self.get(key))
            self.delete(key)
        elif self.switches.delete_unknown == "404":
            raise Rejected(404, f"{self.model.parent} not found")
        match self.switches.delete_body:
            case "empty":
                return bytes_answer(b"", 200, "text/plain")
            case "text":
                return bytes_answer(b"OK", 200, "text/plain")
            case "json":
                return json_answer({"n": int(exists), "ok": 1, "deletedCount": int(exists)})

    # -- inside

    def _upsert(self, item: Any, tally: Tally) -> None:
        match, errors = None, tally.created_errors
        try:
            fields = _object(item)
            match = self._match(fields)
            if match is None:
                if not any(fields.get(key) for key in ("externalId", "sourceId", self.model.title)):
                    raise Rejected(400, "one of externalId, sourceId, name is required")
                record = self._insert(fields)
                tally.created += 1
                tally.inserts.append(_keys(record))
                return
            errors = tally.updated_errors
            after = self._update(match, {key: value for key, value in fields.items() if key != "_id"})
            if {**after, "updatedAt": None} == {**match, "updatedAt": None}:
                tally.unchanged += 1
                return
            tally.updated += 1
            tally.updates.append(_keys(after))
            tally.modified.append(after["_id"])
        except Rejected as no:
            errors = tally.permission_errors if no.status == 403 else errors
            errors.append(self._error_item(no.message, item, len(errors)))

    def _match(self, fields: Fields) -> Fields | None:
        for key in ("_id", "sourceId", "externalId"):
            value = fields.get(key)
            if isinstance(value, str) and (record_id := self.records.find(key, value)) is not None:
                return self.get(record_id)
        return None

    def _insert(self, fields: Fields) -> Fields:
        if not fields.get("companyId"):
            raise Rejected(400, "companyId is required")
        fields = self._checked(fields, {})
        at = self._tick()
        empty = {"subscriptionsCount": 0, "feesCount": 0, "activeSubscriptionsCount": 0, "followers": []}
        record = {
            "_id": self._make.object_id(at),
            **(empty if self.model.path == "deals" else {"status": "active"}),
            **{key: value for key, value in self._derived({}, fields).items() if value is not None},
            "createdAt": self.clock.text(),
            "updatedAt": self.clock.text(),
        }
        record.setdefault("custom", {})
        self._may_write(record)
        self._store(record, "create")
        return record

    def _update(self, record: Fields, fields: Fields) -> Fields:
        """`updatedAt` moves even when nothing else does."""
        self._may_write(record)
        fields = self._checked(fields, record)
        if not self.switches.null_clears:
            fields = {key: value for key, value in fields.items() if value is not None}
        after = self._derived(record, fields)
        if "custom" in fields and not self.switches.custom_merges:
            after = after | {"custom": fields["custom"]}
        after = record | after | {"updatedAt": self.clock.tick()}
        self._store(after, "update")
        return after

    def _checked(self, fields: Fields, record: Fields) -> Fields:
        """What may be written of these fields, as it will be stored."""
        has_items = record.get("subscriptionsCount", 0) + record.get("feesCount", 0) > 0
        derived = self.model.computed | ({"mrr", "total"} if has_items else set())
        fields = {key: value for key, value in fields.items() if key not in derived}
        for key in ("externalId", "sourceId"):
            value = fields.get(key)
            if value and self.records.find(key, value) not in (None, record.get("_id")):
                raise Rejected(400, f"{key} duplicated")
        for key in _AMOUNTS:
            if not isinstance(fields.get(key), int | Decimal | None):
                raise Rejected(400, f"{key} must be a number")
        if not isinstance(fields.get("custom", {}), dict):
            raise Rejected(400, "custom must be an object")
        for key in self.model.dates & fields.keys():
            if isinstance(fields[key], str) and _DAY.fullmatch(fields[key]):
                fields[key] += "T00:00:00.000Z"
        if "companyId" in fields:
            fields["companyId"] = find(self.tables["companies"], str(fields["companyId"]))
            if fields["companyId"] is None:
                raise Rejected(400, "companyId does not exist")
        return fields

    def _may_write(self, record: Fields) -> None:
        if {record["_id"], record["companyId"]} & self.switches.unwritable:
            raise Rejected(403, f"no permission to write this {self.model.parent}")

    def _error_item(self, message: str, item: Any, index: int) -> Any:
        """No reliable shape, and no index back to the input."""
        as_text = self.switches.error_items == "string" or (self.switches.error_items == "mixed" and index % 2 == 0)
        return message if as_text else {"error": message, "item": item}


def find(records: Records, key: str) -> str | None:
    """The id that a key means: an id, `extid-` and an external id, or `srcid-` and a source id."""
    if key.startswith("extid-"):
        return records.find("externalId", key.removeprefix("extid-"))
    if key.startswith("srcid-"):
        return records.find("sourceId", key.removeprefix("srcid-"))
    return records.find("_id", key)


def _body(request: Request) -> Any:
    if len(request.body) > MAX_BODY:
        raise Rejected(413, "request entity too large")
    try:
        return _decoder.decode(request.body)
    except msgspec.DecodeError:
        raise Rejected(400, "the body is not JSON") from None


def _object(value: Any) -> Fields:
    if not isinstance(value, dict):
        raise Rejected(400, "an object is required")
    return value


def _keys(record: Fields) -> Fields:
    return {key: record[key] for key in ("_id", "externalId", "sourceId") if key in record}


_decoder = msgspec.json.Decoder(float_hook=Decimal)
