"""A simulated cPod tenant: its records, and what people do to them in the app."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from connectors.cpod.simulated_data import LOST, STAGES, SUBJECT, WON, Maker, stamp
from connectors.cpod.simulated_hooks import Hooks
from connectors.cpod.simulated_switches import Switches
from connectors.simulated_records import Fields, Records, decode
from connectors.simulated_sender import Post, Sender
from connectors.simulated_wire import Request
from connectors.simulation import SimClock, Simulator

NEIGHBOURS: Final = ("accounts", "contacts", "quotes", "line-items")
UNKNOWN_STAGE: Final = "somewhere_else_entirely"
"""A stage word that no table knows."""

_WITH_QUOTES = 200


class Tenant(Simulator):
    """The app's side of the simulation: every verb here is something a person does in cPod.

    `deals` are all of them, the deleted ones included. Each verb that writes takes one tick of the clock, moves
    `updated_at`, and raises `version` unless a switch says otherwise.
    """

    webhook_secret: str = "whsec-of-the-sandbox"  # noqa: S105 - opens simulated doors only
    before_list: Callable[[Request], None] | None = None

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
        self._make = make = Maker(seed, self.clock.now, self.switches, stages)
        self.hooks = Hooks(seed, self.clock, lambda: self.webhook_secret)
        accounts = [make.account() for _ in range(min(max(3, deals // 5), 5_000))]
        self.deals = Records(self.clock, id_key="id")
        self.deals.load(make.history(deals))
        self.tables = {name: Records(self.clock, id_key="id", cache_bytes=16 << 20) for name in NEIGHBOURS}
        self.tables["accounts"].load(accounts)
        self.tables["contacts"].load(make.contact(account, index) for index, account in enumerate(accounts[:100]))
        self.order = sorted(self.deals.ids())
        some = [self.get(deal_id) for deal_id in self.order[-_WITH_QUOTES:]]
        self.tables["quotes"].load(quote for deal in some for quote in make.quotes(deal, self.clock.now))
        self.tables["line-items"].load(item for deal in some[::2] for item in make.line_items(deal, self.clock.now))
        self.people = {"users": make.users, "persons": make.persons}
        self.gone: set[str] = set()
        self.writes = 0

    # -- looking

    def ids(self) -> list[str]:
        """The ids of all deals that exist and are not deleted, oldest first."""
        return [deal_id for deal_id in self.order if deal_id not in self.gone]

    def get(self, deal_id: str) -> Fields:
        """The deal as last written, deleted or not. Raises `KeyError` when there never was one."""
        deal = self.deals.latest(deal_id)
        if deal is None:
            raise KeyError(f"the simulated tenant has no deal {deal_id}")
        return deal

    def truth(self) -> Iterator[Fields]:
        """Every deal that the connection may see and that is not deleted, as a get-one answers it now."""
        return (deal for deal in self.deals.readable() if not deal["is_deleted"] and self.visible(deal))

    def visible(self, deal: Mapping[str, Any]) -> bool:
        """Whether the caller may see a deal (the trap of section 2)."""
        switches = self.switches
        if deal["id"] in switches.hidden:
            return False
        if switches.app_id is not None and deal.get("app_id") != switches.app_id:
            return False
        return not switches.own_records or deal.get("created_by") == SUBJECT

    # -- editing

    def create(self, **fields: Any) -> str:
        """A new deal of one of the accounts, with these fields set; gives its id."""
        with self.exclusive():
            self.clock.tick()
            at = self.clock.now
            deal = self._make.deal(at, at) | {"version": 1, "actual_close_date": None, "stage": self.stages[0]}
            deal.pop("loss_reason", None)
            deal.pop("loss_category", None)
            deal = self._moved(deal, fields, first=True)
            insort(self.order, deal["id"])
            self._store(deal, "created")
            return str(deal["id"])

    def edit(self, deal_id: str, **fields: Any) -> None:
        """Change these fields; a change of stage stamps what the server stamps."""
        with self.exclusive():
            self.clock.tick()
            before = self.get(deal_id)
            after = self._raised(self._moved(before, fields))
            self._store(after, "updated" if before["stage"] == after["stage"] else "stage_changed")

    def new_deal(self, *, amount: Decimal | None, stage: str) -> str:
        """Somebody types in a deal in US dollars, in major units."""
        named = {"currency": "USD", "expected_close_date": "2026-06-30", "owner_id": self.people["users"][0]["id"]}
        return self.create(value=self._make.money(amount), **named, **self._into(stage))

    def set_amount(self, deal_id: str, amount: Decimal | None) -> None:
        """Somebody changes the amount of a deal."""
        self.edit(deal_id, value=self._make.money(amount))

    def set_stage(self, deal_id: str, stage: str) -> None:
        """Somebody moves the deal; a lost one needs its reason."""
        self.edit(deal_id, **self._into(stage))

    def touch(self, deal_id: str) -> None:
        """A note, a tag or an activity: `updated_at` and `version` move, and nothing else."""
        self.edit(deal_id)

    def silent(self, deal_id: str, **fields: Any) -> None:
        """Change fields without moving `updated_at` or `version`; nothing is sent."""
        with self.exclusive():
            self._store(self.get(deal_id) | fields, None)

    def delete(self, deal_id: str) -> None:
        """Somebody deletes a deal: it leaves the default list and keeps its row (section 14)."""
        with self.exclusive():
            at = self.clock.tick()
            gone = {"is_deleted": True, "deleted_at": at, "deleted_by": self._make.persons[0]["id"]}
            self._store(self._raised(self.get(deal_id) | gone), "deleted")

    def restore(self, deal_id: str) -> None:
        """A deleted deal comes back with a higher version."""
        with self.exclusive():
            self.clock.tick()
            back = {"is_deleted": False, "deleted_at": None, "deleted_by": None}
            self._store(self._raised(self.get(deal_id) | back), "updated")

    def purge(self, deal_id: str) -> None:
        """A deal is gone without a trace: 404, and in no list."""
        with self.exclusive():
            self.deals.remove(deal_id)
            self.order.remove(deal_id)
            self.gone.discard(deal_id)
            self.writes += 1

    def spoil(self, deal_id: str) -> None:
        """Somebody gives the deal a stage that no table knows."""
        self.edit(deal_id, stage=UNKNOWN_STAGE)

    def raw(self, deal_id: str, data: bytes | None) -> None:
        """Serve exactly these bytes in the deal's place: NaN, wrong types, no id; None serves the deal again."""
        with self.exclusive():
            self.deals.serve_raw(deal_id, data)

    def notify(self, post: Post, **settings: Any) -> Sender:
        """Somebody registers an outbound webhook; see `Hooks.register` for its settings."""
        return self.hooks.register(post, **settings)

    def settle(self) -> None:
        """Deliveries leave after the write they tell of."""
        self.hooks.run()

    # -- inside

    def _into(self, stage: str) -> Fields:
        lost = {"loss_reason": "price", "loss_category": "commercial"} if stage == self.stages[-1] else {}
        return {"stage": stage, **lost}

    def _moved(self, deal: Fields, fields: Fields, *, first: bool = False) -> Fields:
        """The deal with these fields set, and with what the server sets along with a change of stage."""
        after = deal | fields
        stage = after["stage"]
        if first or stage != deal["stage"]:
            closed = stage in (*self.stages[-2:], WON, LOST)
            if closed:
                after["actual_close_date"] = stamp(self.clock.now)
            elif self.switches.reopening_clears:
                after["actual_close_date"] = None
            if self.switches.audit_log and not first:
                log, entry = _listed(deal.get("audit_log")), self._entry(deal["stage"], stage)
                after["audit_log"] = [*log, entry] if self.switches.audit_log_order == "oldest" else [entry, *log]
        if first:
            after |= {"created_by": self._make.persons[0]["id"], "updated_at": stamp(self.clock.now)}
        return self._make.rendered(after)

    def _entry(self, before: str, after: str) -> Fields:
        by = self._make.persons[0]["id"]
        return {"from_stage": before, "to_stage": after, "changed_at": stamp(self.clock.now), "changed_by": by}

    def _raised(self, deal: Fields) -> Fields:
        version = deal["version"] + 1 if self.switches.version_moves else deal["version"]
        return deal | {"updated_at": stamp(self.clock.now), "version": version}

    def _store(self, deal: Fields, event: str | None) -> None:
        self.deals.put(deal, late=timedelta(seconds=self.switches.late_commit_s))
        self.writes += 1
        (self.gone.add if deal["is_deleted"] else self.gone.discard)(deal["id"])
        if event is not None:
            self.hooks.happened(event, deal)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = decode(b'{"log":' + value.encode() + b"}")["log"]
    return value if isinstance(value, list) else []
