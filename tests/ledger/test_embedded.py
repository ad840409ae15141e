"""The embedded ledger: one gapless chain an org, whoever appends at once, and faults that say what to do."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, Engine, create_engine, text

from deals.events import Event
from deals.identity import state_bytes
from deals.state import DealState
from ledger import statements
from ledger.admission import admit
from ledger.choices import Choices
from ledger.embedded import EmbeddedLedger
from ledger.engine import connect
from ledger.port import LedgerRefused, LedgerUnavailable, Receipt
from ledger.rows import Domain
from ledger.verify import rebuild, verify
from tests.ledger.subjects import NOW, embedded, engine_at, event, history, now

ORG = "org_default"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    with engine_at(database_url) as engine:
        yield engine


@pytest.mark.parametrize("size", [3, 2 * statements.AT_ONCE])
def test_the_sequence_has_no_gap_although_keys_were_absorbed(engine: Engine, size: int):
    ledger = EmbeddedLedger(engine, now=now)
    ledger.append([event(f"d:{n}", f"k{n}") for n in range(size)])
    ledger.append([event(f"d:{n}", f"k{n}") for n in range(size // 2, size + size // 2)])
    with engine.connect() as tx:
        found = tx.execute(text("SELECT sequence FROM ledger_domain_events ORDER BY sequence")).scalars().all()
    assert list(found) == list(range(1, size + size // 2 + 1))
    assert verify(engine, ORG).ok


def test_many_who_append_the_same_at_once_agree_on_the_ids(engine: Engine):
    events = [event(f"d:{n % 20}", f"k{n}", amount=n) for n in range(120)]

    def work(seed: int) -> dict[str, str]:
        random, ids = Random(seed), {}
        ledger = EmbeddedLedger(engine, now=now)
        for _ in range(6):
            batch = random.sample(events, random.choice([1, 5, 50]))
            for one, answer in zip(batch, ledger.append(batch), strict=True):
                assert isinstance(answer, Receipt)
                assert not answer.conflict
                assert ids.setdefault(one.dedup_key, answer.domain_event_id) == answer.domain_event_id
        for one, answer in zip(events, ledger.append(events), strict=True):
            assert isinstance(answer, Receipt)
            assert ids.setdefault(one.dedup_key, answer.domain_event_id) == answer.domain_event_id
        return ids

    with ThreadPoolExecutor(4) as threads:
        first, *others = threads.map(work, range(4))
    assert all(other == first for other in others)
    accepted = history(engine, ORG)
    assert len(accepted) == len(set(accepted)) == 120
    assert verify(engine, ORG).ok


@pytest.mark.parametrize("size", [6, 2 * statements.AT_ONCE])
def test_known_and_new_deals_in_one_batch_are_each_projected_from_their_last_event(engine: Engine, size: int):
    ledger = EmbeddedLedger(engine, now=now)
    ledger.append([event(f"d:{n}", f"k{n}", amount=n) for n in range(0, size, 2)])
    ledger.append([event(f"d:{n}", f"again{n}", amount=-n) for n in range(size)])
    found = {deal.external_id: deal.state["amount_cents"] for deal in ledger.deals()}
    assert found == {f"d:{n}": -n for n in range(size)}
    assert verify(engine, ORG).ok


@pytest.mark.parametrize("size", [3, statements.AT_ONCE + 1])
def test_a_key_taken_past_the_lock_is_refused_by_the_database_and_the_batch_may_be_sent_again(
    postgres_url: str, size: int, monkeypatch: pytest.MonkeyPatch
):
    """On SQLite the writer is alone: nobody can write past it."""
    batch = [event(f"d:{n}", f"k{n}") for n in range(size)]
    rival = text("INSERT INTO ledger_source_events VALUES ('src_api_0', :org, 'api', 'd:1', 'k1', ''::bytea, :at)")
    look = statements.look

    def intrude(tx: Connection, org: str, keys: Sequence[str]) -> tuple[statements.Holders, Domain | None]:
        found = look(tx, org, keys)
        monkeypatch.undo()
        with engine.begin() as theirs:
            theirs.execute(rival, {"org": ORG, "at": NOW})
        return found

    with engine_at(postgres_url) as engine:
        ledger = EmbeddedLedger(engine, now=now)
        monkeypatch.setattr(statements, "look", intrude)
        with pytest.raises(LedgerUnavailable, match="may be sent again"):
            ledger.append(batch)
        assert history(engine, ORG) == []
        outcomes = [answer.outcome for answer in ledger.append(batch) if isinstance(answer, Receipt)]
    assert outcomes == ["appended", "already_there", *["appended"] * (size - 2)]


def test_orgs_do_not_share_keys_nor_chains(engine: Engine):
    one, other = embedded(engine), embedded(engine)
    [first], [second] = one.ledger.append([event()]), other.ledger.append([event()])
    assert isinstance(first, Receipt)
    assert isinstance(second, Receipt)
    assert first.outcome == second.outcome == "appended"
    assert first.deal_id != second.deal_id
    assert len(list(one.ledger.deals())) == len(list(other.ledger.deals())) == 1


def test_a_clock_that_runs_backwards_does_not_turn_back_the_ledger(engine: Engine):
    moments = iter(["2026-04-22T10:15:30.000Z", "2026-04-22T09:00:00.000Z", "2026-04-22T11:00:00.000Z"])
    ledger = EmbeddedLedger(engine, now=lambda: next(moments))
    for n in range(3):
        ledger.append([event(f"d:{n}", f"k{n}")])
    newest = [(deal.external_id, deal.updated_at[11:13]) for deal in ledger.newest(10, 0)]
    assert newest == [("d:2", "11"), ("d:1", "10"), ("d:0", "10")]
    assert verify(engine, ORG).ok


def test_the_newest_are_listed_first_page_by_page(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now)
    ledger.append([event(f"d:{n}", f"k{n}") for n in range(5)])
    ledger.append([event("d:1", "again")])
    assert [deal.external_id for deal in ledger.newest(3, 0)] == ["d:1", "d:4", "d:3"]
    assert [deal.external_id for deal in ledger.newest(3, 3)] == ["d:2", "d:0"]


def test_a_deleted_deal_is_marked_and_a_later_event_takes_the_mark_away(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now)
    marks = []
    for key, kind in [("k1", "upsert"), ("k2", "delete"), ("k3", "upsert")]:
        ledger.append([event(key=key, kind=kind)])
        with engine.connect() as tx:
            marks.append(tx.execute(text("SELECT deleted_at FROM ledger_deals")).scalar_one())
    assert marks == [None, NOW, None]


def test_the_body_is_kept_as_it_came_in(engine: Engine):
    raw = b'{ "external_id": "planhat:1", "state": {"amount_cents": 1} }'
    ledger = EmbeddedLedger(engine, now=now)
    ledger.take([replace(admit(event()), raw=raw)])
    with engine.connect() as tx:
        assert bytes(tx.execute(text("SELECT raw_body FROM ledger_source_events")).scalar_one()) == raw


def test_the_same_body_in_another_spacing_is_no_conflict(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now)
    state = b'{"stage":"open", "amount_cents":100, "owner_external_id":null, "close_date":null}'
    raw = b'{"state": %b, "external_id":"planhat:1"}' % state
    ledger.take([replace(admit(event()), raw=raw)])
    [again] = ledger.append([event()])
    assert isinstance(again, Receipt)
    assert (again.outcome, again.conflict) == ("already_there", False)


def test_an_empty_database_says_what_to_do(database_url: str):
    engine = connect(database_url)
    ledger = EmbeddedLedger(engine, now=now)
    for use in (lambda: ledger.append([event()]), lambda: list(ledger.deals()), ledger.check):
        with pytest.raises(LedgerRefused, match="dealsync migrate"):
            use()
    engine.dispose()


def test_a_database_that_is_away_is_unavailable_and_no_secret_is_told():
    engine = connect("postgresql://someone:s3cret@127.0.0.1:1/nowhere")
    with pytest.raises(LedgerUnavailable) as caught:
        EmbeddedLedger(engine, now=now).append([event()])
    assert "s3cret" not in str(caught.value)
    engine.dispose()


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Engine]:
    """A database to which there is one connection at a time."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with engine_at(url):
        engine = create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1)
        yield engine
        engine.dispose()


