"""LeadLex: deals of law firms, prospective matters (contracts/leadlex.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.leadlex.api import LeadlexReader
from connectors.leadlex.options import LeadlexOptions
from connectors.leadlex.webhook import WEBHOOKS
from connectors.source import Promises, Source

if TYPE_CHECKING:
    from connectors.simulated_crm import SimulatedCrm


def _simulator(*args: Any, **settings: Any) -> SimulatedCrm:
    """Imported when it is asked for: a simulated server needs more than a reader does."""
    from connectors.leadlex.simulator import LeadlexSimulator

    return LeadlexSimulator(*args, **settings)


SOURCE = Source(
    name="leadlex",
    kinds=("deals",),
    options=LeadlexOptions,
    credentials=(("token",),),
    open=LeadlexReader,
    promises=Promises(
        cursor="LeadLex's own time when two walks began that came to their end; 10 minutes read again",
        delete_signal="none",
        limits="by plan 10, 50 or 200 requests a minute and 100, 1,000 or 10,000 a day; 100 rows a page",
        changes_silently=("deletes", "deals created with a date in the past, until they are edited"),
    ),
    webhooks=WEBHOOKS,
    simulator=_simulator,
    references={
        "users": "who may own a deal, by id; whoever has left is missing",
        "companies": "whom a deal is for, by id",
    },
)
