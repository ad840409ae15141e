"""Demo: the main job from end to end on a simulated CRM that is served over loopback, then the proof that it worked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from connectors.registry import source
from connectors.simulation import asgi, serve
from deals.identity import canonical, state_bytes
from mappings.outcome import Mapped
from pipeline.browse import show_deal
from pipeline.explain import explain
from pipeline.invariants import Check, doctor
from pipeline.ledger_tools import verify
from pipeline.publish import publish
from pipeline.pull import pull
from pipeline.redrive import list_parked
from pipeline.sandbox import TOKEN
from pipeline.settings import load
from pipeline.store.tables import events, outbox, receipts
from pipeline.summary import Summary
from pipeline.sweep import sweep
from pipeline.wiring import App, open_app

NAME = "planhat-demo"
CONFIG = """\
[store]
url = "sqlite:///demo.db"
[connections.{name}]
source = "planhat"
base_url = "{base_url}"
token = {{ env = "DEALSYNC_DEMO_TOKEN" }}
default_currency = "USD"
[connections.{name}.options]
page_size = 25
page_overlap = 2
"""

BETWEEN = timedelta(hours=1)
"""So long the CRM lives on between two syncs: further than a pull re-reads, which then sees what changed."""

Say = Callable[[str, Summary | None], None]
"""Told of each step as it happens, with its summary where it has one."""


@dataclass(slots=True)
class Report:
    """What happened, and whether it can be proven."""

    deals: int = 0
    deleted: int = 0
    events: dict[str, int] = field(default_factory=dict)
    money: list[tuple[str, str, int, int]] = field(default_factory=list)
    parked: list[dict[str, Any]] = field(default_factory=list)
    explained: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    proof: list[Check] = field(default_factory=list)

    @property
    def proven(self) -> bool:
        """Every check holds."""
        return all(check.ok for check in self.proof)


def run(folder: Path, say: Say, *, deals: int = 200, seed: int = 1) -> Report:
    """Run the demo in an empty folder.

    `money` is (stage, currency, deals, minor units), largest stage first; `explained` and `history` are of the deal
    whose amount swings.
    """
    crm = source("planhat").simulator(seed=seed, deals=deals, token=TOKEN)
    with serve(asgi(crm)) as base_url:
        file = folder / "dealsync.toml"
        file.write_text(CONFIG.format(name=NAME, base_url=base_url))
        with open_app(load(file, {"DEALSYNC_DEMO_TOKEN": TOKEN})) as app:
            return _Story(app, crm, say).told()


@dataclass(slots=True)
class _Story:
    app: App
    crm: Any
    say: Say

    def told(self) -> Report:
        """The CRM's history and ours, side by side."""
        swing = self.crm.create(name="Amount that swings", stage="Negotiation", total=100, currency="USD")
        self.say(f"A CRM with {len(self.crm.ids())} deals answers on loopback", None)
        self._pull_and_publish("first pull: everything")
        self.crm.clock.advance(BETWEEN)
        self._change_the_crm(swing)
        self.crm.edit(swing, total=200)
        self._pull_and_publish("second pull: edits, a stage move, a deal nobody can map; one amount 100 -> 200")
        self.crm.clock.advance(BETWEEN)
        self.crm.edit(swing, total=100)
        self._pull_and_publish("third pull: the same amount 200 -> 100 again")
        self._say("sweep: a deal is missing", sweep(self.app, NAME))
        self._say("sweep: missing again, and the source says 404", sweep(self.app, NAME))
        self._say("publish", publish(self.app))
        return self._report(swing)

    def _change_the_crm(self, swing: str) -> None:
        others = [one for one in self.crm.ids() if one != swing]
        won, renamed, gone, odd, touched = others[:5]
        self.crm.edit(won, stage="Closed Won")
        self.crm.edit(renamed, name="Renamed, and re-priced", total=Decimal("1234.56"), currency="USD")
        self.crm.delete(gone)
        self.crm.edit(odd, stage="Somewhere Else Entirely")
        self.crm.touch(touched)

    def _pull_and_publish(self, title: str) -> None:
        self._say(title, pull(self.app, NAME))
        self._say("publish", publish(self.app))

    def _say(self, title: str, summary: Summary) -> None:
        self.say(title, summary)

    def _report(self, swing: str) -> Report:
        report = Report()
        report.proof = [self._rerun_writes_nothing(), self._ledger_is_source(), self._money_is_source_money()]
        report.proof += [check for check in doctor(self.app) if check.name not in {one.name for one in report.proof}]
        verdict = verify(self.app.settings)
        what = f"{verdict['events']} events, {verdict['deals']} deals"
        chain = Check("15 the ledger's chain and projection verify", verdict["ok"], str(verdict["first_bad"] or what))
        report.proof.append(chain)
        gone = [bool(deal.state["custom"].get("deleted")) for deal in self.app.ledger.deals()]
        report.deals, report.deleted = len(gone), sum(gone)
        report.money = _money(self.app)
        report.parked = list(list_parked(self.app))
        report.explained = explain(self.app, f"{NAME}:{swing}")
        report.history = show_deal(self.app, f"{NAME}:{swing}")["history"]
        with self.app.store.read() as tx:
            counted = select(events.c.event_type, func.count()).group_by(events.c.event_type)
            report.events = {row[0]: row[1] for row in tx.execute(counted)}
        return report

    def _rerun_writes_nothing(self) -> Check:
        """Invariant 8, by doing it all again."""
        before = self._rows()
        for again in (pull(self.app, NAME), sweep(self.app, NAME), publish(self.app)):
            if again.events or again.published:
                return Check("8 running it again writes nothing", False, f"run {again.run} made events")
        after = self._rows()
        same = before == after
        return Check(
            "8 running it again writes nothing",
            same,
            f"{after[0]} events before and after" if same else f"{before} -> {after}",
        )

    def _rows(self) -> tuple[int, ...]:
        with self.app.store.read() as tx:
            counts = [tx.execute(select(func.count()).select_from(t)).scalar_one() for t in (events, outbox, receipts)]
        return (*counts, sum(1 for _ in self.app.ledger.deals()))

    def _ledger_is_source(self) -> Check:
        """Invariant 7 against the CRM itself: each deal it shows, read here and now, is what the ledger holds."""
        name = "7 ledger = source, deal by deal"
        mapper = self.app.connection(NAME).mapper
        held = {deal.external_id: deal for deal in self.app.ledger.deals()}
        waiting = {entry["source_id"] for entry in list_parked(self.app)}
        agreeing = 0
        for record in self.crm.truth():
            if record["_id"] in waiting:
                continue
            reading = mapper.map("deals", record)
            if not isinstance(reading, Mapped):
                return Check(name, False, f"deal {record['_id']} cannot be mapped, but is not parked")
            deal = held.pop(f"{NAME}:{record['_id']}", None)
            if deal is None or canonical(_flat(deal.state)) != state_bytes(reading.state):
                return Check(name, False, f"deal {record['_id']} differs")
            agreeing += 1
        left = [deal for deal in held.values() if not deal.state["custom"].get("deleted") and _id(deal) not in waiting]
        if left:
            return Check(name, False, f"{len(left)} deals the CRM does not have")
        return Check(name, True, f"{agreeing} deals agree{_left_out(waiting)}")

    def _money_is_source_money(self) -> Check:
        """Invariant 7 in money, added up from the CRM's own decimals, without our mapping."""
        name = "7 ledger = source, in money"
        waiting = {entry["source_id"] for entry in list_parked(self.app)}
        ours: Counter[str] = Counter()
        for deal in self.app.ledger.deals():
            if _id(deal) not in waiting:
                ours[deal.state["custom"].get("currency", "USD")] += deal.state["amount_cents"] or 0
        theirs: Counter[str] = Counter()
        for record in self.crm.truth():
            if record["_id"] not in waiting and record.get("total") is not None:
                theirs[record.get("currency") or "USD"] += round(Decimal(record["total"]) * 100)
        totals = ", ".join(f"{currency} {cents / Decimal(100):,}" for currency, cents in sorted(ours.items()))
        return Check(name, +ours == +theirs, f"{totals}{_left_out(waiting)}")


def _left_out(parked: set[str]) -> str:
    return f"; the {len(parked)} parked left out" if parked else ""


def _id(deal: Any) -> str:
    return str(deal.external_id).removeprefix(f"{NAME}:")


def _flat(state: dict[str, Any]) -> dict[str, Any]:
    return {**state["custom"], **{name: value for name, value in state.items() if name != "custom"}}


def _money(app: App) -> list[tuple[str, str, int, int]]:
    count: Counter[tuple[str, str]] = Counter()
    cents: Counter[tuple[str, str]] = Counter()
    for deal in app.ledger.deals():
        if not deal.state["custom"].get("deleted"):
            key = (deal.state["stage"] or "(none)", deal.state["custom"].get("currency", app.settings.ledger.currency))
            count[key] += 1
            cents[key] += deal.state["amount_cents"] or 0
    return sorted(((*key, count[key], cents[key]) for key in count), key=lambda row: -row[3])
