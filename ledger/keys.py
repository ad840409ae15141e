"""Keys of the HTTP service: made, shown once, found by their digest, revoked (contracts/openquota.md section 2)."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, select, update

from ledger import statements
from ledger.clock import utc_now
from ledger.embedded import ORG
from ledger.engine import reading
from ledger.faults import translated
from ledger.tables import api_keys, audit

SCOPES = ("deals:write", "deals:read", "earnings:read", "plans:read")
DEFAULT_RPM = 1000

MINUTES_KEPT_DAYS, CALLS_KEPT_DAYS = 7, 400
"""For so many days calls are told to the minute, and for so many at all."""

_MINUTE, _DAY = len("2026-04-22T10:15"), len("2026-04-22")
_AUDITED = ("key_id", "action", "status", "calls", "at")
_ORG = re.compile(r"[a-z0-9_]{1,64}")


Witness = Callable[[Connection, str], None]
"""Is told a key's id in the transaction that makes or revokes it: what it writes is committed together with that."""


def nobody(tx: Connection, key_id: str) -> None:
    """Where nobody writes down who did it."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that is in force: `rpm` requests a minute for one org."""

    key_id: str
    org: str
    prefix: str
    scopes: tuple[str, ...]
    rpm: int


def create(
    engine: Engine,
    *,
    name: str,
    scopes: Sequence[str],
    org: str = ORG,
    rpm: int | None = None,
    witness: Witness = nobody,
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
        witness(tx, str(row["key_id"]))
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


def revoke(engine: Engine, key_id: str, *, witness: Witness = nobody) -> bool:
    """Revoke a key: the next request with it is refused. Whether it was in force until now."""
    in_force = (api_keys.c.key_id == key_id) & api_keys.c.revoked_at.is_(None)
    at = utc_now()
    with translated(), engine.begin() as tx:
        revoked = tx.execute(update(api_keys).where(in_force).values(revoked_at=at)).rowcount == 1
        if revoked:
            _audited(tx, key_id, "revoked", 0, 1, at)
            witness(tx, key_id)
    return revoked


def in_force(tx: Connection, texts: Set[str]) -> dict[str, ApiKey]:
    """The keys in force among these texts. Looked up by digest, so that timing tells nothing of a text."""
    digests = {_digest(text): text for text in texts}
    return {
        digests[sha256]: ApiKey(key_id, org, prefix, tuple(scopes.split()), rpm)
        for sha256, key_id, org, prefix, scopes, rpm in statements.keys_in_force(tx, list(digests))
    }


def note(engine: Engine, calls: Mapping[tuple[str, str, int], int], at: str) -> None:
    """Write down calls that were made until `at`, counted by key id, method and path, and status: those of a minute
    share a row. And that their keys were used."""
    with translated(), engine.begin() as tx:
        for (key_id, action, status), number in calls.items():
            same = (audit.c.key_id == key_id) & (audit.c.action == action) & (audit.c.status == status)
            this_minute = same & (audit.c.at >= at[:_MINUTE]) & (audit.c.at <= at)
            joined = update(audit).where(this_minute).values(calls=audit.c.calls + number, at=at)
            if not tx.execute(joined).rowcount:
                _audited(tx, key_id, action, status, number, at)
        used = api_keys.c.key_id.in_(sorted({key_id for key_id, _, _ in calls}))
        tx.execute(update(api_keys).where(used).values(last_used_at=at))


def tidy(engine: Engine, now: str) -> None:
    """Keep the audit of calls bounded: a row a minute for a week, then one a day, for 400 days (docs/decisions/0020).

    How a key came and went stays for ever. Any number of processes may do this, as often as they like.
    """
    a_week_ago, long_ago = _day(now, -MINUTES_KEPT_DAYS), _day(now, -CALLS_KEPT_DAYS)
    calls, day = audit.c.status > 0, func.substr(audit.c.at, 1, _DAY)
    several = select(day).where(calls, audit.c.at < a_week_ago).distinct()
    several = several.group_by(audit.c.key_id, audit.c.action, audit.c.status, day).having(func.count() > 1)
    with translated(), engine.begin() as tx:
        statements.lock(tx, "audit")
        tx.execute(delete(audit).where(calls, audit.c.at < long_ago))
        for one in tx.execute(several).scalars().all():
            of_day = calls & (audit.c.at >= one) & (audit.c.at < _day(one, 1))
            last = tx.execute(select(func.max(audit.c.id)).where(of_day)).scalar_one()
            what = (audit.c.key_id, audit.c.action, audit.c.status)
            total = select(*what, func.sum(audit.c.calls), func.max(audit.c.at)).where(of_day).group_by(*what)
            tx.execute(audit.insert().from_select(_AUDITED, total))
            tx.execute(delete(audit).where(of_day, audit.c.id <= last))


def audited(engine: Engine, key_id: str | None = None) -> list[dict[str, Any]]:
    """What was done with a key, or with all: `{"key_id", "action", "status", "calls", "at"}`, the oldest first."""
    query = select(audit).order_by(audit.c.at, audit.c.id)
    with translated(), reading(engine) as tx:
        rows = tx.execute(query if key_id is None else query.where(audit.c.key_id == key_id)).all()
    return [
        {"key_id": row.key_id, "action": row.action, "status": row.status, "calls": row.calls, "at": row.at}
        for row in rows
    ]


def _audited(tx: Connection, *row: object) -> None:
    tx.execute(audit.insert().values(dict(zip(_AUDITED, row, strict=True))))


def _day(at: str, later: int) -> str:
    """The day so many days later than a time's, as times begin that are of it."""
    return (date.fromisoformat(at[:_DAY]) + timedelta(days=later)).isoformat()


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
