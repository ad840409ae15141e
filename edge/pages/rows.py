"""Rows: a page of a list, and where the one that follows it begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

Row = TypeVar("Row")

ROWS = 100
"""So many rows a page shows; it asks for one more, to know whether others follow."""


def a_page(found: Iterable[Row], place: Callable[[Row], Any], rows: int = ROWS) -> tuple[list[Row], Any]:
    """The rows that a page shows, and the place of the last of them where others follow it, else None."""
    some = list(found)
    return some[:rows], place(some[rows - 1]) if len(some) > rows else None
