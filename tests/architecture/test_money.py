"""Money paths know no floats: not as literals, not by conversion, not by reading JSON."""

from __future__ import annotations

import ast

from tests.architecture.tree import FILES, name_of

CLOCKS = ("ledger/budget.py", "ledger/gate.py", "ledger/window.py")
"""They count requests and seconds, and see no amount."""

MONEY = [
    file
    for file in FILES
    if (name_of(file).startswith(("deals/", "mappings/", "ledger/")) and name_of(file) not in CLOCKS)
    or name_of(file) in ("pipeline/apply.py", "pipeline/decode.py", "pipeline/replay.py")
]
SECONDS = ("_s", "_after", "timeout", "delay", "wait", "time", "monotonic", "epoch", "sleep", "seconds", "jitter")
"""Floats are seconds where their name says so."""


def floats(tree: ast.Module) -> list[str]:
    """Uses of float in a tree that are not a span of time."""
    found = []
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            child.parent = node  # type: ignore[attr-defined]
    for node in ast.walk(tree):
        is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
        is_name = isinstance(node, ast.Name) and node.id == "float"
        reads_json = (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) in ("json.loads", "json.load", "msgspec.json.decode")
            and not {"parse_float", "float_hook", "type"} & {keyword.arg for keyword in node.keywords}
        )
        if (is_literal or is_name) and not about_time(node):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        if reads_json:
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
    return found


def about_time(node: ast.AST) -> bool:
    statement = node
    while not isinstance(statement, ast.stmt | ast.arg | ast.keyword):
        statement = statement.parent  # type: ignore[attr-defined]
    text = ast.unparse(statement).lower()
    return any(word in text for word in SECONDS)


def test_no_float_in_a_money_path():
    assert {name_of(file): found for file in MONEY if (found := floats(ast.parse(file.read_text())))} == {}


def test_the_check_can_fail():
    assert floats(ast.parse("amount = float(raw)")) == ["line 1: float"]
    assert floats(ast.parse("amount = 12.5")) == ["line 1: 12.5"]
    assert floats(ast.parse("json.loads(body)")) == ["line 1: json.loads(body)"]
    assert floats(ast.parse("retry_after_s: float = 0.5")) == []
