"""Simulated records: what is served is what was written, whatever is remembered of earlier answers."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.simulated_records import Query, Records, decode
from connectors.simulation import SimClock


def records(*rows: dict, **options) -> Records:
    made = Records(SimClock(), **options)
    made.load(rows)
    return made


def page(made: Records, **query) -> list[dict]:
    return json.loads(made.page(Query(**query)))


def ids(made: Records, **query) -> str:
    return "".join(row["_id"] for row in page(made, **query))


def test_amounts_are_served_as_the_decimals_they_were():
    made = records({"_id": "a", "total": Decimal("0.10")}, {"_id": "b", "total": 10**20})
    assert made.page(Query(sort="_id")) == b'[{"_id":"a","total":0.10},{"_id":"b","total":100000000000000000000}]'


def test_a_float_is_refused_however_deep_it_lies():
    with pytest.raises(TypeError, match="float"):
        records().put({"_id": "a", "custom": {"x": [{"y": 0.1}]}})


def test_pages_are_cut_from_the_sorted_whole():
    made = records(*({"_id": str(n), "n": -n} for n in range(7)))
    assert ids(made, sort="_id", offset=2, limit=3) == "234"
    assert ids(made, sort="n", offset=0, limit=3) == "654"
    assert ids(made, sort="-n", offset=5, limit=3) == "56"
    assert page(made, sort="_id", offset=7) == []


def test_unlike_values_have_an_order_and_equal_ones_keep_that_of_their_ids():
    made = records({"_id": "a", "v": "x"}, {"_id": "b", "v": None}, {"_id": "c"}, {"_id": "d", "v": 5},
                   {"_id": "e", "v": "x"}, {"_id": "f", "v": True}, {"_id": "g", "v": []})  # fmt: skip
    assert ids(made, sort="v") == "bcdaefg"
    assert ids(made, sort="-v") == "gfaedbc"


def test_without_a_sort_the_order_is_the_same_each_time_but_not_that_of_the_ids():
    made = records(*({"_id": f"{n:03d}"} for n in range(50)))
    assert ids(made) == ids(made) != ids(made, sort="_id")


def test_only_the_wanted_keys_are_served_in_the_records_own_order():
    made = records({"_id": "a", "x": Decimal("1.50"), "y": {"deep": 1.0}, "z": 3})
    assert made.page(Query(keys=frozenset({"z", "x", "nowhere"}))) == b'[{"x":1.50,"z":3}]'
    assert made.page(Query(dropped=frozenset({"y", "z"}))) == b'[{"_id":"a","x":1.50}]'


def test_filters_and_hidden_records_leave_rows_out():
    made = records({"_id": "a", "c": "1"}, {"_id": "b", "c": "2"}, {"_id": "c", "c": "1"}, {"_id": "d"})
    assert ids(made, sort="_id", where=("c", frozenset({"1"}))) == "ac"
    assert ids(made, sort="_id", hidden=frozenset({"a", "d"})) == "bc"


def test_raw_bytes_stand_in_the_records_place_until_it_is_mended():
    made = records({"_id": "a"}, {"_id": "b"})
    made.serve_raw("a", b'{"_id":NaN}')
    assert made.page(Query(sort="_id", keys=frozenset({"_id"}))) == b'[{"_id":NaN},{"_id":"b"}]'
    assert made.served("a") == b'{"_id":NaN}'
    assert [row["_id"] for row in made.readable()] == ["b"]
    made.serve_raw("a", None)
    assert made.page(Query(sort="_id")) == b'[{"_id":"a"},{"_id":"b"}]'


def test_a_late_write_is_seen_by_writers_at_once_and_by_readers_later():
    clock = SimClock()
    made = Records(clock)
    made.load([{"_id": "a", "n": 1}])
    made.put({"_id": "a", "n": 2}, late=timedelta(seconds=60))
    made.put({"_id": "b", "n": 1}, late=timedelta(seconds=30))
    assert (made.latest("a"), made.ids()) == ({"_id": "a", "n": 2}, ["a", "b"])
    assert page(made, sort="_id") == [{"_id": "a", "n": 1}]
    clock.advance(30)
    assert page(made, sort="_id") == [{"_id": "a", "n": 1}, {"_id": "b", "n": 1}]
    clock.advance(30)
    assert made.served("a") == b'{"_id":"a","n":2}'


def test_a_later_write_is_never_overtaken_by_an_earlier_one_that_was_late():
    clock = SimClock()
    made = Records(clock)
    made.put({"_id": "a", "n": 1}, late=timedelta(seconds=60))
    made.put({"_id": "a", "n": 2})
    clock.advance(60)
    assert page(made) == [{"_id": "a", "n": 2}]
    made.remove("a", late=timedelta(seconds=10))
    assert (made.latest("a"), len(page(made))) == (None, 1)
    clock.advance(10)
    assert page(made) == []


def test_the_page_cache_gives_up_the_oldest_when_it_is_full():
    made = records(*({"_id": str(n)} for n in range(9)), cache_bytes=30)
    first = made.page(Query(sort="_id", limit=1))
    assert made.page(Query(sort="_id", limit=1)) is first
    made.page(Query(sort="_id", limit=2))
    again = made.page(Query(sort="_id", limit=1))
    assert again == first
    assert again is not first


def test_a_record_is_found_by_any_key_also_after_it_changed():
    made = records({"_id": "a", "ext": "1"}, {"_id": "b", "ext": "2"})
    assert (made.find("ext", "2"), made.find("_id", "a"), made.find("_id", "x")) == ("b", "a", None)
    made.put({"_id": "b", "ext": "3"})
    made.put({"_id": "c", "ext": "2"})
    made.remove("a")
    assert [made.find("ext", value) for value in "123"] == [None, "c", "b"]


WRITES = st.tuples(
    st.sampled_from("abcdef"), st.none() | st.integers(0, 3), st.sampled_from([0, 0, 5, 20]), st.integers(0, 10)
)


@given(st.lists(WRITES, max_size=30))
@settings(deadline=None)
def test_every_page_shows_exactly_the_writes_that_are_due(writes):
    """A plain model without caches: per record the writes in order, each due at its time or after its forerunner."""
    clock = SimClock()
    made = Records(clock, cache_bytes=200)
    history: dict[str, list[tuple[float, int | None]]] = {}
    for record_id, value, late, wait in writes:
        due = max([clock.monotonic() + late, *(at for at, _ in history.get(record_id, []))])
        history.setdefault(record_id, []).append((due, value))
        if value is None:
            made.remove(record_id, late=timedelta(seconds=late))
        else:
            made.put({"_id": record_id, "n": value}, late=timedelta(seconds=late))
        clock.advance(wait)
        visible = {
            key: [value for at, value in told if at <= clock.monotonic()][-1:] for key, told in sorted(history.items())
        }
        expected = [{"_id": key, "n": value} for key, (value,) in ((k, v) for k, v in visible.items() if v)
                    if value is not None]  # fmt: skip
        assert page(made, sort="_id") == expected
        assert list(made.readable()) == expected
        by_n = sorted(expected, key=lambda row: row["n"])
        assert page(made, sort="n", limit=2, offset=1) == by_n[1:3]
        assert [decode(made.served(row["_id"]) or b"") for row in expected] == expected
