"""cPod, also called CyberPod: the deals of its CRM domain (contracts/cpod.md)."""

from __future__ import annotations

from typing import Any

from connectors.cpod.api import CpodReader
from connectors.cpod.options import CpodOptions
from connectors.cpod.webhook import WEBHOOKS
from connectors.source import Promises, Source


def _simulator(*args: Any, **settings: Any) -> Any:
    """Imported when it is asked for: a simulated server needs more than a reader does."""
    from connectors.cpod.simulator import CpodSimulator

    return CpodSimulator(*args, **settings)


SOURCE = Source(
    name="cpod",
    kinds=("deals",),
    options=CpodOptions,
    credentials=(("client_id", "client_secret"), ("token",)),
    open=CpodReader,
    promises=Promises(
        cursor="a full read each time, resumed at any page; by updated_at only where a parameter is set and verified",
        delete_signal="tombstone",
        limits="60 requests a minute, 500 rows a page, cursors that live for an hour",
        changes_silently=(
            "a loss of rights looks like deletes",
            "a client of an application sees its own records only",
        ),
    ),
    webhooks=WEBHOOKS,
    simulator=_simulator,
    references={
        "accounts": "the companies that deals belong to, by id: name, domain, lifecycle_stage",
        "contacts": "the people at those companies, by id: display_name",
        "users": "who may own a deal, by id: name, email",
        "quotes": "the primary quote of each deal, by the deal's id: id, value, currency, status",
        "line_items": "the line items of each deal summed up, by the deal's id: count, total",
    },
)
