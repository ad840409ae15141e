"""The people: whoever works in the simulated CRMs, seeded, and the vendors' senders; with a log of their own of it all.

Nothing here knows what dealsync made of it. The log is what the judge holds dealsync against.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

import httpx
from starlette.applications import Starlette
from starlette.routing import Mount

from connectors.registry import sources
from connectors.simulated_sender import Outgoing
from connectors.simulated_wire import Answer, Request, slow
from connectors.simulation import asgi, serve
from pipeline.sandbox import Tenant, WallClock

DEALS = 30
FAVOURITES = 4
"""Every other move is made to one of so few deals, so that there is often more than one event of a deal to send."""

ANSWER_S = 0.03
FORGED = b"forged"
"""Stands in the body of every delivery that nobody at the vendor's sent."""

TENANTS = {"planhat-eu": "planhat", "planhat-us": "planhat", "cpod": "cpod"}
"""The connections and their sources. The two tenants of one source have deals of the same ids."""

Record = dict[str, Any]


class Delivery(NamedTuple):
    """One request to a receiver and how it was answered; 0 when it was not."""

    connection: str
    body: bytes
    status: int


class Clock(WallClock):
    """The machine's clock, once its tenant is made: until then it stands still, and equal seeds give equal ids."""

    made: datetime | None = datetime.now(UTC)

    @property
    def now(self) -> datetime:
        return self.made or super().now

    @now.setter
    def now(self, moment: datetime) -> None:
        WallClock.now.__set__(self, moment)  # type: ignore[attr-defined]


class Served(NamedTuple):
    """One answer of a tenant's API that came whole and shows deals: when it left, and the ids of its rows in order."""

    at: datetime
    ids: tuple[str, ...]


@dataclass
class Past:
    """What a tenant's deals ever looked like to a reader: deal by deal, each state once in a row, None where gone."""

    states: dict[str, list[Record | None]] = field(default_factory=dict)

    def note(self, deal: str, record: Record | None) -> None:
        known = self.states.setdefault(deal, [])
        if not known or known[-1] != record:
            known.append(record)


