"""Visibility: a list that shows only what this client or its person may see looks just like a list of everything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from connectors.cpod.cursor import Scan, State
from connectors.source import Record
from connectors.times import instant

APP = (
    "the token is bound to one application (app_id), so lists may show only what that application has written; compare "
    "the number of deals with the app, then use a tenant-wide client or set own_records_ok"
)
ONE_OWNER = (
    "all deals have one owner, so the list may show only this client's own; compare the number of deals with the app, "
    "then set own_records_ok"
)
SHRUNK = (
    "the list has fewer than half of the deals it once had, as it would after a loss of rights; compare the number of "
    "deals with the app, then set own_records_ok"
)

FEW = 20
"""Below so many deals one owner, or a halved list, says nothing."""


class _Head(msgspec.Struct):
    owner_id: Any = None
    updated_at: Any = None


_heads = msgspec.json.Decoder(_Head)


def counted(scan: Scan, records: Iterable[Record], *, stamped: bool, witness: str | None = None) -> Scan:
    """The scan with the rows of one more page counted; `stamped` looks at their `updated_at` as well, and for the
    deal `witness`.
    """
    living, deleted, owner, ignored, seen = scan.living, scan.deleted, scan.owner, scan.ignored, scan.seen
    newest, newest_id = scan.newest, scan.newest_id
    for record in records:
        if stamped or (owner is not None and not record.deleted):
            head = _head(record.raw)
            if not record.deleted and owner is not None and isinstance(head.owner_id, str):
                owner = head.owner_id if owner in ("", head.owner_id) else None
            stamp = instant(head.updated_at) if stamped else None
            if stamp is not None and (newest or "") < stamp <= scan.began:
                newest, newest_id = stamp, record.source_id
            seen = seen or record.source_id == witness
            ignored = ignored or (scan.since is not None and stamp is not None and stamp < scan.since)
        deleted, living = deleted + record.deleted, living + (not record.deleted)
    return msgspec.structs.replace(
        scan,
        living=living,
        deleted=deleted,
        owner=owner,
        newest=newest,
        newest_id=newest_id,
        ignored=ignored,
        seen=seen,
    )


def bound(claims: Mapping[str, Any]) -> bool:
    """Whether a token says that it is an application's."""
    return any(claims.get(name) not in (None, "") for name in ("app_id", "appId"))


def doubts(claims: Mapping[str, Any], state: State, scan: Scan) -> tuple[str, ...]:
    """Why a complete read may not have been shown every deal of the tenant."""
    found = []
    if bound(claims):
        found.append(APP)
    if scan.owner and scan.living >= FEW:
        found.append(ONE_OWNER)
    if state.most >= FEW and 2 * scan.living < state.most:
        found.append(SHRUNK)
    return tuple(found)


def _head(raw: bytes) -> _Head:
    try:
        return _heads.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return _Head()
