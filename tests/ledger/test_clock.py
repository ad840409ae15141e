"""The wall clock's time as the ledger's contract writes it."""

from __future__ import annotations

import pytest
from freezegun import freeze_time

from ledger.clock import utc_now


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        ("2026-04-22T10:15:30Z", "2026-04-22T10:15:30.000Z"),
        ("2026-01-31T23:30:00.123456-05:00", "2026-02-01T04:30:00.123Z"),
    ],
)
def test_the_time_is_utc_with_milliseconds_wherever_it_is_read(moment: str, text: str):
    with freeze_time(moment):
        assert utc_now() == text
