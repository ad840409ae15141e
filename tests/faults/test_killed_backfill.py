"""A backfill killed at any commit point is gone on with, and leaves the ledger that an unbroken one leaves."""

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
def test_a_backfill_killed_at_every_commit_point_leaves_an_equal_ledger(database_url: str, tmp_path: Path):
    """`make chaos` tries every point; otherwise some of them are, spread over the whole story."""
    step = os.environ.get("DEALSYNC_KILL_STEP", "7" if database_url.startswith("sqlite") else "13")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killing_backfill", database_url, str(tmp_path), step],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["differing"] == []
    assert result["kills"] >= 100 // int(step)
    assert result["events"] >= 12
