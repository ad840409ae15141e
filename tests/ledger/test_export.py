"""Export: the same events are the same bytes and the same digest, and every event of a period is in it once."""

from __future__ import annotations

import csv
import hashlib
import io

from sqlalchemy import Engine

from ledger.embedded import ORG, EmbeddedLedger
from ledger.export import export
from ledger.verify import verify
from tests.ledger.subjects import engine_at, event


class Days:
    def __init__(self) -> None:
        self.day = 0

    def __call__(self) -> str:
        self.day += 1
        return f"2026-04-{self.day:02}T00:00:00.000Z"


def filled(engine: Engine) -> None:
    ledger = EmbeddedLedger(engine, now=Days())
    for n in range(1, 6):
        ledger.append([event(key=f"k{n}", amount=n, name='a "quoted", name\nof two lines', n=n)])


def test_a_period_is_written_in_order_and_its_digests_are_those_of_the_file_and_of_the_chain(database_url: str):
    with engine_at(database_url) as engine:
        filled(engine)
        whole, part = io.StringIO(newline=""), io.StringIO(newline="")
        everything = export(engine, ORG, whole)
        some = export(engine, ORG, part, since="2026-04-02", until="2026-04-04")
        rows = list(csv.DictReader(io.StringIO(part.getvalue())))
        assert [(row["amount_cents"], row["dedup_key"]) for row in rows] == [("2", "k2"), ("3", "k3")]
        assert '"n":2' in rows[0]["custom"]
        assert some.sha256 == hashlib.sha256(part.getvalue().encode()).hexdigest()
        assert some.head == rows[-1]["hash"]
        assert everything.head == verify(engine, ORG).head
        assert verify(engine, ORG, expect=some.head).ok
        assert verify(engine, ORG, expect=some.before).ok
        assert export(engine, ORG, io.StringIO(newline="")) == everything


def test_a_period_without_events_is_a_header_only(sqlite_url: str):
    with engine_at(sqlite_url) as engine:
        filled(engine)
        out = io.StringIO(newline="")
        assert export(engine, ORG, out, since="2027").events == 0
        assert out.getvalue().count("\n") == 1
