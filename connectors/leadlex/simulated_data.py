"""Simulated data: the people, companies and deals of an invented law firm's workspace, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final
from uuid import UUID

from connectors.leadlex.simulated_switches import Switches
from connectors.simulated_records import Fields
from deals.state import number

WON, LOST = "Closed Won", "Closed Lost"
STAGES: Final = ("Qualification", "Proposal", "Engagement letter", WON, LOST)
"""The stage words of a new workspace: those that the contract names."""

HISTORY: Final = timedelta(days=900)
"""How long the workspace has existed when its clock starts."""

# fmt: off
_PARTIES = ("Harbour", "Quill", "Northmoor", "Ostler", "Pryce", "Vellum", "Kessler", "Brandt", "Oakhurst", "Lindgren")
_MATTERS = ("defence", "appeal", "acquisition", "lease review", "arbitration", "settlement", "due diligence")
_PEOPLE = (("Anna", "Weber"), ("Jonas", "Keller"), ("Leyla", "Demir"), ("Mats", "Holm"), ("Nora", "Fischer"))
_TYPES = ("litigation", "m&a", "employment", "ip")
# fmt: on


class Maker:
    """Makes the workspace's objects. The same seed and the same calls make the same objects."""

    def __init__(self, seed: int, start: datetime, switches: Switches, stages: tuple[str, ...]) -> None:
        self._random = Random(f"{seed}/data")  # noqa: S311 - reproducible, not secret
        self._switches = switches
        self._stages = stages
        self._start = start
        self.founded = start - HISTORY
        self.workspace_id = self.uuid()
        self.users = [
            {"id": self.uuid(), "full_name": f"{first} {last}", "email": f"{first}.{last}@firm.example".lower()}
            for first, last in _PEOPLE
        ]
        self.companies: list[Fields] = []
        self._contacts = [self.uuid() for _ in range(20)]
        self.contacts = [self._contact(one, *_PEOPLE[place % len(_PEOPLE)]) for place, one in enumerate(self._contacts)]

    def uuid(self) -> str:
        """An id as Postgres makes them."""
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def when(self, moment: datetime) -> str:
        """A moment as this workspace writes it: whole seconds and `Z`, or with all its digits."""
        if self._switches.fractions:
            return moment.isoformat(timespec="microseconds")
        return moment.isoformat(timespec="seconds").replace("+00:00", "Z")

    def company(self) -> Fields:
        """One more company."""
        index = len(self.companies)
        name = f"{_PARTIES[index % len(_PARTIES)]} GmbH" + (f" {index // 10 + 1}" if index >= 10 else "")
        company: Fields = {
            "id": self.uuid(),
            "name": name,
            "industry": "Manufacturing",
            "website": None,
            "linkedin_url": None,
            "size": None,
            "domain": f"firm-{index}.example",
            "city": "Munich",
            "country": "DE",
            "tags": [],
            "created_date": self.when(self.founded),
            "updated_date": None,
        }
        self.companies.append(company)
        return company

    def history(self, count: int) -> Iterator[Fields]:
        """The deals that exist when the clock starts, oldest first; two in five were never edited."""
        for index in range(count):
            created = self.founded + HISTORY * index / max(count, 1)
            edited = self._random.random() < 0.6
            age = self._start - created
            yield self.deal(created, created + age * self._random.random() if edited else None)

    def deal(self, created: datetime, updated: datetime | None) -> Fields:
        """One more deal, as a list shows it."""
        random = self._random
        one, other = (_PARTIES[int(random.random() * len(_PARTIES))] for _ in range(2))
        stage = self._stages[int(random.random() * len(self._stages))]
        record: Fields = {
            "id": self.uuid(),
            "name": f"{one} v. {other} - {_MATTERS[int(random.random() * len(_MATTERS))]}",
            **self.staged(stage, min(created + timedelta(days=40), self._start)),
            "pipeline": "Litigation" if random.random() < 0.7 else "Sales",
            "estimated_value": self._value(),
            **self._currency(),
            "main_contact_id": self._contacts[int(random.random() * len(self._contacts))],
            "owner_user_id": self._owner(),
            "related_company_id": self._company(),
            "priority": ("low", "medium", "high", "urgent")[int(random.random() * 4)],
            "matter_type": _TYPES[int(random.random() * len(_TYPES))],
            "fee_model": ("hourly", "fixed", "contingency", "retainer")[int(random.random() * 4)],
            "tags": ["inbound"] if random.random() < 0.5 else [],
            "high_level_description": None,
            "next_follow_up_date": f"{created + timedelta(days=9):%Y-%m-%d}" if random.random() < 0.5 else None,
            "probability": int(random.random() * 20) * 5,
            "created_date": self.when(created),
            "updated_date": None if updated is None else self.when(updated),
        }
        if self._switches.extra_keys:
            record |= {"conflict_check": "passed", "custom_fields": {"Court": "Munich I"}}
        return record

    def staged(self, stage: str, at: datetime) -> Fields:
        """The fields that put a deal into a stage: what it is called, how it stands, when it ended."""
        if stage in self._stages[-2:]:
            status = "won" if stage == self._stages[-2] else "lost"
            return {"stage": stage, "status": status, "closed_date": f"{at:%Y-%m-%d}"}
        return {"stage": stage, "status": "active", "closed_date": None}

    # -- inside

    def _contact(self, contact_id: str, first: str, last: str) -> Fields:
        return {"id": contact_id, "first_name": first, "last_name": last, "full_name": f"{first} {last}",
                "custom_fields": {}, "created_date": self.when(self.founded), "updated_date": None}  # fmt: skip

    def _value(self) -> Any:
        random = self._random
        if random.random() < self._switches.null_value:
            return None
        value = Decimal(int(random.random() * 90_000))
        if random.random() < 0.3:
            value += Decimal(int(random.random() * 100)).scaleb(-2)
        return number(value)

    def _currency(self) -> Fields:
        draw = self._random.random()
        if draw < self._switches.missing_currency:
            return {}
        lower = draw < self._switches.missing_currency + self._switches.lower_currency
        return {"currency": self._switches.currency.lower() if lower else self._switches.currency}

    def _owner(self) -> str | None:
        if self._random.random() < 0.05:
            return None
        return str(self.users[int(self._random.random() * len(self.users))]["id"])

    def _company(self) -> str | None:
        if not self.companies:
            return None
        return str(self.companies[int(self._random.random() * len(self.companies))]["id"])
