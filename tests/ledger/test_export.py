"""Export: the same events give the same digest in either format, and every event of a period is in it once, exactly."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest
from sqlalchemy import Engine

from deals.identity import canonical
from ledger.embedded import ORG, EmbeddedLedger
from ledger.export import CsvSheet, Entry, Exported, Sheet, export
from ledger.parquet import ParquetSheet
from ledger.port import LedgerFault
from ledger.verify import verify
from tests.ledger.subjects import engine_at, event

SHEETS: list[Callable[[BinaryIO], Sheet]] = [CsvSheet, ParquetSheet]
LARGE = 10**37 + 1


class Days:
    def __init__(self) -> None:
        self.day = 0

    def __call__(self) -> str:
        self.day += 1
        return f"2026-04-{self.day:02}T00:00:00.000Z"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A ledger with an event a day: 1, 2, 3 cents, then none, then more than 64 bits hold."""
    with engine_at(database_url) as engine:
        ledger = EmbeddedLedger(engine, now=Days())
        for n, amount in enumerate([1, 2, 3, None, LARGE], start=1):
            ledger.append([event(key=f"k{n}", amount=amount, name='a "quoted", name\nof two lines', n=Decimal("0.10"))])
        yield engine


def written(engine: Engine, sheet: Callable[[BinaryIO], Sheet], **period: str) -> tuple[bytes, Exported]:
    out = io.BytesIO()
    found = export(engine, ORG, sheet(out), **period)
    return out.getvalue(), found


def told_by(rows: list[dict[str, Any]]) -> str:
    """The digest, from what a reader of Parquet finds."""
    digest = hashlib.sha256()
    for row in rows:
        amount = row["amount_cents"]
        at = row["occurred_at"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
        exact = {**row, "occurred_at": at, "amount_cents": None if amount is None else int(amount)}
        digest.update(canonical([exact[name] for name in Entry._fields]) + b"\n")
    return digest.hexdigest()


def test_a_period_is_cited_by_one_digest_whatever_the_format(engine: Engine):
    period = {"since": "2026-04-02T00:00:00.000Z", "until": "2026-04-05T00:00:00.000Z"}
    (table, as_csv), (packed, as_parquet) = (written(engine, sheet, **period) for sheet in SHEETS)
    assert as_csv == as_parquet
    assert as_csv.events == 3
    read = pq.read_table(io.BytesIO(packed)).to_pylist()
    assert told_by(read) == as_csv.digest
    lines = list(csv.DictReader(io.StringIO(table.decode(), newline="")))
    assert [line["dedup_key"] for line in lines] == [row["dedup_key"] for row in read] == ["k2", "k3", "k4"]
    assert [line["amount_cents"] for line in lines] == ["2", "3", ""]
    assert '"n":0.10' in lines[0]["custom"]
    assert lines[0]["custom"] == read[0]["custom"]


def test_the_ends_of_a_period_are_links_of_the_chain(engine: Engine):
    _, everything = written(engine, CsvSheet)
    _, some = written(engine, CsvSheet, since="2026-04-02", until="2026-04-04")
    assert everything.head == verify(engine, ORG).head
    assert verify(engine, ORG, expect=some.head).ok
    assert verify(engine, ORG, expect=some.before).ok
    _, first = written(engine, CsvSheet, until="2026-04-02")
    assert (first.head, first.before) == (some.before, "0" * 64)


def test_the_same_events_are_the_same_bytes_of_csv(engine: Engine):
    assert written(engine, CsvSheet) == written(engine, CsvSheet)


def test_parquet_keeps_amounts_exact_and_says_what_it_is(engine: Engine):
    packed, found = written(engine, ParquetSheet)
    file = pq.ParquetFile(io.BytesIO(packed))
    amounts = file.read().column("amount_cents").to_pylist()
    assert amounts == [1, 2, 3, None, LARGE]
    assert all(isinstance(amount, Decimal) for amount in amounts if amount is not None)
    told = {name.decode(): value.decode() for name, value in file.metadata.metadata.items()}
    assert {f"dealsync.{name}": str(value) for name, value in asdict(found).items()}.items() <= told.items()
    assert [str(field.type) for field in file.schema_arrow if field.name in ("sequence", "occurred_at")] == [
        "int64",
        "timestamp[ms, tz=UTC]",
    ]


def test_a_file_is_written_a_part_at_a_time(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    whole, _ = written(engine, CsvSheet)
    monkeypatch.setattr("ledger.export._WINDOW", 2)
    packed, found = written(engine, ParquetSheet)
    file = pq.ParquetFile(io.BytesIO(packed))
    assert [file.metadata.row_group(n).num_rows for n in range(file.num_row_groups)] == [2, 2, 1]
    assert told_by(file.read().to_pylist()) == found.digest
    assert written(engine, CsvSheet)[0] == whole


def test_an_amount_that_no_reader_of_parquet_takes_is_refused_and_csv_has_it(engine: Engine):
    EmbeddedLedger(engine, now=Days()).append([event(key="k6", amount=10**38)])
    with pytest.raises(LedgerFault, match="write CSV"):
        written(engine, ParquetSheet)
    assert b",1" + b"0" * 38 + b"," in written(engine, CsvSheet)[0]


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'"])
def test_no_text_of_a_csv_is_a_formula_and_every_text_and_amount_can_be_read_back(engine: Engine, begins: str):
    stage, owner = f"{begins}HYPERLINK(1)", f"won{begins}"
    EmbeddedLedger(engine, now=Days()).append([event(key="k6", amount=-5, stage=stage, owner_external_id=owner)])
    (table, found), (packed, as_parquet) = (written(engine, sheet) for sheet in SHEETS)
    assert found == as_parquet, "what is cited is the value"
    last = list(csv.DictReader(io.StringIO(table.decode(), newline="")))[-1]
    assert (last["stage"], last["owner_external_id"], last["amount_cents"]) == (f"'{stage}", owner, "-5")
    assert pq.read_table(io.BytesIO(packed)).column("stage").to_pylist()[-1] == stage


@pytest.mark.parametrize("sheet", SHEETS)
def test_a_period_without_events_is_a_file_without_rows(engine: Engine, sheet: Callable[[BinaryIO], Sheet]):
    data, found = written(engine, sheet, since="2027")
    assert found == Exported(0, hashlib.sha256().hexdigest(), "0" * 64, "0" * 64)
    if sheet is CsvSheet:
        assert data == ",".join(Entry._fields).encode() + b"\n"
    else:
        assert pq.read_table(io.BytesIO(data)).num_rows == 0
