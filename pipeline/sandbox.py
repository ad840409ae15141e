"""Sandbox: the simulated CRMs of all sources behind one address, so that anybody can try without an account."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from connectors.registry import sources
from connectors.simulation import asgi

TOKEN = "sandbox"  # noqa: S105 - published on purpose: the sandbox holds nothing


def sandbox_app(*, seed: int = 1, deals: int = 500) -> Any:
    """An ASGI application with each source's simulator under its name: `/planhat/deals` and so on.

    The vendors' own write verbs work too: change a deal with `PUT /planhat/deals/{id}` and pull again.
    """
    simulators = {name: source.simulator(seed=seed, deals=deals, token=TOKEN) for name, source in sources().items()}
    return Starlette(routes=[Mount(f"/{name}", app=asgi(simulator)) for name, simulator in simulators.items()])
