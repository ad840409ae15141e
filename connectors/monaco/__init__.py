"""Monaco: opportunities, read only (contracts/monaco.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.monaco.api import MonacoReader
from connectors.monaco.options import MonacoOptions
from connectors.monaco.webhook import WEBHOOKS
from connectors.source import Promises, Source

if TYPE_CHECKING:
    from connectors.simulated_crm import SimulatedCrm


def _simulator(*args: Any, **settings: Any) -> SimulatedCrm:
    """Imported when it is asked for: a simulated server needs more than a reader does."""
    from connectors.monaco.simulator import MonacoSimulator

    return MonacoSimulator(*args, **settings)


SOURCE = Source(
    name="monaco",
    kinds=("opportunities",),
    options=MonacoOptions,
    credentials=(("token",),),
    open=MonacoReader,
    promises=Promises(
        cursor="the newest updated_at of a read that came to its end, 10 minutes read again; or everything each time",
        delete_signal="none",
        limits="1000 requests an hour for the whole organization, 500 rows a page",
        changes_silently=("deletes", "merged accounts", "names of owners", "names of tags", "what the machine writes"),
    ),
    webhooks=WEBHOOKS,
    simulator=_simulator,
    references={
        "accounts": "what an opportunity belongs to, by id: name, domain and status",
        "users": "who may own an opportunity, by id: names only, since Monaco shows no e-mail address",
        "choices": "what people are shown for the choices of each custom field, by the field's key",
    },
    shows_emails=False,
)
