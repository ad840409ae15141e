"""Sandbox: the simulated CRMs of all sources behind one address, so that anybody can try without an account."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.routing import Mount

from connectors.registry import sources
from connectors.simulated_crm import SimulatedCrm
from connectors.simulation import SimClock, asgi
from pipeline.sandbox_control import control

_BEAT_S = 0.5


class Tenant(SimulatedCrm, Protocol):
    """A simulated CRM that is served to several at once."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Nobody else sees or changes it meanwhile."""
        ...

    def settle(self) -> None:
        """Deliveries that have become due leave."""
        ...


class WallClock(SimClock):
    """The machine's own clock, ahead of it by as much as somebody has moved it."""

    def __init__(self) -> None:
        self._ahead = timedelta()
        super().__init__(datetime.now(UTC), tick=timedelta())

    @property
    def now(self) -> datetime:
        """The moment it shows."""
        return datetime.now(UTC) + self._ahead

    @now.setter
    def now(self, moment: datetime) -> None:
        """Somebody moves it; it never shows less than the machine's."""
        self._ahead = max(moment - datetime.now(UTC), timedelta())


class Sandbox:
    """One simulated tenant a source, each with a clock of its own, which follows the machine's if no other is given.

    From `begin` until it is closed, deliveries that wait for their next attempt leave when they are due.
    """

    def __init__(self, *, seed: int = 1, deals: int = 500, clock: Callable[[], SimClock] = WallClock) -> None:
        self.tenants: Mapping[str, Tenant] = {
            name: source.simulator(seed=seed, deals=deals, clock=clock()) for name, source in sources().items()
        }
        self._closed = Event()

    def begin(self) -> None:
        """Send from now on what becomes due, whoever asks or does not ask."""
        Thread(target=self._beat, name="sandbox", daemon=True).start()

    def app(self) -> Starlette:
        """Each source's API under its name (`/planhat/deals` and so on), and `/control` to play the CRM's people."""
        routes = [Mount(f"/{name}", app=asgi(tenant)) for name, tenant in self.tenants.items()]  # type: ignore[arg-type]
        return Starlette(routes=[*routes, Mount("/control", app=control(self.tenants))])

    def close(self) -> None:
        """Nothing is sent any more."""
        self._closed.set()

    def environment(self) -> dict[str, str]:
        """The variables that the configuration refers to, with what they must hold."""
        return {
            _variable(name, key): value
            for name, tenant in self.tenants.items()
            for key, value in (*tenant.credentials.items(), ("hook_secret", tenant.webhook_secret))
        }

    def configuration(self, base_url: str, **options: Any) -> str:
        """A `dealsync.toml` with a connection a source, for a sandbox that listens at this address. `options` are
        those of every connection, where the tenant needs no others."""
        lines: list[str] = []
        for name, tenant in self.tenants.items():
            lines += [f"[connections.{name}]", f'source = "{name}"', f'base_url = "{base_url}/{name}"']
            lines += [f'{key} = {{ env = "{_variable(name, key)}" }}' for key in tenant.credentials]
            lines += ['default_currency = "USD"', f"[connections.{name}.webhook]"]
            lines += [f'secrets = [{{ env = "{_variable(name, "hook_secret")}" }}]']
            if fitting := {**options, **tenant.options}:
                lines += [f"[connections.{name}.options]"]
                lines += [f"{key} = {json.dumps(value)}" for key, value in fitting.items()]
            lines.append("")
        return "\n".join(lines)

    def _beat(self) -> None:
        while not self._closed.wait(_BEAT_S):
            for tenant in self.tenants.values():
                tenant.settle()


def _variable(source: str, key: str) -> str:
    return f"{source}_{key}".upper()
