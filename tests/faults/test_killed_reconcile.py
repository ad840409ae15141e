"""A reconcile killed at any commit point is gone on with: it finds the same, and asks the source only for the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.killing import every_point

pytestmark = pytest.mark.long


@pytest.mark.timeout(900)
def test_a_reconcile_killed_at_every_commit_point_finds_the_same_and_asks_for_no_page_again(
    database_url: str, tmp_path: Path
):
    """`make chaos` tries every point; otherwise some of them are, spread over the whole run."""
    result, step = every_point("tests.faults.killing_reconcile", database_url, tmp_path, (7, 13))
    assert (result["differing"], result["differences"]) == ([], 2)
    assert result["kills"] >= 70 // step
    assert result["pages"] >= 10
    assert result["more"] <= 5  # what was fetched ahead of the page in hand, and the one with which each life begins
