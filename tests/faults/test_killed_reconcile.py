"""A reconcile killed at any commit point is gone on with: it finds the same, and asks the source only for the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_a_reconcile_killed_at_every_commit_point_finds_the_same_and_asks_for_no_page_again(
    database_url: str, tmp_path: Path
):
    """`make chaos` tries every point; otherwise some of them are, spread over the whole run."""
    step = os.environ.get("DEALSYNC_KILL_STEP", "7" if database_url.startswith("sqlite") else "13")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killing_reconcile", database_url, str(tmp_path), step],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["differing"], result["differences"]) == ([], 2)
    assert result["kills"] >= 70 // int(step)
    assert result["pages"] >= 10
    assert result["more"] <= 5  # what was fetched ahead of the page in hand, and the one with which each life begins
