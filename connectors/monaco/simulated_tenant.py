"""A simulated Monaco organization: its records, what people and the machine do to them, and a relay of changes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, Literal, TypeAlias

import msgspec

from connectors.monaco.simulated_data import Maker
from connectors.monaco.simulated_switches import Switches
from connectors.simulated_records import Fields, Records
from connectors.simulated_sender import Build, Outgoing, Post, Sender
from connectors.simulation import SimClock, Simulator

STAGES: Final = ("negotiation", "closed_won", "closed_lost")
"""The stage keys of a new organization: those that the contract names or guesses."""

RETRIES: Final = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30))
"""When a relay tries again, unless `notify` is told otherwise."""

Op: TypeAlias = Literal["created", "updated", "deleted"]


class Organization(Simulator):
    """The app's side of the simulation: every verb here is something a person, or the machine, does in Monaco.

    Each verb that writes takes one tick of the clock and stamps `updated_at` with it, unless it says otherwise. A key
    without a value is left out, as Monaco does.
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
        self.stages = stages
        self.webhook_secret = f"simulated-{seed}"
        self.make = make = Maker(seed, self.clock.now, self.switches, stages)
        self.chance = Random(f"{seed}/organization")  # noqa: S311 - reproducible, not secret
        self.records = Records(self.clock, id_key="id")
        self.tables = {
            name: Records(self.clock, id_key="id", cache_bytes=16 << 20) for name in ("accounts", "contacts")
        }
        self.tables["accounts"].load(make.account() for _ in range(min(max(3, deals // 5), 5_000)))
        self.tables["contacts"].load(make.contact(account) for account in make.accounts[:100])
        self.records.load(make.history(deals))
        self._senders: list[Sender] = []
        self._sent = 0

    # -- looking

    def ids(self) -> list[str]:
        """The ids of all opportunities that exist."""
        return self.records.ids()

    def get(self, deal_id: str) -> Fields:
        """The opportunity as last written, amounts as int or Decimal. Raises `KeyError` when there is none."""
        record = self.records.latest(deal_id)
        if record is None:
            raise KeyError(f"the simulated organization has no opportunity {deal_id}")
        return record

    def truth(self) -> Iterator[Fields]:
        """The opportunities as the list shows them now, by id: what an oracle holds our results against.

        Left out are those served `raw` (only the test knows what those mean) and those the key may not see.
        """
        for record in self.records.readable():
            if record["id"] not in self.switches.hidden:
                yield {key: value for key, value in record.items() if key not in self.unseen_keys()}

    def unseen_keys(self) -> frozenset[str]:
        """Keys that the organization keeps and never shows."""
        return frozenset({"updated_at"}) if self.switches.updated_at == "absent" else frozenset()

    # -- editing

    def new_deal(self, *, amount: Decimal | None, stage: str) -> str:
        """Somebody types in an opportunity; gives its id. `amount` is in the organization's own unit."""
        return self.create(stage=stage, estimated_value=_value(amount))

    def create(self, **fields: Any) -> str:
        """A new opportunity of one of the accounts, with these fields set; None leaves one out. Gives its id."""
        with self.exclusive():
            self.clock.tick()
            record = self.make.opportunity(self.clock.now, self.clock.now)
            if fields.get("stage") not in (None, *self.stages[-2:]):
                record.pop("actual_close_date", None)
            self._store(record | fields, "created")
            return str(record["id"])

    def edit(self, deal_id: str, **fields: Any) -> None:
        """Change these fields; None takes one away."""
        with self.exclusive():
            record = self.get(deal_id) | fields
            self.clock.tick()
            self._store(record | {"updated_at": self.make.stamp(self.clock.now)}, "updated")

    def set_amount(self, deal_id: str, amount: Decimal | None) -> None:
        """Somebody changes the estimated value; its currency stays."""
        currency = (self.get(deal_id).get("estimated_value") or {}).get("currency_code", "USD")
        self.edit(deal_id, estimated_value=_value(amount, currency))

    def set_stage(self, deal_id: str, stage: str) -> None:
        """Somebody moves an opportunity; won or lost, it gets its actual close date, and loses it when reopened."""
        closed = stage in self.stages[-2:]
        self.edit(deal_id, stage=stage, actual_close_date=self.clock.now.date().isoformat() if closed else None)

    def touch(self, deal_id: str) -> None:
        """Move `updated_at` although nothing changed."""
        self.edit(deal_id)

    def silent(self, deal_id: str, **fields: Any) -> None:
        """Change fields without moving `updated_at`: a merge of accounts, an owner's new name; nothing is relayed."""
        with self.exclusive():
            self._store(self.get(deal_id) | fields, None)

    def rewrite(self, deal_id: str) -> None:
        """The machine writes its summary and its risks anew; `updated_at` stays."""
        with self.exclusive():
            self.clock.tick()
            fields = {"summary": f"As of {self.clock.text()}: on track.", "risks": self.make.risks()}
            self._store(self.get(deal_id) | fields | {"last_activity_at": self.make.stamp(self.clock.now)}, None)

    def rename_tag(self, old: str, new: str) -> None:
        """An admin renames a tag: every opportunity that bears it shows the new name."""
        with self.exclusive():
            for deal_id in self.ids():
                tags = self.get(deal_id).get("tags", [])
                if old in tags:
                    self.silent(deal_id, tags=[new if tag == old else tag for tag in tags])

    def delete(self, deal_id: str) -> None:
        """An opportunity goes: it vanishes from lists, and a get-one answers 404."""
        with self.exclusive():
            self.get(deal_id)
            self.clock.tick()
            self.records.remove(deal_id, late=timedelta(seconds=self.switches.late_commit_s))
            self._ring("deleted", deal_id)

    def restore(self, deal_id: str) -> None:
        """Monaco is not known to bring anything back."""
        raise NotImplementedError(f"Monaco has no way to restore {deal_id}")

    def spoil(self, deal_id: str) -> None:
        """From now on the opportunity cannot be mapped: its stage is a key that no table knows."""
        self.edit(deal_id, stage="somebody's own stage")

    def raw(self, deal_id: str, data: bytes) -> None:
        """Serve exactly these bytes in the record's place: NaN, a key twice, wrong types, no id. Moves nothing."""
        with self.exclusive():
            self.records.serve_raw(deal_id, data)

    def mend(self, deal_id: str) -> None:
        """Serve the record itself again."""
        with self.exclusive():
            self.records.serve_raw(deal_id, None)

    # -- the relay (section 13)

    def notify(self, post: Post, **settings: Any) -> Sender:
        """A customer's automation begins to relay changes; see `Sender` for its settings."""
        sender = Sender(post=post, clock=self.clock, random=self.chance, **{"retries": RETRIES, **settings})
        self._senders.append(sender)
        return sender

    def delivery(self, op: Op, deal_id: str) -> Build:
        """One delivery: its id and body stay the same, each attempt is signed at its own time."""
        self._sent += 1
        named, now = f"evt_{self._sent:06d}", self.make.stamp(self.clock.now)
        data = {"id": deal_id, "object": "opportunity"}
        body = msgspec.json.encode({"id": named, "type": f"opportunity.{op}", "occurred_at": now, "data": data})
        return lambda _: self.signed(body, named)

    def signed(self, body: bytes, delivery_id: str) -> Outgoing:
        """An attempt that leaves now, signed with the secret of now."""
        sent_at = str(int(self.clock.now.timestamp()))
        digest = hmac.new(self.webhook_secret.encode(), f"{sent_at}.".encode() + body, hashlib.sha256).hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-Monaco-Timestamp": sent_at,
            "X-Monaco-Signature": f"sha256={digest}",
            "X-Monaco-Delivery-Id": delivery_id,
        }
        return Outgoing(headers, body)

    def settle(self) -> None:
        """Deliveries leave after the write they tell of."""
        for sender in self._senders:
            sender.run()

    # -- inside

    def _store(self, record: Fields, op: Op | None) -> None:
        kept = {key: value for key, value in record.items() if value is not None}
        self.records.put(kept, late=timedelta(seconds=self.switches.late_commit_s))
        if op is not None:
            self._ring(op, str(record["id"]))

    def _ring(self, op: Op, deal_id: str) -> None:
        for sender in self._senders:
            sender.send(self.delivery(op, deal_id))


def _value(amount: Decimal | None, currency: str = "USD") -> Fields | None:
    return None if amount is None else {"currency_code": currency, "amount": amount}
