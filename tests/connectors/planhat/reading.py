"""How the tests of the reader read a simulated tenant: no sockets, and nobody sleeps."""

from __future__ import annotations

from random import Random
from typing import Any

import httpx

from connectors.pacing import Timing
from connectors.planhat.api import PlanhatReader
from connectors.planhat.options import PlanhatOptions
from connectors.planhat.simulated_switches import Switches
from connectors.planhat.simulator import TOKEN, PlanhatSimulator
from connectors.simulation import SimClock
from connectors.source import Account, Known, nothing_known

FIELDS = {
    "deals": frozenset({"_id", "name", "stage", "total", "currency", "closeDate", "ownerId", "custom"}),
    "opportunities": frozenset({"_id", "title", "arr", "_currency", "status", "salesStage", "closeDate", "ownerId"}),
}


class Tenant(PlanhatSimulator):
    """A simulated tenant that can be read."""

    def __init__(self, deals: int = 50, *, seed: int = 0, clock: SimClock | None = None, **switches: Any) -> None:
        super().__init__(seed, deals, clock, switches=Switches(**switches))

    def reader(self, **options: Any) -> PlanhatReader:
        return open_reader(self.transport(), self.clock, **options)

    @property
    def lists_asked(self) -> list[str]:
        """The sorts of the list requests so far."""
        return [call.query["sort"] for call in self.log if call.path in ("/deals", "/opportunities")]


def open_reader(
    transport: httpx.BaseTransport,
    clock: SimClock | None = None,
    *,
    fields: dict[str, frozenset[str]] | None = None,
    token: str = TOKEN,
    base_url: str = "https://api.planhat.com",
    known: Known = nothing_known,
    **options: Any,
) -> PlanhatReader:
    clock = clock or SimClock()
    account = Account(
        name="planhat-eu",
        base_url=base_url,
        credentials={"token": token},
        options=PlanhatOptions(**{"page_size": 10, "page_overlap": 3, **options}),
        fields=FIELDS if fields is None else fields,
        now=clock.text,
        transport=transport,
        known=known,
    )
    return PlanhatReader(account, timing=Timing(clock.monotonic, clock.sleep, Random(1)))


def both(deals: PlanhatSimulator, opportunities: PlanhatSimulator) -> httpx.BaseTransport:
    """A tenant that has both models."""
    sides = {"deals": deals.transport(), "opportunities": opportunities.transport(), "customfields": deals.transport()}
    return httpx.MockTransport(lambda request: sides[request.url.path.split("/")[1]].handle_request(request))
