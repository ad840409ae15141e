"""How the tests of the reader read a simulated organization: no sockets, and nobody sleeps."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import httpx
import msgspec

from connectors.monaco.api import MonacoReader
from connectors.monaco.options import MonacoOptions
from connectors.monaco.simulated_switches import Switches
from connectors.monaco.simulator import TOKEN, MonacoSimulator
from connectors.pacing import Timing
from connectors.simulated_wire import Request
from connectors.simulation import SimClock
from connectors.source import Account, Known, nothing_known

FIELDS = frozenset(
    {"id", "name", "account_id", "stage", "estimated_value", "estimated_close_date", "actual_close_date", "owner"}
)


class Organization(MonacoSimulator):
    """A simulated organization that can be read, and remembers the list requests it was sent."""

    def __init__(self, deals: int = 50, *, seed: int = 0, clock: SimClock | None = None, **switches: Any) -> None:
        super().__init__(seed, deals, clock, switches=Switches(**switches))
        self.asked: list[dict[str, Any]] = []
        self.meddle: Callable[[int], None] = lambda _: None
        self.before_list = self._heard

    def _heard(self, request: Request) -> None:
        self.asked.append(msgspec.json.decode(request.body))
        self.meddle(len(self.asked))

    def reader(self, **options: Any) -> MonacoReader:
        return open_reader(self.transport(), self.clock, **options)

    @property
    def sorts(self) -> list[str]:
        """How the list requests so far were sorted, and whether filtered."""
        return [f"{body['sort']}{' filtered' if body['filters'] else ''}" for body in self.asked]

    def paths(self) -> list[str]:
        return [f"{call.method} {call.path} {call.status}" for call in self.log]


def open_reader(
    transport: httpx.BaseTransport,
    clock: SimClock | None = None,
    *,
    fields: frozenset[str] = FIELDS,
    token: str = TOKEN,
    base_url: str = "https://api.monaco.com",
    give_up_after_s: float = 30.0,
    known: Known = nothing_known,
    **options: Any,
) -> MonacoReader:
    clock = clock or SimClock()
    account = Account(
        name="monaco",
        base_url=base_url,
        credentials={"token": token},
        options=MonacoOptions(**{"amount_unit": "minor", "page_size": 20, **options}),
        fields={"opportunities": fields},
        now=clock.text,
        transport=transport,
        give_up_after_s=give_up_after_s,
        known=known,
    )
    return MonacoReader(account, timing=Timing(clock.monotonic, clock.sleep, Random(1)))
