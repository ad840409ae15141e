"""Planhat: deals, or opportunities of tenants without the 2026 revenue models (contracts/planhat.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.planhat.api import PlanhatReader
from connectors.planhat.options import PlanhatOptions
from connectors.planhat.webhook import WEBHOOKS
from connectors.source import Promises, Source

if TYPE_CHECKING:
    from connectors.simulated_crm import SimulatedCrm


def _simulator(*args: Any, **settings: Any) -> SimulatedCrm:
    """Imported when it is asked for: a simulated server needs more than a reader does."""
    from connectors.planhat.simulator import PlanhatSimulator

    return PlanhatSimulator(*args, **settings)


SOURCE = Source(
    name="planhat",
    kinds=("deals", "opportunities"),
    options=PlanhatOptions,
    credentials=(("token",),),
    open=PlanhatReader,
    promises=Promises(
        cursor="the newest updatedAt of a walk that came to its end; verified order, 10 minutes read again",
        delete_signal="none",
        limits="200 requests a minute, 2000 rows a page (clamped silently)",
        changes_silently=("deletes", "cascades of a deleted company", "restores", "recomputed amounts"),
    ),
    webhooks=WEBHOOKS,
    simulator=_simulator,
    references={
        "users": "who may own a deal, by id; inactive ones too",
        "companies": "whom deals belong to, by id: name, external_id, source_id, phase, status",
    },
)
