"""How these tests read a simulated workspace: no sockets, and nobody sleeps."""

from __future__ import annotations

from random import Random
from typing import Any

import httpx

from connectors.leadlex.api import LeadlexReader
from connectors.leadlex.options import LeadlexOptions
from connectors.leadlex.simulated_switches import Switches
from connectors.leadlex.simulator import PREFIX, TOKEN, LeadlexSimulator
from connectors.pacing import Timing
from connectors.simulated_crm import SimulatedCrm
from connectors.simulation import SimClock
from connectors.source import Account, Known, nothing_known

_: type[SimulatedCrm] = LeadlexSimulator

BASE_URL = f"https://data.leadlex.com/{'/'.join(PREFIX)}"
CLAIMED = frozenset({"id", "name", "stage", "status", "estimated_value", "currency", "owner_user_id"})
UNLIMITED = {"requests_per_minute": 1_000_000, "requests_per_day": 10_000_000}


class Tenant(LeadlexSimulator):
    """A small simulated workspace that can be read and asked."""

    def __init__(self, deals: int = 30, *, seed: int = 0, clock: SimClock | None = None, **switches: Any) -> None:
        super().__init__(seed, deals, clock, switches=Switches(**{"date_header": True, **switches}))

    def reader(
        self,
        *,
        claimed: frozenset[str] = CLAIMED,
        limited: bool = False,
        known: Known = nothing_known,
        **options: Any,
    ) -> LeadlexReader:
        """A reader with pages of ten; without limits of its own, unless they are what is tried."""
        account = Account(
            name="firm",
            base_url=BASE_URL,
            credentials={"token": options.pop("token", TOKEN)},
            options=LeadlexOptions(**{"page_size": 10, **({} if limited else UNLIMITED), **options}),
            fields={"deals": claimed},
            now=self.clock.text,
            transport=self.transport(),
            known=known,
        )
        return LeadlexReader(account, timing=Timing(self.clock.monotonic, self.clock.sleep, Random(1)))

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with the key, as anybody's program sends it."""
        with httpx.Client(base_url=BASE_URL, transport=self.transport()) as client:
            headers = {"Authorization": f"Bearer {TOKEN}", **options.pop("headers", {})}
            return client.request(method, path, headers=headers, **options)

    def listed(self, **query: Any) -> list[str]:
        """The ids that a list shows on one page."""
        answer = self.ask("GET", "/v1/deals", params={"per_page": 100, **query})
        assert answer.status_code == 200, answer.text
        return [deal["id"] for deal in answer.json()["data"]["deals"]]

    @property
    def asked(self) -> int:
        """How many requests there were so far."""
        return len(self.log)
