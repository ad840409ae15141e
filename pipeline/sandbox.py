"""Sandbox: the simulated CRMs of all sources behind one address, so that anybody can try without an account."""

from __future__ import annotations

from typing import Any

from connectors.registry import sources
from starlette.applications import Starlette
from starlette.routing import Mount

from connectors.simulation import asgi

TOKEN = "sandbox"  # noqa: S105 - published on purpose: the sandbox holds nothing
PORT = 8790


def sandbox_app(*, seed: int = 1, deals: int = 500) -> Any:
    """An ASGI application with each source's simulator under its name: `/planhat/deals` and so on.

    The vendors' own write verbs work too: change a deal with `PUT /planhat/deals/{id}` and pull again.
    """
    mounts = []
    for name, source in sorted(sources().items()):
        simulator = source.simulator(seed=seed, deals=deals)
        simulator.switches.token = TOKEN
        mounts.append(Mount(f"/{name}", app=asgi(simulator)))
    return Starlette(routes=mounts)
