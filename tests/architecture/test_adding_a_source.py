"""One folder and one table: a source that was not there yesterday is enrolled, and held to everything, as it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import FILES, ROOT, name_of

SOURCES = sorted(folder.parent.name for folder in (ROOT / "connectors").glob("*/__init__.py"))
MODEL, NEW = "planhat", "acme"
PACKAGES = ("deals", "mappings", "connectors", "ledger", "pipeline", "edge")
BESIDES = ("worker.py", "pyproject.toml", "tests", "docs")


def test_no_other_module_decides_anything_by_the_name_of_a_source():
    """Names in texts and comments are examples; a name that the code compares with, or imports, is not."""
    named = re.compile(rf"""(?:==|!=|\bin\b|import|from connectors\.)\s*\(?\W*({"|".join(SOURCES)})\b""")
    others = [file for file in FILES if not any(f"connectors/{source}/" in name_of(file) for source in SOURCES)]
    found = {name_of(file) for file in others if any(map(named.search, file.read_text().splitlines()))}
    assert found == {"connectors/signatures.py"}, "where `leadlex` is a way to sign, open to every source"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_new_folder_and_a_new_table_are_a_source_and_nothing_else_was_touched(tmp_path: Path):
    """A copy of the tree without any source, and one under a name that nobody knows: its code, its table, its contract.

    Nothing can treat it as a special case, and the whole kit runs over it all the same.
    """
    for name in (*PACKAGES, *BESIDES):
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", *SOURCES))
        else:
            shutil.copy(place, tmp_path / name)
    for table in (tmp_path / "mappings").glob("*.toml"):
        table.unlink()
    renamed(ROOT / "connectors" / MODEL, tmp_path / "connectors" / NEW)
    renamed(ROOT / "mappings" / f"{MODEL}.toml", tmp_path / "mappings" / f"{NEW}.toml")
    renamed(ROOT / "docs/contracts" / f"{MODEL}.md", tmp_path / "docs/contracts" / f"{NEW}.md")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", NEW]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([*command, "tests/conformance"], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 50, done.stdout[-500:]
    assert "skipped" not in done.stdout.splitlines()[-1]


def renamed(here: Path, there: Path) -> None:
    """A file or a folder under the new name, and with it wherever the old one stood."""
    if here.is_dir():
        there.mkdir()
        for one in here.iterdir():
            if one.name != "__pycache__":
                renamed(one, there / one.name.replace(MODEL, NEW))
        return
    text = here.read_text()
    for old, new in ((MODEL, NEW), (MODEL.capitalize(), NEW.capitalize()), (MODEL.upper(), NEW.upper())):
        text = text.replace(old, new)
    there.write_text(text)
