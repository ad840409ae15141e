"""Demo: the main job from end to end on every simulated CRM, over real HTTP in both directions, then the proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Protocol, TypeAlias

import httpx
from sqlalchemy import func, select
from starlette.types import Receive, Scope, Send

from connectors.simulated_sender import Outgoing
from connectors.simulation import SimClock, serve
from pipeline.browse import show_deal
from pipeline.demo_proof import proof
from pipeline.explain import explain
from pipeline.heed import heed, needing
from pipeline.invariants import Check
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import list_parked
from pipeline.sandbox import Sandbox, Tenant
from pipeline.settings import load
from pipeline.store.tables import events, inbox
from pipeline.summary import Summary
from pipeline.sweep import sweep
from pipeline.wiring import App, open_app

BETWEEN = timedelta(hours=1)
"""So long the CRMs live on between two pulls: further than a pull re-reads, which then sees what changed."""

PATIENCE_S = 20.0
"""So long deliveries may take to be heeded."""

UNHURRIED = {"requests_per_minute": 1_000_000, "requests_per_hour": 1_000_000, "requests_per_day": 10_000_000}
"""Nobody else uses these accounts."""

Say: TypeAlias = Callable[[str, Summary | None], None]
"""Told of each step as it happens, with its summary where it has one."""


class Receiver(Protocol):
    """What `dealsync serve` serves: an ASGI application, until it is closed."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        ...

    def close(self) -> None:
        """Commit what was received, then end."""
        ...


