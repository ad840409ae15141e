"""Apply: who may overwrite whom, what is kept, and what is told, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import Connection, select

from connectors.source import Record, Spoiled
from deals.events import Cause
from ledger.engine import connect
from pipeline.apply import apply
from pipeline.batch import Batch
from pipeline.mapping_files import shipped
from pipeline.store import parking, vault
from pipeline.store.schema import STORE
from pipeline.store.session import Store
from pipeline.store.tables import deals, events, parked, raw_blocks
from pipeline.store.vault import RawRef
from tests.pipeline.landing import ONE, Landing, T


def record(
    total: object = 100, *, version: str | None = T[0], stage: str = "Negotiation", source_id: str = ONE
) -> Record:
    stamp = f',"updatedAt":"{version}"' if version else ""
    money = f'"total":{total},"currency":"USD"'
    raw = f'{{"_id":"{source_id}","companyId":"c1","stage":"{stage}",{money},"custom":{{}}{stamp}}}'
    return Record(source_id, version, raw.encode(), "deals")


@pytest.fixture
def world(database_url: str) -> Iterator[Landing]:
    engine = connect(database_url)
    STORE.migrate(engine)
    yield Landing(Store(engine), shipped("planhat"))
    engine.dispose()


def test_a_record_seen_twice_is_told_once(world: Landing):
    assert world.land(record()).applied == 1
    assert world.land(record(), at=T[1]).unchanged == 1
    assert len(world.told()) == 1


def test_the_same_record_twice_in_a_page_is_told_once(world: Landing):
    counts = world.land(record(), record())
    assert (counts.read, counts.applied, counts.unchanged) == (2, 1, 1)


def test_two_states_of_a_deal_in_one_page_are_two_revisions(world: Landing):
    counts = world.land(record(100), record(200, version=T[1]))
    assert (counts.applied, counts.events) == (2, 2)
    assert world.amounts() == [100, 200]


def test_an_older_version_is_superseded_however_late_it_was_read(world: Landing):
    world.land(record(200, version=T[5]), at=T[5])
    assert world.land(record(100, version=T[4]), at=T[7]).superseded == 1
    assert world.amounts() == [200]


def test_of_equal_versions_the_later_request_counts(world: Landing):
    world.land(record(200), at=T[5])
    assert world.land(record(100), at=T[3]).superseded == 1
    assert world.land(record(300), at=T[6]).applied == 1
    assert world.amounts() == [200, 300]


def test_without_versions_the_later_request_counts(world: Landing):
    world.land(record(200, version=None), at=T[5])
    assert world.land(record(100, version=None), at=T[3]).superseded == 1
    assert world.land(record(100, version=None), at=T[6]).applied == 1


def test_a_slow_page_does_not_overwrite_what_a_fetch_saw_unchanged(world: Landing):
    world.land(record(100), at=T[1])
    world.land(record(100), at=T[5], closely=True)
    assert world.land(record(200), at=T[3]).superseded == 1


def test_records_that_were_observed_at_different_times_land_together_each_as_of_its_own(world: Landing):
    """As the vault has them: what was seen of both deals at T[5] is newer than the one record, older than the other."""
    other = "65f0c0ffee00000000000002"
    world.land(record(200), record(200, source_id=other), at=T[5])
    odd = Record("odd", T[0], record(stage="Odd", source_id="odd").raw, "deals")
    records = [record(100), record(300, source_id=other), odd]
    moments = {ONE: T[3], other: T[6], "odd": T[4]}
    with world.store.write() as tx:
        counts = apply(tx, world.scope, Batch(records=records, observed_at=T[8], moments=moments))
    assert (counts.superseded, counts.applied, counts.parked) == (1, 1, 1)
    assert world.amounts() == [200]
    with world.store.read() as tx:
        assert tx.execute(select(parked.c.observed_at)).scalars().all() == [T[4]]
        assert tx.execute(select(deals.c.observed_at).order_by(deals.c.source_id)).scalars().all() == [T[5], T[6]]
    assert world.land(record(250, source_id=other), at=T[5]).superseded == 1


def test_an_amount_that_returns_without_its_clock_moving_is_three_events(world: Landing):
    for at, total in zip(T, (100, 200, 100), strict=False):
        world.land(record(total), at=at)
    assert world.amounts() == [100, 200, 100]
    with world.store.read() as tx:
        assert len(set(tx.execute(select(events.c.dedup_key)).scalars())) == 3


def test_a_buried_deal_returns_only_by_a_later_look(world: Landing):
    world.land(record(100), at=T[1])
    assert world.bury(T[3]).events == 1
    assert world.bury(T[4]).events == 0
    assert world.land(record(100), at=T[2]).superseded == 1
    assert world.land(record(100), at=T[5]).applied == 1
    assert [(kind, cause) for kind, cause, _ in world.told()] == [
        ("upsert", "source_change"),
        ("delete", "source_change"),
        ("upsert", "undelete"),
    ]


def test_a_deal_seen_after_the_question_is_not_buried(world: Landing):
    world.land(record(100), at=T[5])
    assert world.bury(T[4]).events == 0


def test_bytes_that_mean_the_same_make_no_event_but_are_remembered(world: Landing):
    world.land(record("100"))
    assert world.land(record("100.00", version=T[1]), at=T[1]).unchanged == 1
    assert world.land(record("100.00", version=T[1]), at=T[2]).unchanged == 1
    with world.store.read() as tx:
        row = tx.execute(select(deals)).one()
        raw = vault.fetch(tx, RawRef(row.raw_digest, row.raw_block, row.raw_position))
        assert b"100.00" in raw
        assert len(tx.execute(select(raw_blocks.c.id)).all()) == 2


def test_a_parked_record_is_superseded_by_a_newer_one_that_maps_and_not_by_an_older(world: Landing):
    world.land(record(1), at=T[1])
    assert world.land(record(2, version=T[5], stage="Odd"), at=T[5]).parked == 1
    assert world.land(record(3, version=T[4]), at=T[6]).applied == 1
    assert world.shelf() == [("UNKNOWN_STAGE", "open")]
    assert world.land(record(4, version=T[6]), at=T[6]).applied == 1
    assert world.shelf() == [("UNKNOWN_STAGE", "superseded")]


def test_a_record_that_stays_unmappable_is_parked_once(world: Landing):
    for at in T[:3]:
        assert world.land(record(stage="Odd"), at=at).parked == 1
    assert world.shelf() == [("UNKNOWN_STAGE", "open")]


def test_an_odd_and_a_good_record_of_one_deal_in_one_page(world: Landing):
    counts = world.land(record(1, stage="Odd"), record(2, version=T[1]))
    assert (counts.parked, counts.applied) == (1, 1)
    assert world.shelf() == [("UNKNOWN_STAGE", "superseded")]


def test_spoiled_records_are_parked_with_their_bytes(world: Landing):
    spoiled = (Spoiled(None, b"[1]", "RECORD_SHAPE", "a list"), Spoiled("x9", b'{"_id":"x9",', "BAD_JSON", "cut"))
    counts = world.land(record(), spoiled=spoiled)
    assert (counts.read, counts.applied, counts.parked) == (3, 1, 2)
    assert world.land(record(), spoiled=spoiled, at=T[1]).parked == 2
    assert len(world.shelf()) == 2
    with world.store.read() as tx:
        found = [entry.row for entry in parking.listed(tx)]
        raws = [vault.fetch(tx, RawRef(row.raw_digest, row.raw_block, row.raw_position)) for row in found]
    assert sorted(raws) == [b"[1]", b'{"_id":"x9",']


def test_a_changed_mapping_reads_the_same_bytes_anew_and_says_why(world: Landing):
    world.land(record(1, stage="Negotiation"), at=T[1])
    assert '"Negotiation"' in shipped("planhat")
    world.use(shipped("planhat").replace('= "negotiation"', '= "haggling"'))
    assert world.land(record(1, stage="Negotiation"), at=T[2]).applied == 1
    kind, cause, state = world.told()[-1]
    assert (kind, cause) == ("stage_change", Cause.MAPPING_CHANGE)
    assert '"haggling"' in state


def test_an_id_too_long_for_the_ledger_is_parked(world: Landing):
    assert world.land(replace_id(record(), "x" * 300)).parked == 1
    assert world.shelf() == [("BAD_ID", "open")]


def replace_id(one: Record, source_id: str) -> Record:
    return Record(source_id, one.version, one.raw.replace(ONE.encode(), source_id.encode()), one.kind)


def test_a_transaction_that_is_rolled_back_leaves_nothing(world: Landing):
    with pytest.raises(RuntimeError), world.store.write() as tx:
        _apply_and_fail(tx, world)
    assert world.told() == []
    assert world.land(record()).applied == 1


def _apply_and_fail(tx: Connection, world: Landing) -> None:
    apply(tx, world.scope, Batch(records=[record()], observed_at=T[0]))
    raise RuntimeError


def test_keys_do_not_depend_on_the_run_or_the_road(world: Landing):
    first = replace(world.scope, run_id=1)
    keys = []
    for scope, cause in ((first, Cause.SOURCE_CHANGE), (replace(first, run_id=99), Cause.BACKFILL)):
        try:
            with world.store.write() as tx:
                apply(tx, scope, Batch(records=[record()], observed_at=T[0], cause=cause))
                keys.append(tx.execute(select(events.c.dedup_key)).scalar_one())
                raise RuntimeError
        except RuntimeError:
            continue
    assert len(keys) == 2
    assert keys[0] == keys[1]


def gone(version: str | None = T[2], *, source_id: str = ONE) -> Record:
    raw = f'{{"_id":"{source_id}","is_deleted":true,"v":"{version}"}}'
    return Record(source_id, version, raw.encode(), "deals", deleted=True)


def test_the_sources_own_tombstone_ends_a_deal_at_once_and_once(world: Landing):
    world.land(record(100), at=T[1])
    assert world.land(gone(), at=T[2]).applied == 1
    assert world.land(gone(), at=T[3]).unchanged == 1
    assert [kind for kind, _, _ in world.told()] == ["upsert", "delete"]


def test_a_tombstone_older_than_what_we_know_is_superseded(world: Landing):
    world.land(record(100, version=T[5]), at=T[5])
    assert world.land(gone(T[4]), at=T[6]).superseded == 1
    assert [kind for kind, _, _ in world.told()] == ["upsert"]


def test_a_record_older_than_its_tombstone_does_not_bring_the_deal_back(world: Landing):
    world.land(record(100, version=T[1]), at=T[1])
    world.land(gone(T[4]), at=T[4])
    assert world.land(record(100, version=T[3]), at=T[6]).superseded == 1
    assert world.land(record(100, version=T[5]), at=T[6]).applied == 1
    assert [(kind, cause) for kind, cause, _ in world.told()][2:] == [("upsert", Cause.UNDELETE)]


def test_a_deal_proven_absent_comes_back_whatever_its_version(world: Landing):
    world.land(record(100, version=T[5]), at=T[5])
    world.bury(T[6])
    assert world.land(record(100, version=T[1]), at=T[7]).applied == 1
    assert [kind for kind, _, _ in world.told()] == ["upsert", "delete", "upsert"]


def test_the_tombstone_of_a_deal_we_never_knew_owes_nothing_and_keeps_nothing(world: Landing):
    assert world.land(gone(source_id="never")).out_of_scope == 1
    with world.store.read() as tx:
        assert tx.execute(select(raw_blocks)).all() == []


def test_a_new_deal_that_is_gone_by_the_end_of_its_own_page_is_told_and_ended(world: Landing):
    """A list shows it, and the log that is read behind the list says that it was deleted meanwhile."""
    counts = world.land(record(100, version=T[1]), gone(T[2]), at=T[3])
    assert (counts.read, counts.applied, counts.events) == (2, 2, 2)
    assert [kind for kind, _, _ in world.told()] == ["upsert", "delete"]
    assert world.land(gone(T[2]), at=T[4]).unchanged == 1


def test_a_new_deal_that_cannot_be_read_and_is_gone_by_the_end_of_its_page_needs_nobody(world: Landing):
    counts = world.land(record(100, version=T[1], stage="Odd"), gone(T[2]), at=T[3])
    assert (counts.read, counts.parked, counts.out_of_scope, counts.events) == (2, 1, 1, 0)
    assert (world.shelf(), world.told()) == ([("UNKNOWN_STAGE", "superseded")], [])


def test_a_tombstone_ends_the_parking_of_its_deal(world: Landing):
    world.land(record(100), at=T[0])
    world.land(record(100, version=T[1], stage="Nonsense"), at=T[1])
    world.land(gone(T[2]), at=T[2])
    assert world.shelf() == [("UNKNOWN_STAGE", "superseded")]
