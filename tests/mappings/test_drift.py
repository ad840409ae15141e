"""Drift: unclaimed keys are counted, in constant memory."""

from __future__ import annotations

from mappings.drift import MOST_KEYS, OTHERS, Drift


def test_records_are_counted_by_unclaimed_key():
    drift = Drift()
    for keys in ((), ("a",), ("a", "b")):
        drift.add(keys)
    assert drift.counts() == {"a": 2, "b": 1}


def test_a_source_that_invents_keys_is_counted_in_one_bucket():
    drift = Drift()
    for number in range(MOST_KEYS + 50):
        drift.add((f"key{number}",))
    drift.add(("key0",))
    assert len(drift.counts()) == MOST_KEYS + 1
    assert drift.counts()[OTHERS] == 50
    assert drift.counts()["key0"] == 2


def test_a_key_that_no_database_takes_is_written_so_that_all_do():
    drift = Drift()
    for _ in range(2):
        drift.add(("a\x00b", "x" * 500, "\ud800"))
    assert drift.counts() == {"a\\x00b": 2, "x" * 63 + "…": 2, "\\ud800": 2}
