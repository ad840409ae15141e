"""A simulated Planhat tenant: its records, and what people do to them in the app."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from connectors.planhat.simulated_automations import EVERY_OP, TEMPLATE, Automation, Op
from connectors.planhat.simulated_data import LOST, WON, Maker
from connectors.planhat.simulated_switches import MODELS, Switches
from connectors.simulated_records import Fields, Records
from connectors.simulated_sender import Post, Sender
from connectors.simulation import SimClock, Simulator
from deals.state import number

STAGES: Final = ("Negotiation", WON, LOST)
"""The stage words of a new tenant: those that the contract names."""

TRASH_DAYS: Final = 7
"""How long a deleted record can be restored (section 10)."""


class Tenant(Simulator):
    """The app's side of the simulation: every verb here is something a person does in Planhat.

    `records` are the deals, or the opportunities when the tenant works with those. Each verb that writes takes one
    tick of the clock and stamps `updatedAt` with it, unless it says otherwise.
    """

    def __init__(
        self,
        seed: int = 0,
        deals: int = 200,
        clock: SimClock | None = None,
        *,
        switches: Switches | None = None,
        stages: tuple[str, ...] = STAGES,
    ) -> None:
        super().__init__(seed=seed, clock=clock)
        self.switches = switches or Switches()
        self.model = MODELS[self.switches.model]
        self.stages = stages
        self._make = make = Maker(seed, self.clock.now, self.switches, self.model, stages)
        self._chance = Random(f"{seed}/automations")  # noqa: S311 - reproducible, not secret
        self._trash: dict[str, Fields] = {}
        self.automations: list[Automation] = []
        tables = ("users", "companies", "endusers", "customfields", "lineitems")
        self.tables = {name: Records(self.clock, cache_bytes=16 << 20) for name in tables}
        self.records = Records(self.clock)
        self.tables["users"].load(make.users)
        self.tables["companies"].load(make.company() for _ in range(min(max(3, deals // 5), 5_000)))
        self.tables["customfields"].load(make.custom_fields())
        contacts = (make.enduser(company, index) for index, company in enumerate(make.companies[:100]))
        self.tables["endusers"].load(contacts)
        self.records.load(make.history(deals))

    # -- looking

    def ids(self) -> list[str]:
        """The ids of all records that exist, oldest first."""
        return self.records.ids()

    def get(self, record_id: str) -> Fields:
        """The record as last written, amounts as int or Decimal. Raises `KeyError` when there is none."""
        record = self.records.latest(record_id)
        if record is None:
            raise KeyError(f"the simulated tenant has no {self.model.parent.lower()} {record_id}")
        return record

    def served(self, record_id: str) -> bytes | None:
        """The exact bytes a get-one answers now; None when there are none."""
        return self.records.served(record_id)

    def truth(self) -> Iterator[Fields]:
        """The records as a get-one of each answers now, by id: what an oracle holds our results against.

        Left out are those served `raw` (only the test knows what those mean) and those the app may not see.
        """
        return (record for record in self.records.readable() if record["_id"] not in self.switches.hidden)

    # -- editing

    def create(self, **fields: Any) -> str:
        """A new record of one of the companies, with these fields set; gives its id."""
        with self.exclusive():
            at = self._tick()
            record = self._make.record(at, at) | self._derived({}, fields)
            self._store(record, "create")
            return str(record["_id"])

    def edit(self, record_id: str, **fields: Any) -> None:
        """Change these fields; `custom` is merged key by key, `arr` follows `mrr`."""
        with self.exclusive():
            record = self.get(record_id)
            self._store(record | self._derived(record, fields) | {"updatedAt": self.clock.tick()}, "update")

    def drop(self, record_id: str, *keys: str) -> None:
        """Serve the record without these keys from now on: absent, which is not the same as null."""
        with self.exclusive():
            record = {key: value for key, value in self.get(record_id).items() if key not in keys}
            self._store(record | {"updatedAt": self.clock.tick()}, "update")

    def touch(self, record_id: str) -> None:
        """Move `updatedAt` although nothing changed, as many writes in Planhat do (section 16)."""
        self.edit(record_id)

    def silent(self, record_id: str, **fields: Any) -> None:
        """Change fields without moving `updatedAt`, as formulas and roll-ups do; no automation runs."""
        with self.exclusive():
            record = self.get(record_id)
            self._store(record | self._derived(record, fields), None)

    def delete(self, record_id: str) -> None:
        """Delete one record: it disappears without a trace, but for the trash."""
        with self.exclusive():
            self._tick()
            self._discard(record_id, "delete")

    def restore(self, record_id: str, *, move_updated_at: bool = False) -> None:
        """Take a record back out of the trash, same `_id`, same `createdAt`.

        Raises `KeyError` when it is not there or has been for more than 7 days.
        """
        with self.exclusive():
            record = self._trash.pop(record_id)
            if self.clock.now - record.pop("trashedAt") > timedelta(days=TRASH_DAYS):
                raise KeyError(f"{record_id} was emptied from the trash")
            now = self.clock.tick()
            self._store(record | ({"updatedAt": now} if move_updated_at else {}), "create" if move_updated_at else None)

    def delete_company(self, company_id: str) -> None:
        """Delete a company and what hangs under it; the delete automation does not run for those (section 10)."""
        with self.exclusive():
            self._tick()
            for record_id in self.ids():
                if self.get(record_id)["companyId"] == company_id:
                    self._discard(record_id, None)
            self.tables["companies"].remove(company_id)

    def rename_stage(self, old: str, new: str, *, move_updated_at: bool = False) -> None:
        """An admin renames an option of the stage list: every record in it now says the new word."""
        with self.exclusive():
            stamp = {"updatedAt": self.clock.tick()} if move_updated_at else {}
            for record_id in self.ids():
                record = self.get(record_id)
                if record.get(self.model.stage) == old:
                    self._store(record | {self.model.stage: new} | stamp, "update" if move_updated_at else None)

    def attach_line_item(self, record_id: str, *, mrr: int | Decimal, value: int | Decimal) -> str:
        """A deal's amounts become derived: from now on its API ignores writes to `mrr` and `total` (section 7)."""
        with self.exclusive():
            at = self._tick()
            deal, item_id = self.get(record_id), self._make.object_id(at)
            item = {"_id": item_id, "dealId": record_id, "companyId": deal["companyId"], "product": "Platform",
                    "type": "subscription", "status": "ongoing", "mrr": mrr, "value": value,
                    "currency": deal.get("currency"), "createdAt": self.clock.text()}  # fmt: skip
            self.tables["lineitems"].put(item)
            counts = {"subscriptionsCount": 1, "activeSubscriptionsCount": 1}
            derived = self._derived(deal, {"mrr": mrr, "total": value, **counts})
            self._store(deal | derived | {"updatedAt": self.clock.text()}, "update")
            return item_id

    def remove_user(self, user_id: str) -> None:
        """A user is removed although records still name them as owner."""
        with self.exclusive():
            self.tables["users"].remove(user_id)

    def raw(self, record_id: str, data: bytes) -> None:
        """Serve exactly these bytes in the record's place: NaN, a key twice, wrong types, no id. Moves nothing;
        `touch` the record first, and take `served` as a start, when the change should be found by `updatedAt`."""
        with self.exclusive():
            self.records.serve_raw(record_id, data)

    def mend(self, record_id: str) -> None:
        """Serve the record itself again."""
        with self.exclusive():
            self.records.serve_raw(record_id, None)

    def automate(
        self,
        post: Post,
        *,
        ops: frozenset[Op] = EVERY_OP,
        headers: Callable[[], Mapping[str, str]] = dict,
        template: str = TEMPLATE,
        **settings: Any,
    ) -> Sender:
        """An admin builds an automation; `settings` are those of `Sender`.

        A failed run is never tried again, and ten of them within 24 h switch it off (section 14).
        """
        settings = {"disable_after": 10, "disable_within": timedelta(hours=24), **settings}
        sender = Sender(post=post, clock=self.clock, random=self._chance, **settings)
        self.automations.append(Automation(sender, self.model.parent, headers, ops, template))
        return sender

    def settle(self) -> None:
        """Automations run after the write they look at."""
        for automation in self.automations:
            automation.sender.run()

    # -- inside

    def _tick(self) -> Any:
        self.clock.tick()
        return self.clock.now

    def _store(self, record: Fields, op: Op | None) -> None:
        self.records.put(record, late=timedelta(seconds=self.switches.late_commit_s))
        self._ring(op, record)

    def _discard(self, record_id: str, op: Op | None) -> None:
        record = self.get(record_id)
        self._trash[record_id] = record | {"trashedAt": self.clock.now}
        self.records.remove(record_id, late=timedelta(seconds=self.switches.late_commit_s))
        self._ring(op, record)

    def _ring(self, op: Op | None, record: Fields) -> None:
        if op is not None:
            for automation in self.automations:
                automation.trigger(op, record)

    def _derived(self, record: Fields, fields: Fields) -> Fields:
        """The fields to set, with those that the server computes from them."""
        if "custom" in fields:
            fields = fields | {"custom": record.get("custom", {}) | fields["custom"]}
        if "companyId" in fields and "companyName" not in fields:
            company = self.tables["companies"].latest(fields["companyId"]) or {}
            fields = fields | {"companyName": company.get("name")}
        if self.model.path == "deals" and fields.get("mrr") is not None and "arr" not in fields:
            fields = fields | {"arr": number(Decimal(fields["mrr"]) * 12)}
        return fields
