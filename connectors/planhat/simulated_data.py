"""Simulated data: the people, companies and deals of an invented Planhat tenant, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from connectors.planhat.simulated_switches import Model, Switches
from connectors.simulated_records import Fields
from connectors.simulation import iso
from deals.state import number

WON, LOST = "Closed Won", "Closed Lost"
"""The two stages that every tenant has and none can rename."""

HISTORY: Final = timedelta(days=720)
"""How long the tenant has existed when its clock starts."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# fmt: off
_FIRST = ("Northwind", "Acme", "Globex", "Initech", "Umbra", "Vela", "Köhler", "Söderberg", "Halcyon", "Red Oak",
          "Blue Harbor", "Lumen", "Castle & Sons", "Orbit", "Pine Street", "Meridian", "Quartz", "Tamarind")
_SECOND = ("Logistics", "Health", "Software", "Foods", "Analytics", "Energy", "Labs", "Bank", "Media", "Robotics",
           "Travel", "Insurance", "Steel", "Studios")
_KIND = ("renewal", "expansion", "new business", "upsell", "pilot", "multi-year renewal")
_PEOPLE = (("Ada", "Nilsson"), ("Bo", "Jansen"), ("Carla", "Mendes"), ("Deniz", "Aydin"), ("Eva", "Horvat"),
           ("Femi", "Okafor"), ("Grace", "Lindqvist"), ("Hugo", "Martin"))
_SOURCES = ("Inbound", "Outbound", "Partner", "Event", "Referral")
_FORECASTS = ("Commit", "Best case", "Pipeline", "Omitted")
_COMMENTS = ("Waiting for procurement; legal has the order form.", "Champion left in spring, new sponsor found.",
             "Asked for quarterly invoicing and a security review.", "Verbal yes, signature expected this month.")
# fmt: on

CUSTOM_TYPES = {
    "Forecast Category": "list",
    "Lead Source": "text",
    "Discount %": "number",
    "Security review done?": "checkbox",
    "Kick-off day": "day",
}
"""The tenant's custom fields by label, with their types; values lie under the label, punctuation included."""


