"""A process killed at any commit point loses nothing and doubles nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killing import every_point


@pytest.mark.timeout(900)
def test_a_process_killed_at_every_commit_point_leaves_an_equal_ledger(database_url: str, tmp_path: Path):
    """`make chaos` tries every point; otherwise some of them are, spread over the whole story."""
    result, step = every_point("tests.faults.killing", database_url, tmp_path, (23, 37))
    assert result["differing"] == []
    assert result["kills"] >= 150 // step
    assert result["events"] >= 15
