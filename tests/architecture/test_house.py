"""The house: sizes, names and docstrings that keep the tree readable (DESIGN section 2)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.tree import FILES, ROOT, Function, functions, imports, length, name_of, parsed

MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 300, 50, 6
FORBIDDEN_NAMES = {"utils", "common", "helpers", "base", "core", "manager", "service"}

ALLOWED: dict[str, str] = {
    "ledger/service.py": "named so by the design: the ledger's HTTP service",
}
"""Exceptions, each with its reason. This list may only shrink."""

FAULTS_AND_WORDS = ("connectors.faults", "connectors.times", "ledger.port", "mappings.language")
"""What the edge may take from below the pipeline: faults to tell of, and how a duration is written."""

in_every_file = pytest.mark.parametrize("file", FILES, ids=name_of)


def is_migration(file: Path) -> bool:
    return "migrations" in file.parts


@in_every_file
def test_every_file_says_what_it_is_for(file: Path):
    assert ast.get_docstring(parsed(file)), "a module docstring of one sentence is missing"


@in_every_file
def test_no_file_is_longer_than_a_reader_bears(file: Path):
    if not is_migration(file):
        assert length(parsed(file), file.read_text()) <= MAX_FILE


@in_every_file
def test_no_function_is_longer_or_wider_than_a_reader_bears(file: Path):
    source = file.read_text()
    for function in functions(file):
        if not is_migration(file):
            assert length(function, source) <= MAX_FUNCTION, function.name
        assert parameters(function) <= MAX_PARAMETERS, function.name


@in_every_file
def test_no_module_is_a_drawer_for_everything(file: Path):
    if name_of(file) not in ALLOWED:
        assert file.stem not in FORBIDDEN_NAMES


@in_every_file
def test_nothing_is_left_to_do(file: Path):
    assert not re.search(r"\b(TODO|FIXME|XXX)\b", file.read_text())


@in_every_file
def test_celery_is_imported_in_two_places_only(file: Path):
    if name_of(file) not in ("worker.py", "pipeline/tasks.py"):
        assert not {module for module in imports(file) if module.split(".")[0] in ("celery", "kombu")}


@in_every_file
def test_nobody_imports_the_worker(file: Path):
    assert "worker" not in {module.split(".")[0] for module in imports(file)}


@in_every_file
def test_the_edge_goes_through_the_pipeline(file: Path):
    if name_of(file).startswith("edge/"):
        below = {module for module in imports(file) if module.split(".")[0] in ("connectors", "ledger", "mappings")}
        assert not {module for module in below if not module.startswith(FAULTS_AND_WORDS)} - {"connectors", "ledger"}


@in_every_file
def test_sources_never_import_each_other(file: Path):
    parts = file.relative_to(ROOT).parts
    sources = {folder.name for folder in (ROOT / "connectors").iterdir() if folder.is_dir()}
    if parts[0] == "connectors":
        own = parts[1] if parts[1] in sources else None
        for module in imports(file):
            words = module.split(".")
            if words[0] == "connectors" and len(words) > 1 and words[1] in sources:
                assert words[1] == own, module


def parameters(function: Function) -> int:
    """How many parameters a caller sees: `self`, `cls` and the options of a command are none."""
    everything = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    options = [arg for arg in everything if arg.annotation is not None and "Annotated" in ast.unparse(arg.annotation)]
    return len([arg for arg in everything if arg.arg not in ("self", "cls") and arg not in options])