@dataclass(slots=True)
class Report:
    """What happened, and whether it can be proven."""

    deals: int = 0
    deleted: int = 0
    events: dict[str, int] = field(default_factory=dict)
    deliveries: dict[str, dict[str, int]] = field(default_factory=dict)
    money: list[tuple[str, str, int, int]] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)
    explained: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    proof: list[Check] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Every check holds."""
        return all(check.ok for check in self.proof)


def run(folder: Path, say: Say, receiver: Callable[[App], Receiver], *, deals: int = 60, seed: int = 1) -> Report:
    """Run the demo in an empty folder, with so many deals in each CRM.

    `money` is (stage, currency, deals, minor units), largest stage first; `deliveries` counts, for each connection,
    the receiver's answers by status; `explained` and `history` are of the deal whose amount swings.
    """
    # They lag behind, so that hours can pass in them until what they send is signed with the present time.
    crms = Sandbox(seed=seed, deals=deals, clock=lambda: SimClock(datetime.now(UTC) - 3 * BETWEEN))
    with ExitStack() as opened:
        base_url = opened.enter_context(serve(crms.app()))
        file = folder / "dealsync.toml"
        file.write_text(f'[store]\nurl = "sqlite:///demo.db"\n{crms.configuration(base_url, **UNHURRIED)}')
        app = opened.enter_context(open_app(load(file, crms.environment())))
        http = opened.enter_context(httpx.Client(timeout=10.0, trust_env=False))
        return _Story(app, crms.tenants, say, http).told(receiver)


@dataclass(slots=True)
class _Story:
    app: App
    crms: Mapping[str, Tenant]
    say: Say
    http: httpx.Client
    swings: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Counter[int]] = field(default_factory=dict)

    def told(self, receiver: Callable[[App], Receiver]) -> Report:
        """The CRMs' history and ours, side by side."""
        for name, crm in self.crms.items():
            self.swings[name] = crm.new_deal(amount=Decimal(100), stage=crm.stages[0])
            self.say(f"{name}: a CRM with {len(crm.ids())} deals answers on loopback", None)
        self._pull_and_publish("first pull, everything")
        self._live_on()
        self._change_the_crms()
        self._pull_and_publish("second pull: edits, a stage move, a deal nobody can map; one amount 100 -> 200")
        self._live_on()
        with closing(receiver(self.app)) as served, serve(served) as url:
            self._told_by_webhook(url)
        for title in ("sweep: what was deleted is missing", "sweep: still missing, and the source denies it"):
            for name in self.crms:
                self.say(f"{name}: {title}", sweep(self.app, name))
        self.say("publish", publish(self.app))
        return self._report()

    def _live_on(self) -> None:
        for crm in self.crms.values():
            crm.clock.advance(BETWEEN)

    def _change_the_crms(self) -> None:
        for name, crm in self.crms.items():
            won, priced, gone, odd, touched = [one for one in crm.ids() if one != self.swings[name]][:5]
            crm.set_stage(won, crm.stages[-2])
            crm.set_amount(priced, Decimal("1234"))
            crm.delete(gone)
            crm.spoil(odd)
            crm.touch(touched)
            crm.set_amount(self.swings[name], Decimal(200))

    def _pull_and_publish(self, title: str) -> None:
        for name in self.crms:
            self.say(f"{name}: {title}", pull(self.app, name))
        self.say("publish", publish(self.app))

    def _told_by_webhook(self, url: str) -> None:
        """The CRMs tell us themselves what people change, twice each time and in no order; one delivery is forged."""
        for name, crm in self.crms.items():
            crm.clock.now = max(crm.clock.now, datetime.now(UTC))
            counted = self.answers[name] = Counter()
            sender = crm.notify(self._poster(f"{url}/webhooks/{name}", counted), duplicate=1.0, shuffle=True)
            crm.set_amount(self.swings[name], Decimal(100))
            crm.set_stage(crm.new_deal(amount=Decimal(5000), stage=crm.stages[0]), crm.stages[-2])
            crm.delete([one for one in crm.ids() if one != self.swings[name]][5])
            sender.run()
            forged = self.http.post(f"{url}/webhooks/{name}", content=b"{}", headers={"content-type": _JSON})
            counted[forged.status_code] += 1
            self._heed(name)
        self.say("publish", publish(self.app))

    def _poster(self, url: str, counted: Counter[int]) -> Callable[[Outgoing], int]:
        def post(outgoing: Outgoing) -> int:
            headers = {"content-type": _JSON, **outgoing.headers}
            status = self.http.post(url, content=outgoing.body, headers=headers).status_code
            counted[status] += 1
            return status

        return post

    def _heed(self, name: str) -> None:
        """Wait until what was delivered has been looked at, by the receiver's own thread or here."""
        total = Summary(run=0, connection=name)
        until = monotonic() + PATIENCE_S
        while name in needing(self.app) and monotonic() < until:
            if (summary := heed(self.app, name)) is None:
                sleep(0.05)
            else:
                total = summary
        told = ", ".join(f"{count} answered {status}" for status, count in sorted(self.answers[name].items()))
        self.say(f"{name}: webhooks, each twice, one forged: {told}", total if total.run else None)

    def _report(self) -> Report:
        report = Report(proof=proof(self.app, self.crms))
        gone = [bool(deal.state["custom"].get("deleted")) for deal in self.app.ledger.deals()]
        report.deals, report.deleted = len(gone), sum(gone)
        report.deliveries = {
            name: {str(status): count for status, count in sorted(counted.items())}
            for name, counted in self.answers.items()
        }
        report.money = _money(self.app)
        report.parked = list(list_parked(self.app))
        name, swing = next(iter(self.swings.items()))
        report.explained = explain(self.app, f"{name}:{swing}")
        report.history = show_deal(self.app, f"{name}:{swing}")["history"]
        with self.app.store.read() as tx:
            counted = select(events.c.event_type, func.count()).group_by(events.c.event_type)
            report.events = {row[0]: row[1] for row in tx.execute(counted)}
            kept = tx.execute(select(func.count()).select_from(inbox)).scalar_one()
        accepted = sum(counted[202] for counted in self.answers.values())
        report.proof.append(Check("1 accepted is kept", kept == accepted, f"{accepted} accepted, {kept} in the inbox"))
        refused = [counted[401] for counted in self.answers.values()]
        report.proof.append(Check("13 a forgery has no effect", refused == [1] * len(refused), f"{refused} refused"))
        return report


_JSON = "application/json"


def _money(app: App) -> list[tuple[str, str, int, int]]:
    count: Counter[tuple[str, str]] = Counter()
    cents: Counter[tuple[str, str]] = Counter()
    for deal in app.ledger.deals():
        if not deal.state["custom"].get("deleted"):
            key = (deal.state["stage"] or "(none)", deal.state["custom"].get("currency", app.settings.ledger.currency))
            count[key] += 1
            cents[key] += deal.state["amount_cents"] or 0
    return sorted(((*key, count[key], cents[key]) for key in count), key=lambda row: -row[3])
