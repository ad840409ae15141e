"""The source tree as syntax trees, read once for all architecture tests."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("deals", "mappings", "connectors", "ledger", "pipeline", "edge")
FILES = sorted([ROOT / "worker.py", *(file for name in PACKAGES for file in (ROOT / name).rglob("*.py"))])

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def name_of(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def functions(file: Path) -> Iterator[Function]:
    for node in ast.walk(parsed(file)):
        if isinstance(node, Function):
            yield node


@cache
def imports(file: Path) -> set[str]:
    """Every module a file imports, wherever in it."""
    found = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def length(node: ast.AST, source: str) -> int:
    """Lines of code: docstrings and blank lines are not counted, comments are."""
    lines = source.splitlines()
    first, last = (getattr(node, "lineno", 1), getattr(node, "end_lineno", len(lines)))
    counted = {number for number in range(first, last + 1) if lines[number - 1].strip()}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant) and isinstance(inner.value.value, str):
            counted -= set(range(inner.lineno, (inner.end_lineno or inner.lineno) + 1))
    return len(counted)
