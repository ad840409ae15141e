"""Paths: where in a record a value lies, as keys joined by points."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from mappings.outcome import ABSENT, Unreadable, shown

Record: TypeAlias = dict[str, Any]


def finder(paths: Sequence[str]) -> Callable[[Record], Any]:
    """A function that finds the value at the first of several paths that bears one.

    A null and a blank text are passed over for a later path that bears a value. Where none does, the answer is None
    if any path was there, else `ABSENT`; no paths at all are always absent. The function raises `Unreadable` where a
    path leads through something that is neither an object nor null.
    """
    if len(paths) == 1:
        return _single(paths[0])
    if paths and not any("." in path for path in paths):
        return _first_key(paths)
    return _first([_single(path) for path in paths])


def named(paths: Sequence[str], record: Record) -> str:
    """The path whose value `finder` would give, for a message: the first path when there is none."""
    for path in paths:
        try:
            if not _nothing(_single(path)(record)):
                return path
        except Unreadable:
            return path
    return paths[0]


def _single(path: str) -> Callable[[Record], Any]:
    if "." in path:
        return _nested(path)
    return lambda record: record.get(path, ABSENT)


def _nested(path: str) -> Callable[[Record], Any]:
    *outer, last = path.split(".")

    def find(record: Record) -> Any:
        inner: Any = record
        for depth, key in enumerate(outer):
            inner = inner.get(key)
            if inner is None:
                return ABSENT
            if type(inner) is not dict:
                here = ".".join(outer[: depth + 1])
                raise Unreadable(f"found {shown(inner)} at {here}; an object would be right")
        return inner.get(last, ABSENT)

    return find


def _first(finders: Sequence[Callable[[Record], Any]]) -> Callable[[Record], Any]:
    def find(record: Record) -> Any:
        best: Any = ABSENT
        for each in finders:
            value = each(record)
            if not _nothing(value):
                return value
            if value is not ABSENT:
                best = value
        return best

    return find


def _first_key(keys: Sequence[str]) -> Callable[[Record], Any]:
    """What `_first` does, for keys of the record itself: spelt out because a first load runs it for every record."""

    first = keys[0]

    def find(record: Record) -> Any:
        value = record.get(first)
        if type(value) is str and value and not value.isspace():
            return value
        best: Any = ABSENT
        for key in keys:
            value = record.get(key, ABSENT)
            if value is not None and value is not ABSENT and (type(value) is not str or value.strip()):
                return value
            if value is not ABSENT:
                best = value
        return best

    return find


def _nothing(value: Any) -> bool:
    return value is None or value is ABSENT or (type(value) is str and not value.strip())
