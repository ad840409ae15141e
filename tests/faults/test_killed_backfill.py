"""A backfill killed at any commit point is gone on with, and leaves the ledger that an unbroken one leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killing import every_point

pytestmark = pytest.mark.long


@pytest.mark.timeout(900)
def test_a_backfill_killed_at_every_commit_point_leaves_an_equal_ledger(database_url: str, tmp_path: Path):
    """`make chaos` tries every point; otherwise some of them are, spread over the whole story."""
    result, step = every_point("tests.faults.killing_backfill", database_url, tmp_path, (7, 13))
    assert result["differing"] == []
    assert result["kills"] >= 100 // step
    assert result["events"] >= 12