def test_who_finds_all_connections_in_use_may_come_again(narrow: Engine):
    ledger = EmbeddedLedger(narrow, now=now)
    with narrow.connect(), pytest.raises(LedgerUnavailable, match="all connections to the database are in use"):
        ledger.append([event()])
    ledger.append([event()])
    assert history(narrow, ORG) == [("planhat:1", "k1")]


def test_to_append_takes_one_connection_also_where_the_clock_is_the_databases(narrow: Engine):
    """With a second one, those who wait for the org's turn may have taken all that the one whose turn it is needs."""

    def asked() -> str:
        with narrow.connect() as tx:
            return str(tx.execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')")).scalar_one())

    EmbeddedLedger(narrow, now=asked).append([event()])
    assert history(narrow, ORG) == [("planhat:1", "k1")]


def test_a_file_that_cannot_be_written_is_unavailable_and_nothing_is_lost(tmp_path: Path):
    file = tmp_path / "store.db"
    with engine_at(f"sqlite:///{file}") as engine:
        EmbeddedLedger(engine, now=now).append([event()])
        with engine.begin() as tx:
            tx.exec_driver_sql("PRAGMA query_only = ON")
        with pytest.raises(LedgerUnavailable, match="readonly"):
            EmbeddedLedger(engine, now=now).append([event(key="k2")])
    assert file.stat().st_mode & stat.S_IRUSR
    with engine_at(f"sqlite:///{file}") as engine:
        assert history(engine, ORG) == [("planhat:1", "k1")]


def test_a_batch_that_fails_half_way_leaves_nothing(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now)
    with engine.begin() as tx:
        tx.execute(text("ALTER TABLE ledger_deals RENAME TO elsewhere"))
    with pytest.raises(LedgerRefused):
        ledger.append([event()])
    with engine.begin() as tx:
        tx.execute(text("ALTER TABLE elsewhere RENAME TO ledger_deals"))
    assert history(engine, ORG) == []
    [receipt] = ledger.append([event()])
    assert isinstance(receipt, Receipt)
    assert receipt.outcome == "appended"


def test_a_damaged_database_is_a_fault_that_says_what_to_do_and_no_bug(tmp_path: Path):
    file = tmp_path / "ledger.db"
    file.write_bytes(b"SQLite format 3\x00" + b"\xff" * 8192)
    engine = connect(f"sqlite:///{file}")
    ledger = EmbeddedLedger(engine, now=lambda: "2026-04-22T10:15:30.000Z")
    with pytest.raises(LedgerUnavailable, match="may be sent again"):
        ledger.append([Event("eu:1", "upsert", "k", state_bytes(DealState()))])
    engine.dispose()


def test_where_snapshots_are_merged_only_the_keys_sent_are_changed_and_it_verifies(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now, choices=Choices(state_merge="merge"))
    first = Event("a", "upsert", "k1", b'{"amount_cents":1,"stage":"open","region":"EU","tier":1}')
    ledger.append([first, Event("a", "upsert", "k2", b'{"stage":null,"tier":2}')])
    ledger.append([Event("a", "upsert", "k3", b'{"amount_cents":5}')])
    [deal] = ledger.deals()
    assert deal.state == {"amount_cents": 5, "stage": None, "custom": {"region": "EU", "tier": 2}}
    assert verify(engine, ORG).ok
    before = engine_rows(engine)
    assert rebuild(engine, ORG) == 1
    assert engine_rows(engine) == before


def test_a_merged_state_that_does_not_follow_is_found(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now, choices=Choices(state_merge="merge"))
    ledger.append([event(amount=1)])
    forged = replace(admit(event(key="k2", amount=2)), state='{"amount_cents":3,"custom":{}}')
    EmbeddedLedger(engine, now=now).take([forged])
    verdict = verify(engine, ORG)
    assert not verdict.ok
    assert verdict.first_bad is not None
    assert "not what its source event says" in verdict.first_bad["why"]


def engine_rows(engine: Engine) -> list[object]:
    with engine.connect() as tx:
        return list(tx.execute(text("SELECT * FROM ledger_deals ORDER BY id")).all())


def test_deleted_deals_are_left_out_of_the_list_where_that_is_set(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now, choices=Choices(hide_deleted=True))
    ledger.append([event(), event("b", "k2"), event("b", "k3", kind="delete")])
    assert [deal.external_id for deal in ledger.newest(5, 0)] == ["planhat:1"]
    assert len(list(ledger.deals())) == 2, "we ourselves compare every deal"
    ledger.append([event("b", "k4")])
    assert len(ledger.newest(5, 0)) == 2


def test_the_history_of_a_deal_is_its_own_events_in_their_order(engine: Engine):
    ledger = EmbeddedLedger(engine, now=now)
    ledger.append([event(key=f"k{n}", amount=n) for n in range(5)] + [event("b", "other")])
    first = ledger.history("planhat:1", 3, 0)
    rest = ledger.history("planhat:1", 3, first[-1].sequence)
    assert [(one.dedup_key, one.state["amount_cents"]) for one in [*first, *rest]] == [(f"k{n}", n) for n in range(5)]
    assert ledger.history("nobody", 3, 0) == []
