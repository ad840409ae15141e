"""Acme: a vendor nobody has heard of, to show that a folder and a table are a source (see docs/writing-a-source.md).

It lies where no source is looked for: `tests/e2e/test_adding_a_source.py` puts it where one is.
"""

from __future__ import annotations

from typing import Any

from connectors.acme.api import AcmeReader
from connectors.acme.options import AcmeOptions
from connectors.acme.webhook import WEBHOOKS
from connectors.source import Promises, Source


def _simulator(*args: Any, **settings: Any) -> Any:
    """Imported when it is asked for: a simulated server needs more than a reader does."""
    from connectors.acme.simulator import AcmeSimulator

    return AcmeSimulator(*args, **settings)


SOURCE = Source(
    name="acme",
    kinds=("deals",),
    options=AcmeOptions,
    credentials=(("token",),),
    open=AcmeReader,
    promises=Promises(
        cursor="the number of the last change that was read; numbers are given in the order of commits",
        delete_signal="tombstone",
        limits="60 requests a minute, 200 rows a page",
        changes_silently=("nothing that the contract knows of",),
    ),
    webhooks=WEBHOOKS,
    simulator=_simulator,
    references={"users": "who may own a deal, by id: name, email"},
)
