"""Deliveries of a simulated CRM put into the inbox as the receiver would, without a server between them."""

from __future__ import annotations

import time
from collections import Counter

from sqlalchemy import text

from connectors.planhat.simulator import PlanhatSimulator
from connectors.simulated_sender import Outgoing, Post, Sender
from pipeline.receive import Unproven, doors
from pipeline.store import inbox
from pipeline.wiring import App
from tests.pipeline.world import NAME, TOKEN

WEBHOOK = f"""\
[connections.{NAME}.webhook]
secrets = [{{ env = "PLANHAT_TOKEN" }}]
"""
"""The hook's secret is the token's: a test's environment has no other."""


def receiving(app: App) -> Post:
    """Takes an attempt to the inbox and answers as the server does."""
    door = doors(app)[NAME]

    def post(attempt: Outgoing) -> int:
        headers = [(name.lower().encode(), value.encode()) for name, value in attempt.headers.items()]
        try:
            delivery = door.admit(headers, attempt.body, time.time())
        except Unproven:
            return 401
        with app.store.write() as tx:
            return 202 if inbox.put(tx, [delivery]) else 200

    return post


def automated(app: App, crm: PlanhatSimulator) -> Sender:
    """An automation that delivers whatever is written from now on."""
    return crm.automate(receiving(app), headers=lambda: {"X-Planhat-Secret": TOKEN})


def deliver(app: App, body: str | bytes) -> int:
    """One delivery with the right secret; the status it is answered with."""
    data = body.encode() if isinstance(body, str) else body
    return receiving(app)(Outgoing({"X-Planhat-Secret": TOKEN}, data))


def saying(source_id: str, op: str = "update", updated_at: str = "undefined") -> str:
    """What our template makes of one write."""
    return f'{{"v":1,"tenant":"t","model":"Deal","op":"{op}","id":"{source_id}","updatedAt":"{updated_at}"}}'


def time_passes(app: App) -> None:
    """Whatever is put off is due now."""
    with app.store.write() as tx:
        tx.execute(text("UPDATE hints SET due_at = '2000-01-01T00:00:00.000Z'"))


def states(app: App) -> Counter[str]:
    """How many deliveries are in which state."""
    with app.store.read() as tx:
        return Counter(tx.execute(text("SELECT state FROM inbox")).scalars())


def hinted(app: App) -> list[str]:
    """The records that are to be looked at."""
    with app.store.read() as tx:
        return sorted(tx.execute(text("SELECT source_id FROM hints")).scalars())


def gets(crm: PlanhatSimulator, source_id: str) -> int:
    """How often a record was asked for by its id."""
    return sum(call.path.endswith(f"/{source_id}") for call in crm.log)
