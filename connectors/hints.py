"""Hints: what a webhook delivery says, which is only ever which records to look at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

import msgspec

Scheme: TypeAlias = Literal["hmac", "header", "leadlex"]
Signed: TypeAlias = Literal["body", "timestamp.body", "auto"]


class Hint(msgspec.Struct, frozen=True):
    """Look at this record.

    `version` is the version the delivery says the record has, comparable with `Record.version`: a fetch that sees an
    older one asks again later. `deleted` says that the delivery announced the record's end: then a 404 proves it.
    """

    source_id: str
    version: str | None = None
    deleted: bool = False


class Heard(msgspec.Struct, frozen=True):
    """What the body of a verified delivery says.

    `event` is the vendor's word for what happened, at most 64 characters. `pull` asks for a pull instead of single
    fetches: the delivery names no records, or so many that a pull costs fewer requests. `known` is False for events
    that this source need not look at; they are acknowledged and counted. `workspace` is the tenant the delivery says
    it comes from. `said_at` is the time inside the signed body (ISO 8601, ms, Z).
    """

    event: str
    hints: tuple[Hint, ...] = ()
    pull: bool = False
    known: bool = True
    workspace: str | None = None
    said_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """How a source's deliveries are told from forgeries unless a connection says otherwise, and what they say.

    `scheme` `header` compares the secret itself with the header named `header`. `hmac` and `leadlex` compare an
    HMAC-SHA256 in `signature_header`; `signed` says of what: the raw body, `<timestamp>.<raw body>`, or the latter
    just when the timestamp header was sent (`auto`). `past` and `ahead` bound the signed time: that of
    `timestamp_header`, or with `leadlex` the one inside the body. `delivery_header` names a delivery for good; where it
    is empty, or changes with every attempt, the digest of the signed bytes does.

    `hear` reads a verified body. It raises `ValueError` for one that is not as the contract says. `tells_workspace` and
    `tells_time` promise that what it hears of a delivery bears `workspace` and `said_at`: without the first, no
    delivery can be held against a connection's `workspace_id`, without the second none is bounded by `leadlex`.
    """

    scheme: Scheme
    hear: Callable[[bytes], Heard]
    header: str = ""
    signature_header: str = ""
    timestamp_header: str = ""
    delivery_header: str = ""
    signed: Signed = "body"
    past: timedelta | None = None
    ahead: timedelta | None = None
    tells_workspace: bool = False
    tells_time: bool = False
