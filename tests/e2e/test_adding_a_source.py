"""One folder and one table: a source that was not there yesterday is enrolled, and held to everything, as it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.registry import names
from tests.architecture.tree import PACKAGES, ROOT

NEW = ROOT / "tests/acme"
BESIDES = ("worker.py", "pyproject.toml", "tests", "docs")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_new_folder_and_a_new_table_are_a_source_and_nothing_else_was_touched(tmp_path: Path):
    """A copy of the tree without any of its sources, and one that it has never heard of: code, table and contract.

    The whole kit runs over it, PostgreSQL included.
    """
    for name in (*PACKAGES, *BESIDES):
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", *names(), NEW.name))
        else:
            shutil.copy(place, tmp_path / name)
    for table in (tmp_path / "mappings").glob("*.toml"):
        table.unlink()
    shutil.copytree(NEW, tmp_path / "connectors" / NEW.name, ignore=shutil.ignore_patterns("__pycache__", "acme.*"))
    shutil.copy(NEW / "acme.toml", tmp_path / "mappings")
    shutil.copy(NEW / "acme.md", tmp_path / "docs/contracts")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance"]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 90, done.stdout[-500:]
