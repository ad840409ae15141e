"""Envelope: LeadLex wraps its answers in three ways, so they are unwrapped by their shape (sections 3, 5 and 8)."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from connectors.envelopes import opened
from connectors.faults import Unintelligible


class Meta(NamedTuple):
    """What a list says of itself: `total` over all pages, and the page size it keeps to; None where it is silent."""

    total: int | None
    per_page: int | None


class _Said(msgspec.Struct):
    total: Any = None
    per_page: Any = None


def listed(body: bytes, name: str) -> tuple[bytes, Meta]:
    """The rows of a list as a JSON array, under `data.<name>`, directly under `data`, or as the only list in there.

    Raises `Unintelligible` where no list is to be found.
    """
    outer = opened(body).parts
    data = outer.get("data", b"")
    if data.startswith(b"["):
        return data, _meta(outer.get("meta"))
    inner = opened(data).parts if data.startswith(b"{") else {}
    lists = [value for key, value in inner.items() if value.startswith(b"[")]
    rows = inner.get(name, lists[0] if len(lists) == 1 else b"")
    if not rows.startswith(b"["):
        raise Unintelligible(f"the answer has no list under data.{name}")
    return rows, _meta(outer.get("meta", inner.get("meta")))


def single(body: bytes) -> bytes:
    """The one deal of an answer, under `data.deal` or directly under `data`."""
    data = opened(body).parts.get("data", b"")
    if not data.startswith(b"{"):
        raise Unintelligible("the answer has no deal under data")
    inner = opened(data).parts.get("deal", b"")
    return inner if inner.startswith(b"{") else data


def _meta(raw: bytes | None) -> Meta:
    try:
        said = msgspec.json.decode(raw or b"{}", type=_Said)
    except msgspec.DecodeError:
        return Meta(None, None)
    return Meta(_count(said.total, 0), _count(said.per_page, 1))


def _count(value: Any, least: int) -> int | None:
    return value if type(value) is int and value >= least else None
