"""Simulated data: the people, accounts, deals and quotes of an invented cPod tenant, all drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Final

from connectors.cpod.simulated_switches import Switches
from connectors.simulated_records import Fields, encode
from deals.state import number

OPEN: Final = ("lead", "qualified", "proposal", "negotiation")
WON, LOST = "closed_won", "closed_lost"
STAGES: Final = (*OPEN, WON, LOST)
"""The stage words of a new tenant: only the last two are certain (section 6)."""

HISTORY: Final = timedelta(days=540)
"""How long the tenant has existed when its clock starts."""

SUBJECT: Final = "per_00000000000000000000000001"
"""The Person id of whoever the credentials stand for."""

TENANT: Final = "simulated"

# fmt: off
_FIRST = ("Northwind", "Acme", "Globex", "Initech", "Umbra", "Vela", "Köhler", "Halcyon", "Red Oak", "Lumen")
_SECOND = ("Logistics", "Health", "Software", "Foods", "Energy", "Labs", "Bank", "Media", "Steel", "Studios")
_WHAT = ("renewal", "expansion", "new business", "pilot", "RFP response")
_PEOPLE = (("Ada", "Nilsson"), ("Bo", "Jansen"), ("Carla", "Mendes"), ("Deniz", "Aydin"), ("Eva", "Horvat"),
           ("Femi", "Okafor"))
_SOURCES = ("inbound", "rfp", "referral", "outbound")
_FORECASTS = ("commit", "best_case", "pipeline", "omitted")
_TYPES = ("new_business", "renewal", "expansion")
_REASONS = (("price", "commercial"), ("no_decision", "timing"), ("feature_gap", "product"))
_BIDS = ("go", "no_go", "pending")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
# fmt: on


def stamp(moment: datetime) -> str:
    """A moment as the vendor's samples write it: UTC to the second, with a fraction where there is one."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


