"""The house: sizes, names and docstrings that keep the tree readable; each rule lists whatever breaks it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import FILES, ROOT, Definition, Function, functions, imports, length, name_of, parsed

MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 300, 50, 6
FORBIDDEN_NAMES = {"utils", "common", "helpers", "base", "core", "manager", "service"}

ALLOWED: dict[str, str] = {
    "ledger/service.py": "named so by the design: the ledger's HTTP service",
}
"""Exceptions, each with its reason. This list may only shrink."""

FAULTS_AND_WORDS = ("connectors.faults", "connectors.times", "ledger.port", "mappings.language")
"""What the edge may take from below the pipeline: faults to tell of, and how a duration is written."""

PRODUCT = [file for file in FILES if "migrations" not in file.parts]
"""Migrations are excepted from sizes and docstrings: each is one long list, written once and never called by hand."""


def test_every_file_says_what_it_is_for():
    assert [name_of(file) for file in FILES if not ast.get_docstring(parsed(file))] == []


def test_every_public_name_says_what_it_means():
    silent = (f"{name_of(file)}: {name}" for file in PRODUCT for name, node in public(parsed(file)) if not told(node))
    assert [name for name in silent if name not in ALLOWED] == []


def test_every_exception_is_still_needed():
    silent = {f"{name_of(file)}: {name}" for file in PRODUCT for name, node in public(parsed(file)) if not told(node)}
    drawers = {name_of(file) for file in FILES if file.stem in FORBIDDEN_NAMES}
    assert sorted(ALLOWED.keys() - silent - drawers) == []


def test_no_file_is_longer_than_a_reader_bears():
    sizes = {name_of(file): length(parsed(file), file.read_text()) for file in PRODUCT}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE} == {}


def test_no_function_is_longer_than_a_reader_bears():
    sizes = {
        f"{name_of(file)}: {function.name}": length(function, file.read_text())
        for file in PRODUCT
        for function in functions(file)
    }
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION} == {}


def test_no_function_is_wider_than_a_reader_bears():
    widths = {f"{name_of(file)}: {one.name}": parameters(one) for file in FILES for one in functions(file)}
    assert {name: width for name, width in widths.items() if width > MAX_PARAMETERS} == {}


def test_no_module_is_a_drawer_for_everything():
    drawers = [name_of(file) for file in FILES if file.stem in FORBIDDEN_NAMES]
    assert [name for name in drawers if name not in ALLOWED] == []


def test_nothing_is_left_to_do():
    assert [name_of(file) for file in FILES if re.search(r"\b(TODO|FIXME|XXX)\b", file.read_text())] == []


def test_no_comment_sends_the_reader_to_a_paper_that_is_not_here():
    assert [name_of(file) for file in FILES if re.search(r"\bDESIGN\b", file.read_text())] == []


def test_nothing_of_ours_is_called_sync_or_job():
    names = [(file, node.name) for file in FILES for node in ast.walk(parsed(file)) if isinstance(node, Definition)]
    names += [(file, file.stem) for file in FILES]
    wrong = re.compile(r"(^|_)(sync|job)s?(_|$)|^(Sync|Job)|Job$", re.ASCII)
    assert [f"{name_of(file)}: {name}" for file, name in names if wrong.search(name)] == []


def test_celery_is_imported_in_two_places_only():
    users = {name_of(file) for file in FILES if roots(file) & {"celery", "kombu"}}
    assert users == {"worker.py", "pipeline/tasks.py"}


def test_nobody_imports_the_worker():
    assert [name_of(file) for file in FILES if "worker" in roots(file)] == []


def test_the_edge_goes_through_the_pipeline():
    below = ("connectors.", "ledger.", "mappings.")
    taken = [(file, module) for file in FILES if name_of(file).startswith("edge/") for module in imports(file)]
    reached = [(file, module) for file, module in taken if module.startswith(below)]
    assert [f"{name_of(file)}: {module}" for file, module in reached if not module.startswith(FAULTS_AND_WORDS)] == []


def test_sources_never_import_each_other():
    sources = {folder.name for folder in (ROOT / "connectors").iterdir() if (folder / "__init__.py").is_file()}
    assert sources
    for file in FILES:
        parts = file.relative_to(ROOT).parts
        if parts[0] == "connectors":
            taken = {module.split(".")[1] for module in imports(file) if module.startswith("connectors.")}
            assert taken & sources <= {parts[1]}, name_of(file)


def public(tree: ast.Module | ast.ClassDef, within: str = "") -> Iterator[tuple[str, Definition]]:
    """The functions, classes and methods that others may use, by their names."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield within + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node, f"{node.name}.")


def told(node: Definition) -> bool:
    return bool((ast.get_docstring(node) or "").strip())


def roots(file: Path) -> set[str]:
    return {module.split(".")[0] for module in imports(file)}


def parameters(function: Function) -> int:
    """How many parameters a caller sees: `self` and `cls` are none, nor are the options of a command."""
    if any(re.search(r"\.(command|callback)\b", ast.unparse(decorator)) for decorator in function.decorator_list):
        return 0
    everything = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([arg for arg in everything if arg.arg not in ("self", "cls")])
