"""What a page's records refer to is asked for once."""

from __future__ import annotations

from pipeline.readings import wanted
from tests.mappings.tables import record
from tests.mappings.test_references import MAPPER


def test_what_several_records_refer_to_is_asked_for_once():
    page = [("deals", record(account="a1", quote="q1")), ("deals", record(account=7)), ("deals", record(account="a1"))]
    assert wanted(MAPPER, page) == {"accounts": {"a1", "7"}, "quotes": {"q1", "1"}}
    assert wanted(MAPPER, [("deals", record())]) == {"quotes": {"1"}}
    assert wanted(MAPPER, []) == {}
