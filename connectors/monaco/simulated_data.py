"""Simulated data: the people, accounts and opportunities of an invented Monaco organization, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

from connectors.monaco.simulated_switches import Switches
from connectors.simulated_records import Fields

HISTORY: Final = timedelta(days=540)
"""How long the organization has existed when its clock starts."""

_PREFIXES: Final = {"opportunity": "opp", "account": "acc", "user": "usr", "contact": "con"}
_PEOPLE: Final = (("Ada", "Nilsson"), ("Bo", "Jansen"), ("Carla", "Mendes"), ("Deniz", "Aydin"), ("Eva", "Horvat"))
_NAMES: Final = ("Initech", "Northwind", "Globex", "Umbra", "Köhler", "Halcyon", "Red Oak", "Castle & Sons", "Quartz")
_KINDS: Final = ("platform", "renewal", "expansion", "pilot", "multi-year")
_RISKS: Final = ("No economic buyer yet", "Security review open", "Competitor in the account", "Budget slips a quarter")
_TAGS: Final = ("High Priority", "Partner", "EMEA")
_STATUSES: Final = ("NEW", "PROSPECTING", "ENGAGED", "CUSTOMER")


class Maker:
    """Makes the organization's objects. The same seed and the same calls make the same objects."""

    def __init__(self, seed: int, start: datetime, switches: Switches, stages: tuple[str, ...]) -> None:
        self._random = Random(f"{seed}/data")  # noqa: S311 - reproducible, not secret
        self._switches = switches
        self._stages = stages
        self._start = start
        self._founded = start - HISTORY
        self.users = [self._user(*name) for name in _PEOPLE]
        self.accounts: list[Fields] = []
        enum, text, day = (f"custom_field_{self._uuid()}" for _ in range(3))
        self.custom_fields: dict[str, Fields] = {
            enum: {"name": "Lead Source", "type": "enum", "words": {"outbound": "Outbound", "inbound": "Inbound"}},
            text: {"name": "Incumbent", "type": "string"},
            day: {"name": "Kick-off", "type": "date"},
        }
        """The custom fields of opportunities by key: one of each type that the contract has samples of."""

    def new_id(self, thing: str) -> str:
        """An id of the organization's form."""
        unique = self._uuid()
        return unique if self._switches.ids == "uuid" else f"{_PREFIXES[thing]}_{unique.replace('-', '')[:12]}"

    def stamp(self, moment: datetime) -> str:
        """A moment as the organization writes it."""
        unit = {"s": "seconds", "ms": "milliseconds"}[self._switches.precision]
        return moment.isoformat(timespec=unit).replace("+00:00", "Z")

    def custom_field(self, name: str) -> str:
        """A custom field that an admin adds later; gives its key."""
        key = f"custom_field_{self._uuid()}"
        self.custom_fields[key] = {"name": name, "type": "string"}
        return key

    def account(self) -> Fields:
        """One more account."""
        index = len(self.accounts)
        name = f"{_NAMES[index % len(_NAMES)]} {index // len(_NAMES) + 1}"
        made = self.stamp(self._founded)
        account: Fields = {
            "id": self.new_id("account"),
            "name": name,
            "status": _STATUSES[index % len(_STATUSES)],
            "owner": dict(self.users[index % len(self.users)]),
            "company": {"domain": f"account{index + 1}.example.com", "employee_count": 10 * index + 10},
            "tags": [],
            "created_at": made,
            "updated_at": made,
        }
        self.accounts.append(account)
        return account

    def contact(self, account: Fields) -> Fields:
        """One more person at an account."""
        first, last = _PEOPLE[len(account["name"]) % len(_PEOPLE)]
        return {"id": self.new_id("contact"), "account_id": account["id"], "first_name": first, "last_name": last,
                "created_at": account["created_at"]}  # fmt: skip

    def history(self, count: int) -> Iterator[Fields]:
        """The opportunities that exist when the clock starts, oldest first."""
        for index in range(count):
            created = self._founded + HISTORY * index / max(count, 1)
            age = (self._start - created).total_seconds()
            yield self.opportunity(created, created + timedelta(seconds=age * self._random.random()))

    def opportunity(self, created: datetime, updated: datetime) -> Fields:
        """One more opportunity of one of the accounts; keys without a value are left out."""
        random = self._random
        account = self.accounts[int(random.random() * len(self.accounts))]
        stage = self._stages[int(random.random() * len(self._stages))]
        record: Fields = {
            "id": self.new_id("opportunity"),
            "account_id": account["id"],
            "name": f"{account['name']} {_KINDS[int(random.random() * len(_KINDS))]}",
            "stage": stage,
        }
        if random.random() < 0.95:
            record["owner"] = dict(self.users[int(random.random() * len(self.users))])
        if random.random() < 0.93:
            record["estimated_value"] = self._value()
        day = (created + timedelta(days=30 + int(random.random() * 120))).date().isoformat()
        record["estimated_close_date"] = day
        if stage in self._stages[-2:]:
            record["actual_close_date"] = day
        record |= self._written_by_machine(created)
        if random.random() < 0.3:
            record["notes"] = "Asked for quarterly invoicing."
        if random.random() < 0.4:
            record["tags"] = [_TAGS[int(random.random() * len(_TAGS))]]
        record["created_at"], record["updated_at"] = self.stamp(created), self.stamp(updated)
        for key, value in zip(self.custom_fields, ("outbound", "Initech", day), strict=False):
            if random.random() < 0.6:
                record[key] = value
        return record

    def amount(self, units: Decimal) -> int | Decimal:
        """So many whole units of money as the organization counts them."""
        return int(units * 100) if self._switches.amount_unit == "minor" else units

    def risks(self) -> list[str]:
        """What the machine thinks may go wrong, today."""
        return [_RISKS[int(self._random.random() * len(_RISKS))]]

    # -- inside

    def _value(self) -> Fields:
        random = self._random
        currency, units = "USD", Decimal(int(random.random() * 90_000) + 1_000)
        if random.random() < self._switches.foreign_currency:
            currency = ("EUR", "GBP", "JPY")[int(random.random() * 3)]
        value: dict[str, Any] = {"currency_code": currency, "amount": self.amount(units)}
        if random.random() < self._switches.missing_currency:
            del value["currency_code"]
        return value

    def _written_by_machine(self, created: datetime) -> Fields:
        return {
            "summary": "The champion asked for a revised order form.",
            "risks": self.risks(),
            "last_activity_at": self.stamp(created + timedelta(days=1)),
        }

    def _user(self, first: str, last: str) -> Fields:
        return {"id": self.new_id("user"), "first_name": first, "last_name": last}

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))
