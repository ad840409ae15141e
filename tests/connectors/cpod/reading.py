"""How these tests read a simulated tenant: no sockets, and nobody sleeps."""

from __future__ import annotations

from random import Random
from typing import Any

import httpx

from connectors.cpod.api import CpodReader
from connectors.cpod.options import CpodOptions
from connectors.cpod.simulated_switches import Switches
from connectors.cpod.simulator import CpodSimulator
from connectors.pacing import Timing
from connectors.simulated_crm import SimulatedCrm
from connectors.simulation import SimClock
from connectors.source import Account

_: type[SimulatedCrm] = CpodSimulator

DEALS = "/api/v1/crm/deals"


class Tenant(CpodSimulator):
    """A simulated tenant that can be read and asked."""

    def __init__(self, deals: int = 50, *, seed: int = 0, clock: SimClock | None = None, **switches: Any) -> None:
        super().__init__(seed, deals, clock, switches=Switches(**switches))

    def reader(self, **options: Any) -> CpodReader:
        credentials = options.pop("credentials", self.credentials)
        now = options.pop("now", self.clock.text)
        account = Account(
            name="cpod",
            base_url="https://api.cyberpod.app",
            credentials=credentials,
            options=CpodOptions(**{"page_size": 10, "requests_per_minute": None, **options}),
            fields={},
            now=now,
            transport=self.transport(),
        )
        return CpodReader(account, timing=Timing(self.clock.monotonic, self.clock.sleep, Random(1)))

    def lists_asked(self) -> list[dict[str, str]]:
        """The parameters of the requests for lists of deals so far."""
        return [dict(call.query) for call in self.log if call.path == DEALS and call.method == "GET"]

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request with a token of its own."""
        with httpx.Client(base_url="https://api.cyberpod.app", transport=self.transport()) as client:
            swap = {**self.credentials, "grant_type": "client_credentials"}
            token = client.post("/api/v1/auth/token", json=swap).json()
            bearer = token.get("access_token") or token["accessToken"]
            headers = {"Authorization": f"Bearer {bearer}", **options.pop("headers", {})}
            return client.request(method, path, headers=headers, **options)
