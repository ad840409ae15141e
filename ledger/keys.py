"""Keys of the HTTP service: made, shown once, found by their digest, revoked (contracts/openquota.md section 2)."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select, update

from ledger import statements
from ledger.clock import utc_now
from ledger.embedded import ORG
from ledger.engine import reading
from ledger.faults import translated
from ledger.tables import api_keys, audit

SCOPES = ("deals:write", "deals:read", "earnings:read", "plans:read")
DEFAULT_RPM = 1000

_ORG = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that is in force: `rpm` requests a minute for one org."""

    key_id: str
    org: str
    prefix: str
    scopes: tuple[str, ...]
    rpm: int


def create(
    engine: Engine, *, name: str, scopes: Sequence[str], org: str = ORG, rpm: int | None = None
) -> dict[str, Any]:
    """Make a key: `{"key_id", "key", "prefix", "org", "scopes", "rpm"}`. `key` is told here and never again.

    Raises `ValueError` for an unknown scope, a name, org or limit that cannot be, and a `LedgerFault`.
    """
    _check(name, scopes, org, rpm)
    key = f"oqp_{secrets.token_hex(32)}"
    row = {
        "key_id": f"ak_{secrets.token_hex(10)}",
        "org_id": org,
        "name": name,
        "prefix": key[:8],
        "sha256": _digest(key),
        "scopes": " ".join(scope for scope in SCOPES if scope in scopes),
        "rpm": DEFAULT_RPM if rpm is None else rpm,
        "created_at": utc_now(),
    }
    with translated(), engine.begin() as tx:
        tx.execute(api_keys.insert().values(row))
        _audited(tx, str(row["key_id"]), "created", 0, 1, str(row["created_at"]))
    return {
        "key_id": row["key_id"],
        "key": key,
        "prefix": row["prefix"],
        "org": org,
        "scopes": str(row["scopes"]).split(),
        "rpm": row["rpm"],
    }


def listed(engine: Engine) -> list[dict[str, Any]]:
    """Every key ever made, the oldest first, without its text or digest."""
    with translated(), reading(engine) as tx:
        rows = tx.execute(select(api_keys).order_by(api_keys.c.created_at, api_keys.c.key_id)).all()
    return [
        {
            "key_id": row.key_id,
            "name": row.name,
            "prefix": row.prefix,
            "org": row.org_id,
            "scopes": row.scopes.split(),
            "rpm": row.rpm,
            "created_at": row.created_at,
            "revoked_at": row.revoked_at,
            "last_used_at": row.last_used_at,
        }
        for row in rows
    ]


def revoke(engine: Engine, key_id: str) -> bool:
    """Revoke a key: the next request with it is refused. Whether it was in force until now."""
    in_force = (api_keys.c.key_id == key_id) & api_keys.c.revoked_at.is_(None)
    at = utc_now()
    with translated(), engine.begin() as tx:
        revoked = tx.execute(update(api_keys).where(in_force).values(revoked_at=at)).rowcount == 1
        if revoked:
            _audited(tx, key_id, "revoked", 0, 1, at)
    return revoked


def in_force(tx: Connection, texts: Set[str]) -> dict[str, ApiKey]:
    """The keys in force among these texts. Looked up by digest, so that timing tells nothing of a text."""
    digests = {_digest(text): text for text in texts}
    return {
        digests[sha256]: ApiKey(key_id, org, prefix, tuple(scopes.split()), rpm)
        for sha256, key_id, org, prefix, scopes, rpm in statements.keys_in_force(tx, list(digests))
    }


def note(engine: Engine, calls: Mapping[tuple[str, str, int], int]) -> None:
    """Write down calls, counted by key id, method and path, and status; and that their keys were used."""
    at = utc_now()
    with translated(), engine.begin() as tx:
        for (key_id, action, status), number in calls.items():
            _audited(tx, key_id, action, status, number, at)
        used = api_keys.c.key_id.in_(sorted({key_id for key_id, _, _ in calls}))
        tx.execute(update(api_keys).where(used).values(last_used_at=at))


def audited(engine: Engine, key_id: str | None = None) -> list[dict[str, Any]]:
    """What was done with a key, or with all: `{"key_id", "action", "status", "calls", "at"}`, the oldest first."""
    query = select(audit).order_by(audit.c.id)
    with translated(), reading(engine) as tx:
        rows = tx.execute(query if key_id is None else query.where(audit.c.key_id == key_id)).all()
    return [
        {"key_id": row.key_id, "action": row.action, "status": row.status, "calls": row.calls, "at": row.at}
        for row in rows
    ]


def _audited(tx: Connection, *row: object) -> None:
    names = ("key_id", "action", "status", "calls", "at")
    tx.execute(audit.insert().values(dict(zip(names, row, strict=True))))


def _check(name: str, scopes: Sequence[str], org: str, rpm: int | None) -> None:
    if not name.strip() or len(name) > 255 or not name.isprintable():
        raise ValueError("a key needs a name of 1 to 255 printable characters")
    for scope in scopes:
        if scope not in SCOPES:
            raise ValueError(f"{scope!r} is no scope: choose from {', '.join(SCOPES)}")
    if not scopes:
        raise ValueError(f"a key needs at least one scope: choose from {', '.join(SCOPES)}")
    if not _ORG.fullmatch(org):
        raise ValueError("an org is named with a-z, 0-9 and _, at most 64 characters")
    if rpm is not None and not 1 <= rpm <= 1_000_000:
        raise ValueError("the limit is a number of requests a minute from 1 to 1,000,000")


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
