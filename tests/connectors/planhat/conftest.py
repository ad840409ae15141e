"""How the tests of this folder ask a simulated tenant."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from connectors.planhat.simulated_switches import Switches
from connectors.planhat.simulator import PlanhatSimulator


class Asked(PlanhatSimulator):
    """A small simulated tenant with a client at its API; numbers are read as int or Decimal."""

    def client(self, **options: Any) -> httpx.Client:
        options = {"base_url": "https://api.planhat.com", "headers": {"Authorization": "Bearer sandbox"}} | options
        return httpx.Client(transport=self.transport(), **options)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self.client() as client:
            return client.request(method, path, **options)

    def read(self, path: str, **query: Any) -> Any:
        answer = self.ask("GET", path, params=query)
        assert answer.status_code == 200, answer.text
        return json.loads(answer.content, parse_float=Decimal)

    def list_ids(self, **query: Any) -> list[str]:
        return [row["_id"] for row in self.read("/deals", **query)]


@pytest.fixture
def tenant() -> Callable[..., Asked]:
    """Makes a tenant; keyword arguments are switches, but for the number of deals and the clock."""

    def make(deals: int = 20, clock: Any = None, seed: int = 0, **switches: Any) -> Asked:
        return Asked(seed, deals, clock, switches=Switches(**switches))

    return make