class Maker:
    """Makes the tenant's objects. The same seed and the same calls make the same objects."""

    def __init__(self, seed: int, start: datetime, switches: Switches, model: Model, stages: tuple[str, ...]) -> None:
        self._random = Random(f"{seed}/data")  # noqa: S311 - reproducible, not secret
        self._machine = f"{self._random.getrandbits(40):010x}"
        self._serial = 0
        self._start = start
        self._switches = switches
        self._model = model
        self._stages = stages
        self._open = tuple(stage for stage in stages if stage not in (WON, LOST)) or stages
        self._founded = start - HISTORY
        self.users = [self._user(index, *name) for index, name in enumerate(_PEOPLE)]
        self.companies: list[Fields] = []

    def object_id(self, at: datetime) -> str:
        """An id as MongoDB makes them: seconds, machine, counter; later ones are greater."""
        self._serial += 1
        return f"{int(at.timestamp()):08x}{self._machine}{self._serial & 0xFFFFFF:06x}"

    def company(self, at: datetime | None = None) -> Fields:
        """One more company."""
        index = len(self.companies)
        word, trade = _FIRST[index % len(_FIRST)], _SECOND[(index // len(_FIRST)) % len(_SECOND)]
        round_ = index // (len(_FIRST) * len(_SECOND))
        user = self.users[index % len(self.users)]
        at = at or self._founded
        company = {
            "_id": self.object_id(at),
            "name": f"{word} {trade}" + (f" {round_ + 1}" if round_ else ""),
            "owner": {"_id": user["_id"], "nickName": user["nickName"]},
            "externalId": f"acct-{index + 1}",
            "sourceId": f"001A{index:011d}",
            "phase": "Adoption",
            "status": "customer",
            "custom": {},
            "createdAt": iso(at),
            "updatedAt": iso(at),
        }
        self.companies.append(company)
        return company

    def history(self, count: int) -> Iterator[Fields]:
        """The pipeline objects that exist when the clock starts, oldest first."""
        for index in range(count):
            created = self._founded + HISTORY * index / max(count, 1)
            age = (self._start - created).total_seconds()
            yield self.record(created, created + timedelta(seconds=round(age * self._random.random(), 3)))

    def record(self, created: datetime, updated: datetime) -> Fields:
        """One more deal or opportunity of one of the companies."""
        random = self._random
        record_id = self.object_id(created)
        company = self.companies[int(random.random() * len(self.companies))]
        stage = self._stages[int(random.random() * len(self._stages))]
        record: Fields = {
            "_id": record_id,
            self._model.title: f"{company['name']} {_KIND[int(random.random() * len(_KIND))]}",
            "companyId": company["_id"],
            "companyName": company["name"],
        }
        if random.random() < 0.7:
            record["externalId"] = f"crm-{self._serial}"
        if random.random() < 0.25:
            record["sourceId"] = f"006A{self._serial:011d}"
        if random.random() < 0.96:
            record["ownerId"] = self.users[int(random.random() * len(self.users))]["_id"]
        record |= (
            self._deal(company, stage, created) if self._model.path == "deals" else self._opportunity(stage, created)
        )
        if (currency := self._currency()) is not None:
            record[self._model.currency] = currency
        record["custom"] = self._custom(created)
        record["createdAt"] = iso(created)
        record["updatedAt"] = iso(updated)
        record["__v"] = 0
        return record

    def custom_fields(self) -> list[Fields]:
        """The definitions of the custom fields."""
        return [
            {"_id": self.object_id(self._founded), "name": name, "type": kind, "parent": self._model.parent,
             "isHidden": False, "isFeatured": False, "isLocked": False, "isMandatory": False, "isFormula": False,
             "listValues": list(_FORECASTS) if kind == "list" else []}
            for name, kind in CUSTOM_TYPES.items()
        ]  # fmt: skip

    def enduser(self, company: Fields, index: int) -> Fields:
        """One contact of a company; every fifth is archived."""
        first, last = _PEOPLE[(index * 3) % len(_PEOPLE)]
        return {
            "_id": self.object_id(self._founded),
            "email": f"{first}.{index}@{company['externalId']}.example".lower(),
            "firstName": first,
            "lastName": last,
            "companyId": company["_id"],
            "externalId": f"contact-{index}",
            "position": "Head of Procurement",
            "tags": [],
            "archived": index % 5 == 4,
        }

    # -- inside

    def _user(self, index: int, first: str, last: str) -> Fields:
        """The last one has left: inactive, but still the owner of deals."""
        return {
            "_id": self.object_id(self._founded),
            "email": f"{first}.{last}@vendor.example".lower(),
            "nickName": first,
            "firstName": first,
            "lastName": last,
            "externalId": f"emp-{index + 1}",
            "roles": [],
            "inactive": index == len(_PEOPLE) - 1,
            "isHidden": False,
            "custom": {},
            "createdAt": iso(self._founded),
            "updatedAt": iso(self._founded),
        }

    def _amounts(self) -> tuple[int | Decimal, int | Decimal, int | Decimal, int | Decimal]:
        """mrr, arr, fees and total; most are whole, some have cents."""
        random = self._random
        mrr = Decimal(int(random.random() * 9_000) + 100)
        if random.random() < 0.35:
            mrr += Decimal(int(random.random() * 100)).scaleb(-2)
        fees = Decimal(int(random.random() * 20) * 250)
        years = 1 + int(random.random() * 3)
        return number(mrr), number(mrr * 12), number(fees), number(mrr * 12 * years + fees)

    def _close_date(self, stage: str, created: datetime) -> str | None:
        if stage in (WON, LOST):
            return midnight(min(created + timedelta(days=20 + 100 * self._random.random()), self._start))
        if self._random.random() < 0.05:
            return None
        return midnight(self._start + timedelta(days=5 + 175 * self._random.random()))

    def _deal(self, company: Fields, stage: str, created: datetime) -> Fields:
        mrr, arr, fees, total = self._amounts()
        record: Fields = {
            "stage": stage,
            "followers": [self.users[0]["_id"]],
            "mrr": mrr,
            "arr": arr,
            "total": total,
            "fees": fees,
            "closeDate": self._close_date(stage, created),
            "subscriptionsCount": 0,
            "feesCount": 0,
            "activeSubscriptionsCount": 0,
            "path": [{"id": company["_id"], "model": "Company"}],
        }
        if self._random.random() < 0.6:
            record["comment"] = _COMMENTS[int(self._random.random() * len(_COMMENTS))]
        return record

    def _opportunity(self, stage: str, created: datetime) -> Fields:
        mrr, arr, _, _ = self._amounts()
        status = {WON: "won", LOST: "lost"}.get(stage, "active")
        sales_stage = stage if status == "active" else self._open[int(self._random.random() * len(self._open))]
        return {
            "salesStage": sales_stage,
            "status": status,
            "mrr": mrr,
            "arr": arr,
            "nrr": 0,
            "dealDate": midnight(created),
            "closeDate": self._close_date(stage, created),
            "contractLength": 12,
            "stageHistory": [{"stage": sales_stage, "time": iso(created)}],
        }

    def _currency(self) -> str | None:
        draw = self._random.random()
        if draw < self._switches.missing_currency:
            return None
        if draw < self._switches.missing_currency + self._switches.foreign_currency:
            return ("EUR", "GBP", "JPY")[int(self._random.random() * 3)]
        return "USD"

    def _custom(self, created: datetime) -> Fields:
        random = self._random
        days = (created - _EPOCH).days + 30
        iso_day = midnight(created + timedelta(days=30))
        undefined = random.random() < self._switches.undefined_custom
        return {
            "Forecast Category": _FORECASTS[int(random.random() * len(_FORECASTS))],
            "Lead Source": "undefined" if undefined else _SOURCES[int(random.random() * len(_SOURCES))],
            "Discount %": number(Decimal(int(random.random() * 80)).scaleb(-1) * 5),
            "Security review done?": random.random() < 0.5,
            "Kick-off day": days if self._switches.day_as == "integer" else iso_day,
        }


def midnight(moment: datetime) -> str:
    """The calendar day of a moment as Planhat serves days: midnight UTC."""
    return f"{moment:%Y-%m-%d}T00:00:00.000Z"
