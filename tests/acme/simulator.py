"""The simulated Acme: a tenant whose changes are numbered, and its API."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from connectors.simulated_records import Fields, encode
from connectors.simulated_sender import Build, Outgoing, Post, Sender
from connectors.simulated_wire import Answer, Request, bytes_answer, json_answer
from connectors.simulation import SimClock, Simulator

TOKEN = "sandbox"
STAGES = ("open", "offer", "won", "lost")
USERS = [{"id": f"u{number}", "name": f"User {number}", "email": f"u{number}@acme.example"} for number in range(3)]
RETRIES = (timedelta(seconds=5), timedelta(minutes=5))


class AcmeSimulator(Simulator):
    """An Acme tenant behind its API. The same seed and calls give the same bytes."""

    def __init__(self, seed: int = 0, deals: int = 200, clock: SimClock | None = None) -> None:
        super().__init__(seed=seed, clock=clock)
        self.credentials = {"token": TOKEN}
        self.options: dict[str, Any] = {}
        self.webhook_secret = "hook-of-the-sandbox"
        self.stages = STAGES
        self.before_list: Callable[[Request], None] | None = None
        self._random = Random(f"{seed}/data")
        self._seq = 0
        self._rows: dict[str, Fields] = {}
        self._trash: dict[str, Fields] = {}
        self._senders: list[Sender] = []
        for _ in range(deals):
            value = Decimal(self._random.randrange(100, 9_000_000)).scaleb(-2)
            self._make(value, self._random.choice(STAGES))

    # -- the people

    def ids(self) -> list[str]:
        return sorted(deal_id for deal_id, row in self._rows.items() if "deleted" not in row)

    def truth(self) -> Iterator[Fields]:
        return (dict(self._rows[deal_id]) for deal_id in self.ids())

    def new_deal(self, *, amount: Decimal | None, stage: str) -> str:
        with self.exclusive():
            return self._make(amount, stage)

    def set_amount(self, deal_id: str, amount: Decimal | None) -> None:
        self._edit(deal_id, value=amount)

    def set_stage(self, deal_id: str, stage: str) -> None:
        self._edit(deal_id, stage=stage)

    def touch(self, deal_id: str) -> None:
        self._edit(deal_id)

    def spoil(self, deal_id: str) -> None:
        self._edit(deal_id, stage="a word that no table knows")

    def delete(self, deal_id: str) -> None:
        with self.exclusive():
            self._trash[deal_id] = self._rows[deal_id]
            self._store({"id": deal_id, "deleted": True})

    def restore(self, deal_id: str) -> None:
        with self.exclusive():
            self._store(self._trash.pop(deal_id))

    def notify(self, post: Post, **settings: Any) -> Sender:
        settings = {"retries": RETRIES, **settings}
        self._senders.append(Sender(post=post, clock=self.clock, random=self._random, **settings))
        return self._senders[-1]

    def settle(self) -> None:
        for sender in self._senders:
            sender.run()

    # -- the API

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return json_answer({"error": "unknown token"}, 401)
        match request.segments:
            case ("v1", "deals"):
                if self.before_list is not None:
                    self.before_list(request)
                return self._changes(int(request.query["after"]), min(int(request.query["limit"]), 200))
            case ("v1", "deals", deal_id) if "deleted" not in self._rows.get(deal_id, {"deleted": True}):
                return bytes_answer(encode(self._rows[deal_id]))
            case ("v1", "users"):
                return json_answer({"users": USERS})
        return json_answer({"error": "not found"}, 404)

    def _changes(self, after: int, limit: int) -> Answer:
        behind = sorted((row for row in self._rows.values() if row["seq"] > after), key=lambda row: row["seq"])
        return json_answer({"deals": behind[:limit], "head": self._seq, "count": len(self.ids())})

    # -- inside

    def _make(self, value: Decimal | None, stage: str) -> str:
        number = len(self._rows) + 1
        deal_id = f"{self._random.getrandbits(40):010x}{number:06}"
        self._store({
            "id": deal_id, "title": f"Deal {number}", "value": value, "currency": "USD", "stage": stage,
            "closes_on": "2026-06-30", "owner_id": USERS[number % 3]["id"], "customer": f"Customer {number % 7}",
            "region": "EMEA", "product": "Anvils", "channel": "direct", "probability": 50, "seats": number,
            "term_months": 12, "created_at": self.clock.text(), "notes": None,
        })  # fmt: skip
        return deal_id

    def _edit(self, deal_id: str, **fields: Any) -> None:
        with self.exclusive():
            self._store(self._rows[deal_id] | fields)

    def _store(self, row: Fields) -> None:
        """A write takes the next number: it is given as the write becomes visible."""
        self.clock.tick()
        self._seq += 1
        self._rows[row["id"]] = row | {"seq": self._seq}
        for sender in self._senders:
            sender.send(self._delivery(row["id"], self._seq, "deleted" in row))

    def _delivery(self, deal_id: str, seq: int, gone: bool) -> Build:
        body = encode({"deal": deal_id, "seq": seq, "gone": gone})

        def build(_attempt: int) -> Outgoing:
            at = str(int(self.clock.now.timestamp()))
            mac = hmac.new(self.webhook_secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
            headers = {"Content-Type": "application/json", "X-Acme-Timestamp": at, "X-Acme-Signature": mac}
            return Outgoing({**headers, "X-Acme-Delivery": f"{seq:08}"}, body)

        return build
