"""A simulated LeadLex workspace: its deals, and what people (and the agent) do to them in the app."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final

from connectors.leadlex.simulated_data import STAGES, Maker
from connectors.leadlex.simulated_hooks import EVENTS, Hook, about, about_many, told
from connectors.leadlex.simulated_index import Index
from connectors.leadlex.simulated_switches import Switches
from connectors.simulated_records import Fields, Records
from connectors.simulated_sender import Post, Sender
from connectors.simulated_wire import Request
from connectors.simulation import SimClock, Simulator

RETRIES: Final = tuple(timedelta(seconds=s) for s in (5, 30, 300, 3600, 21_600))
"""After which waits a failed delivery is tried again (section 13)."""

UNKNOWN_STAGE: Final = "Somewhere Else Entirely"
"""A stage word that no table knows."""

EARLIEST, LATEST = timedelta(days=5 * 365), timedelta(hours=24)
"""How far a caller may set `created_date` into the past and into the future (section 8)."""


class Tenant(Simulator):
    """The app's side of the simulation, as `connectors.simulated_crm.SimulatedCrm` has it and beyond.

    Each verb that writes takes one tick of the clock and stamps `updated_date` with it, unless it says otherwise.
    """

    credentials: Mapping[str, str]
    options: Mapping[str, Any] = {"plan": "org", "requests_per_minute": 1_000_000, "requests_per_day": 10_000_000}
    webhook_secret: str = "whsec_of_the_sandbox"  # noqa: S105 - opens simulated doors only
    stages: tuple[str, ...]
    before_list: Callable[[Request], None] | None

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
        self.stages = stages
        self.before_list = None
        self.make = Maker(seed, self.clock.now, self.switches, stages)
        self.workspace_id = self.make.workspace_id
        self.hooks: list[Hook] = []
        self.audits: list[Fields] = []
        self._chance = Random(f"{seed}/webhooks")  # noqa: S311 - reproducible, not secret
        self._late_until = self.clock.now
        self.companies = Records(self.clock, id_key="id", cache_bytes=16 << 20)
        self.companies.load(self.make.company() for _ in range(min(max(3, deals // 5), 5_000)))
        self.records = Records(self.clock, id_key="id")
        self.index = Index(self.records)
        self.records.load(self.index.load(self.make.history(deals)))

    # -- looking

    def ids(self) -> list[str]:
        """The ids of all deals that exist."""
        return self.records.ids()

    def get(self, deal_id: str) -> Fields:
        """The deal as last written, amounts as int or Decimal. Raises `KeyError` when there is none."""
        deal = self.records.latest(deal_id)
        if deal is None:
            raise KeyError(f"the simulated workspace has no deal {deal_id}")
        return deal

    def truth(self) -> Iterator[Fields]:
        """The deals as a get-one of each answers now, by id; those served `raw` are left out."""
        return (self.as_one(deal) for deal in self.records.readable())

    def as_one(self, deal: Fields) -> Fields:
        """A deal in the words of get-one: another name for the open status, slugs instead of names (section 6)."""
        if self.switches.words == "list":
            return deal
        pipeline = deal.get("pipeline")
        said = {
            "status": "open" if deal.get("status") == "active" else deal.get("status"),
            "stage": slug(deal.get("stage")),
            "pipeline": "default" if pipeline == "Sales" else slug(pipeline),
        }
        return deal | {key: value for key, value in said.items() if key in deal}

    # -- editing

    def create(self, *, created: datetime | None = None, **fields: Any) -> str:
        """A new deal with these fields set; gives its id. A `created` out of bounds is silently the server's now."""
        with self.exclusive():
            return str(self._create(created, fields, "rest")["id"])

    def create_many(self, count: int, **fields: Any) -> list[str]:
        """A bulk create: one event for all."""
        with self.exclusive():
            deals = [self._create(None, fields, None) for _ in range(count)]
            self._ring_many("deal.bulk_created", deals)
            return [str(deal["id"]) for deal in deals]

    def edit(self, deal_id: str, **fields: Any) -> None:
        """Change these fields of a deal."""
        with self.exclusive():
            self._ring("deal.updated", self._change(deal_id, fields))

    def edit_many(self, ids: Sequence[str], **fields: Any) -> int:
        """A bulk update: the same values for all, unknown ids skipped, one event; gives how many there were."""
        with self.exclusive():
            deals = [self._change(one, fields) for one in ids if self.records.latest(one) is not None]
            self._ring_many("deal.bulk_updated", deals)
            return len(deals)

    def by_agent(self, deal_id: str, **fields: Any) -> None:
        """The built-in agent changes a deal: no webhook tells (section 13)."""
        with self.exclusive():
            self._change(deal_id, fields)

    def drop(self, deal_id: str, *keys: str) -> None:
        """Serve the deal without these keys from now on: absent, which is not the same as null."""
        with self.exclusive():
            before = self.get(deal_id)
            kept = {key: value for key, value in before.items() if key not in keys}
            self._store(kept | {"updated_date": self._stamp()}, before)

    def silent(self, deal_id: str, **fields: Any) -> None:
        """Change fields without moving `updated_date`; no webhook either."""
        with self.exclusive():
            before = self.get(deal_id)
            self._store(before | fields, before)

    def touch(self, deal_id: str) -> None:
        """A write that changes nothing: it moves `updated_date` and fires all the same (section 8)."""
        self.edit(deal_id)

    def delete(self, deal_id: str) -> None:
        """Delete a deal for good: no trash, no tombstone, only the audit log and a webhook."""
        with self.exclusive():
            deal = self.get(deal_id)
            self.clock.tick()
            self._late_until = self.clock.now + self._late
            self.records.remove(deal_id, late=self._late)
            self.index.forget()
            self._audit("delete", deal_id)
            self._ring("deal.deleted", deal)

    def restore(self, deal_id: str) -> None:
        """There is no trash in LeadLex: raises `NotImplementedError`."""
        raise NotImplementedError(f"{deal_id}: a deleted deal is gone for good in LeadLex")

    def new_deal(self, *, amount: Decimal | None, stage: str) -> str:
        """Somebody types in a deal, in major units of the workspace's currency."""
        staged = self.make.staged(stage, self.clock.now)
        return self.create(estimated_value=amount, currency=self.switches.currency, **staged)

    def set_amount(self, deal_id: str, amount: Decimal | None) -> None:
        """Somebody changes the estimated value."""
        self.edit(deal_id, estimated_value=amount)

    def set_stage(self, deal_id: str, stage: str) -> None:
        """Somebody moves the deal; status and closing date follow, as the app does it."""
        self.edit(deal_id, **self.make.staged(stage, self.clock.now))

    def spoil(self, deal_id: str) -> None:
        """Somebody gives the deal a stage that no table knows."""
        self.set_stage(deal_id, UNKNOWN_STAGE)

    def remove_user(self, user_id: str) -> None:
        """A user leaves: no longer listed, but still the owner of deals (section 9)."""
        with self.exclusive():
            self.make.users[:] = [user for user in self.make.users if user["id"] != user_id]

    def merge_contacts(self, survivor: str, duplicates: Sequence[str]) -> None:
        """Contacts are merged: the duplicates' ids are retired, and deals go on naming them (section 9)."""
        with self.exclusive():
            self.make.contacts[:] = [one for one in self.make.contacts if one["id"] not in duplicates]
            self.clock.tick()
            self._tell("contact.merged", {"contact": {"id": survivor}, "merged_ids": list(duplicates)})

    def raw(self, deal_id: str, data: bytes) -> None:
        """Serve exactly these bytes in the deal's place: NaN, a key twice, wrong types, no id. Moves nothing."""
        with self.exclusive():
            self.records.serve_raw(deal_id, data)
            self.index.forget()

    def mend(self, deal_id: str) -> None:
        """Serve the deal itself again."""
        with self.exclusive():
            self.records.serve_raw(deal_id, None)
            self.index.forget()

    # -- webhooks

    def notify(self, post: Post, *, events: frozenset[str] | None = None, **settings: Any) -> Sender:
        """Somebody registers a webhook; `settings` are those of `Sender`, `events` default to those of deals."""
        sender = Sender(post=post, clock=self.clock, random=self._chance, **({"retries": RETRIES} | settings))
        hook = Hook(
            id=self.make.uuid(),
            sender=sender,
            secret=lambda: self.webhook_secret,
            now=lambda: self.make.when(self.clock.now),
            new_id=self.make.uuid,
            switches=self.switches,
            events=EVENTS if events is None else events,
        )
        self.hooks.append(hook)
        return sender

    def settle(self) -> None:
        """Deliveries leave after the write they tell of."""
        for hook in self.hooks:
            hook.sender.run()

    # -- inside

    @property
    def late_now(self) -> bool:
        """Whether something written is not to be seen yet, or has just become so."""
        return self.clock.now <= self._late_until + timedelta(seconds=1)

    @property
    def _late(self) -> timedelta:
        return timedelta(seconds=self.switches.late_commit_s)

    def _stamp(self) -> str:
        self.clock.tick()
        return self.make.when(self.clock.now)

    def _create(self, created: datetime | None, fields: Fields, road: str | None) -> Fields:
        self._stamp()
        now = self.clock.now
        if created is None or not now - EARLIEST <= created <= now + LATEST:
            created = now
        deal = self.make.deal(created, None) | fields
        self._store(deal, None)
        if road is not None:
            self._ring("deal.created", deal)
        return deal

    def _change(self, deal_id: str, fields: Fields) -> Fields:
        before = self.get(deal_id)
        deal = before | fields | {"updated_date": self._stamp()}
        self._store(deal, before)
        return deal

    def _store(self, deal: Fields, before: Fields | None) -> None:
        self._late_until = max(self._late_until, self.clock.now + self._late)
        self.records.put(deal, late=self._late)
        self.index.note(deal, before)
        self._audit("create" if before is None else "update", deal["id"])

    def _audit(self, action: str, deal_id: str) -> None:
        entry: Fields = {
            "id": f"audit-{len(self.audits) + 1}",
            "timestamp": self.make.when(self.clock.now),
            "user": {"id": None, "email": None, "type": "user"},
            "action": action,
            "resource_type": "deals",
            "resource_id": deal_id,
            "details": {},
            "ip_address": "192.0.2.1",
            "user_agent": "app",
        }
        self.audits.append(entry)

    def _ring(self, event: str, deal: Fields) -> None:
        if self.hooks:
            self._tell(event, about(event, self.as_one(deal), self.switches))

    def _ring_many(self, event: str, deals: Sequence[Fields]) -> None:
        if self.hooks and deals:
            self._tell(event, about_many(deals, self.switches))

    def _tell(self, event: str, data: Fields) -> None:
        at = self.make.when(self.clock.now)
        body = told(event, data, timestamp=at, workspace_id=self.workspace_id)
        for hook in self.hooks:
            hook.trigger(event, body)


def slug(text: str | None) -> str | None:
    """A name as get-one writes it: `Closed Won` is `closed_won`."""
    return None if text is None else "_".join(text.lower().split())
