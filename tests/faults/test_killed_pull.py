"""A process killed at any commit point loses nothing and doubles nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(900)
def test_a_process_killed_at_every_commit_point_leaves_an_equal_ledger(database_url: str, tmp_path: Path):
    """`make chaos` tries every point; otherwise some of them are, spread over the whole story."""
    step = os.environ.get("DEALSYNC_KILL_STEP", "11" if database_url.startswith("sqlite") else "17")
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.killing", database_url, str(tmp_path), step],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["differing"] == []
    assert result["kills"] >= 150 // int(step)
    assert result["events"] >= 15