class Crm:
    """One tenant, and what became of it."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.source = name, sources()[TENANTS[name]]
        clock = Clock()
        self.tenant: Tenant = self.source.simulator(seed=seed, deals=DEALS, clock=clock)
        clock.made = None
        self.past, self.gone = Past(), set[str]()
        self.senders: list[Any] = []
        self.served: list[Served] = []
        for deal, record in self.shown().items():
            self.past.note(deal, record)
        self.first = frozenset(self.past.states)

    def answer(self, request: Request) -> Answer:
        """What its API answers, with a note of the deals that are in it."""
        answer = self.tenant.answer(request)
        if answer.status == 200 and answer.cut is None and (ids := self._rows(answer.body)):
            self.served.append(Served(datetime.now(UTC), ids))
        return answer

    def _rows(self, body: bytes) -> tuple[str, ...]:
        try:
            said = json.loads(body)
        except ValueError:  # a mishap's page for people
            return ()
        if isinstance(said, dict):
            said = said.get("data", said.get("items", [said]))
        rows = [row for row in said if isinstance(row, dict)] if isinstance(said, list) else []
        named = (str(row.get("_id", row.get("id"))) for row in rows)
        return tuple(name for name in named if name in self.past.states)

    def shown(self) -> dict[str, Record]:
        """Every deal as a get-one answers it now."""
        with self.tenant.exclusive():
            known = set(self.tenant.ids())
            return {id_of(record, known): record for record in self.tenant.truth()}

    def move(self, chance: Random) -> None:
        """Somebody does something to some deal."""
        tenant = self.tenant
        with tenant.exclusive():
            there = tenant.ids()
            deal, what = chance.choice(there[:FAVOURITES] if chance.random() < 0.5 else there), chance.random()
            if what < 0.08 or len(there) < DEALS // 2:
                deal = tenant.new_deal(amount=money(chance), stage=chance.choice(tenant.stages))
            elif what < 0.50:
                tenant.set_amount(deal, money(chance))
            elif what < 0.75:
                tenant.set_stage(deal, chance.choice(tenant.stages))
            elif what < 0.82:
                tenant.touch(deal)
            elif what < 0.86:
                tenant.spoil(deal)
            elif what < 0.94 or not self.gone:
                tenant.delete(deal)
                self.gone.add(deal)
            else:
                deal = chance.choice(sorted(self.gone))
                self.gone.discard(deal)
                with suppress(KeyError, NotImplementedError):
                    tenant.restore(deal)
            self.past.note(deal, self.shown().get(deal))

    def set_amount(self, deal: str, amount: Decimal) -> None:
        """Somebody types an amount, as a test wants it."""
        with self.tenant.exclusive():
            self.tenant.set_amount(deal, amount)
            self.past.note(deal, self.shown().get(deal))


class People:
    """All tenants, served over HTTP, and those who work in them."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(f"{seed}/people")
        self.crms = {name: Crm(name, seed) for name in TENANTS}
        self.log: list[Delivery] = []
        self.forgeries: list[int] = []
        self.base_url = ""
        self._resting = threading.Event()
        self._receiver = ""
        self._posting = httpx.Client(timeout=8, trust_env=False)

    @contextmanager
    def served(self) -> Iterator[None]:
        """Their APIs answer, each a little late, as real ones do."""
        self.recover()
        app = Starlette(routes=[Mount(f"/{name}", app=asgi(crm)) for name, crm in self.crms.items()])  # type: ignore[arg-type]
        with serve(app) as self.base_url:
            yield
        self._posting.close()

    def recover(self) -> None:
        """Their APIs are well: they answer as real ones do, a little late."""
        for crm in self.crms.values():
            crm.tenant.faults.clear()
            crm.tenant.faults.sometimes(1.0, slow(ANSWER_S))

    def notify(self, receiver: str) -> None:
        """The vendors send to this receiver from now on, as badly as vendors do: some are lost, some come twice."""
        self._receiver = receiver
        for crm in self.crms.values():
            post = lambda attempt, name=crm.name: self._post(name, attempt)  # noqa: E731
            sender = crm.tenant.notify(post, loss=0.05, duplicate=0.15, shuffle=True)
            crm.senders.append(sender)

    @contextmanager
    def at_work(self, *, every_s: float = 0.06) -> Iterator[None]:
        """Meanwhile somebody moves something every so often, and somebody else tries forgeries."""
        self._resting.clear()
        thread = threading.Thread(target=self._work, args=(every_s,), name="people", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._resting.set()
            thread.join(30)
            assert not thread.is_alive(), "the people never went home"

    def work(self, moves: int) -> None:
        """So many moves, at once."""
        for _ in range(moves):
            self._move()

    def _work(self, every_s: float) -> None:
        while not self._resting.is_set():
            self._move()
            time.sleep(self.chance.uniform(0, 2 * every_s))

    def _move(self) -> None:
        crm = self.crms[self.chance.choice(sorted(self.crms))]
        crm.move(self.chance)
        for sender in crm.senders:
            if not sender.enabled:
                sender.enable()  # an admin notices
        if self._receiver and self.chance.random() < 0.1:
            self._forge(crm)

    def _post(self, name: str, attempt: Outgoing) -> int:
        status = 0
        try:
            # A connection for each: so they reach every receiver in turn.
            headers = {"content-type": "application/json", "connection": "close", **attempt.headers}
            status = self._posting.post(
                f"{self._receiver}/webhooks/{name}", content=attempt.body, headers=headers
            ).status_code
        finally:
            self.log.append(Delivery(name, attempt.body, status))
        return status

    def _forge(self, crm: Crm) -> None:
        """A delivery that names a real deal, well made in all but its secret."""
        body = json.dumps({"id": crm.tenant.ids()[0], "type": "deal.deleted", "note": FORGED.decode()}).encode()
        headers = {"content-type": "application/json", "X-Planhat-Secret": "guessed", "X-Cpod-Signature": "sha256=00",
                   "X-Cpod-Timestamp": str(int(time.time())), "X-Cpod-Delivery": "forged"}  # fmt: skip
        with suppress(httpx.HTTPError):
            answer = self._posting.post(f"{self._receiver}/webhooks/{crm.name}", content=body, headers=headers)
            self.forgeries.append(answer.status_code)


def money(chance: Random) -> Decimal:
    return Decimal(chance.randrange(0, 10_000_000)) / 100


def id_of(record: Mapping[str, Any], known: set[str]) -> str:
    """The id of a record of the source, whatever the vendor calls that."""
    return next(str(record[key]) for key in ("_id", "id") if str(record.get(key)) in known)