class Maker:
    """Makes the tenant's objects. The same seed and the same calls make the same objects."""

    def __init__(self, seed: int, start: datetime, switches: Switches, stages: tuple[str, ...]) -> None:
        self._random = Random(f"{seed}/data")  # noqa: S311 - reproducible, not secret
        self._serial = 0
        self._start = start
        self._founded = start - HISTORY
        self._switches = switches
        self._stages = stages
        self.users = [self._user(*name) for name in _PEOPLE]
        self.persons = [self._person(user) for user in self.users]
        self.accounts: list[Fields] = []

    def new_id(self, prefix: str, at: datetime) -> str:
        """An id in the tenant's style; later ones are greater, so the order by id is the order of creation."""
        self._serial += 1
        milliseconds, serial, noise = int(at.timestamp() * 1000), self._serial, self._random.getrandbits(48)
        if self._switches.ids == "deal_ulid":
            value = milliseconds << 80 | serial << 48 | noise
            return f"{prefix}_" + "".join(_CROCKFORD[value >> shift & 31] for shift in range(125, -1, -5))
        digits = f"{milliseconds:012x}7{serial >> 12 & 0xFFF:03x}8{serial & 0xFFF:03x}{noise:012x}"
        uuid = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        return uuid if self._switches.ids == "uuid" else f"{prefix}-{uuid}"

    def account(self, at: datetime | None = None) -> Fields:
        """One more account."""
        index, at = len(self.accounts), at or self._founded
        name = f"{_FIRST[index % len(_FIRST)]} {_SECOND[index // len(_FIRST) % len(_SECOND)]}"
        account = self._common("acc", at) | {
            "name": name if index < 100 else f"{name} {index // 100 + 1}",
            "legal_name": f"{name} Inc.",
            "domain": f"account{index + 1}.example",
            "owner_id": self.users[index % len(self.users)]["id"],
            "lifecycle_stage": ("prospect", "customer", "churned")[index % 3],
            "annual_revenue": 1_000_000 + 250_000 * (index % 40),
            "health_score": 40 + index % 60,
            "custom_fields": {},
            "tags": [],
            "version": 1,
        }
        self.accounts.append(account)
        return account

    def contact(self, account: Fields, index: int) -> Fields:
        """One contact of an account; every third has names only."""
        first, last = _PEOPLE[index % len(_PEOPLE)]
        return self._common("con", self._founded) | {
            "account_id": account["id"],
            "first_name": first,
            "last_name": last,
            "display_name": "" if index % 3 == 2 else f"{first} {last}",
            "email": f"{first}.{index}@{account['domain']}".lower(),
            "decision_role": "champion",
            "is_primary": True,
            "version": 1,
        }

    def quotes(self, deal: Fields, at: datetime) -> list[Fields]:
        """The primary quote of a deal and an older offer."""
        worth = deal["value"] if isinstance(deal["value"], int | Decimal) else 0
        return [
            self._common("quo", at)
            | {"deal_id": deal["id"], "value": value, "currency": deal["currency"], "status": status}
            | {"is_primary": primary, "version": 1}
            for value, status, primary in ((worth, "sent", True), (number(Decimal(worth) * 2), "expired", False))
        ]

    def line_items(self, deal: Fields, at: datetime) -> list[Fields]:
        """Two line items of a deal, one with its total, one to be multiplied out."""
        common = {"deal_id": deal["id"], "version": 1}
        platform = {"description": "Platform", "quantity": 1, "unit_price": 900, "total": Decimal("899.90")}
        seats = {"description": "Seats", "quantity": 3, "unit_price": Decimal("33.37")}
        return [self._common("lin", at) | common | fields for fields in (platform, seats)]

    def history(self, count: int) -> Iterator[Fields]:
        """The deals that exist when the clock starts, oldest first."""
        for index in range(count):
            created = self._founded + HISTORY * index / max(count, 1)
            age = (self._start - created).total_seconds()
            yield self.deal(created, created + timedelta(seconds=round(age * self._random.random(), 3)))

    def deal(self, created: datetime, updated: datetime) -> Fields:
        """One more deal of one of the accounts."""
        draw, switches = self._random.random, self._switches
        stage = self._stages[int(draw() * len(self._stages))]
        account = self.accounts[int(draw() * len(self.accounts))]
        closed = stage in self._stages[-2:]
        value = Decimal(int(draw() * 900_00) * 100 + 500_00).scaleb(-2)
        if draw() < 0.35:
            value += Decimal(int(draw() * 100)).scaleb(-2)
        deal = self._common("deal", created) | {
            "updated_at": stamp(updated),
            "account_id": account["id"],
            "owner_id": self.users[int(draw() * len(self.users))]["id"] if draw() < 0.96 else None,
            "name": f"{account['name']} {_WHAT[int(draw() * len(_WHAT))]}",
            "deal_number": f"DEAL-{created.year}-{self._serial:05d}",
            "pipeline_id": None,
            "stage": stage,
            "value": self.money(value),
            "currency": self._currency(),
            "probability": 100 if stage == WON else 0 if closed else 10 + 10 * int(draw() * 8),
            "forecast_category": _FORECASTS[int(draw() * len(_FORECASTS))],
            "expected_close_date": f"{created + timedelta(days=30 + 90 * draw()):%Y-%m-%d}",
            "actual_close_date": stamp(updated) if closed else None,
            "deal_type": _TYPES[int(draw() * len(_TYPES))],
            "deal_source": _SOURCES[int(draw() * len(_SOURCES))],
            "competitors": ["Initrode"] if draw() < 0.2 else [],
            "tags": ["renewal"] if draw() < 0.3 else [],
            "custom_fields": {"risk_score": int(draw() * 10), "bid_decision": _BIDS[int(draw() * len(_BIDS))]},
            "audit_log": [],
            "version": 1 + int(draw() * 9),
        }
        if stage == self._stages[-1]:
            deal["loss_reason"], deal["loss_category"] = _REASONS[int(draw() * len(_REASONS))]
        if not switches.audit_log:
            del deal["audit_log"]
        return self.rendered(deal)

    def money(self, value: Decimal | int | None) -> int | Decimal | str | None:
        """An amount as this tenant writes it."""
        if value is None:
            return None
        return f"{value:.2f}" if self._switches.money_as_text else number(Decimal(value))

    def rendered(self, deal: Fields) -> Fields:
        """The deal with its json-typed fields as this tenant writes them."""
        if not self._switches.quoted_json:
            return deal
        names = {"custom_fields", "tags", "competitors", "contact_ids", "audit_log"} & deal.keys()
        quoted = {name: encode(deal[name]).decode() for name in names if not isinstance(deal[name], str)}
        return deal | quoted

    # -- inside

    def _common(self, prefix: str, at: datetime) -> Fields:
        return {
            "id": self.new_id(prefix, at),
            "tenant_id": TENANT,
            "created_at": stamp(at),
            "updated_at": stamp(at),
            "created_by": self.persons[int(self._random.random() * len(self.persons))]["id"],
            "updated_by": self.persons[0]["id"],
            "source": "edm",
            "source_type": "frontend",
            "is_deleted": False,
            "deleted_at": None,
            "deleted_by": None,
            "schema_version": 1,
        }

    def _user(self, first: str, last: str) -> Fields:
        return {
            "id": self.new_id("usr", self._founded),
            "email": f"{first}.{last}@vendor.example".lower(),
            "display_name": f"{first} {last}",
            "role": "member",
            "status": "active",
        }

    def _person(self, user: Fields) -> Fields:
        first, _, last = user["display_name"].partition(" ")
        names = {"first_name": first, "last_name": last, "display_name": user["display_name"]}
        person_id = self.new_id("per", self._founded)
        return {"id": person_id, "email": user["email"], "external_id": user["id"], **names}

    def _currency(self) -> str | None:
        draw = self._random.random()
        if draw < self._switches.missing_currency:
            return None
        if draw < self._switches.missing_currency + self._switches.foreign_currency:
            return ("EUR", "GBP", "JPY")[int(self._random.random() * 3)]
        return "USD"
