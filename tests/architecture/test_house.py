"""The house: sizes, names and docstrings that keep the tree readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("deals", "mappings", "connectors", "ledger", "pipeline", "edge")
FILES = sorted([ROOT / "worker.py", *(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))])


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_file_says_what_it_is_for(file: Path):
    assert ast.get_docstring(ast.parse(file.read_text())), "a module docstring of one sentence is missing"
