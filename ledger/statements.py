"""Statements: how a batch of the embedded ledger is written, a handful of statements whatever its size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, LargeBinary, Table

from ledger import bulk
from ledger.roundtrips import Statement, ask, tell
from ledger.rows import Deal, Domain, Source
from ledger.tables import deals, domain_events, source_events

AT_ONCE = 100
"""Up to so many events reach PostgreSQL in one round trip; more are copied: slower to begin, then faster."""

Holders = dict[str, tuple[str, str, bytes]]
"""For each key that is taken the source event that holds it: its id, external id and raw body."""

_HOLDERS = "SELECT dedup_key, id, external_id, raw_body FROM ledger_source_events WHERE org_id = ? AND dedup_key"
_HEAD = (
    f"SELECT {', '.join(domain_events.columns.keys())} FROM ledger_domain_events "  # noqa: S608 - names of columns
    "WHERE org_id = ? ORDER BY sequence DESC LIMIT 1"
)
_KEYS = "SELECT sha256, key_id, org_id, prefix, scopes, rpm FROM ledger_api_keys WHERE revoked_at IS NULL AND sha256"
_STATES = "SELECT external_id, state FROM ledger_deals WHERE id"

_json = msgspec.json.Encoder().encode


def lock(tx: Connection, org: str) -> None:
    """Let nobody else append to this org until the transaction ends. On SQLite its writer is alone anyway."""
    if tx.dialect.name == "postgresql":
        ask(tx, _locking(org))


def look(tx: Connection, org: str, keys: Sequence[str]) -> tuple[Holders, Domain | None]:
    """Lock the org, as `lock` does; then who holds these keys, and the last event of the org's chain."""
    questions: list[Statement] = [_among(tx, _HOLDERS, keys, org), (_HEAD, (org,))]
    if tx.dialect.name == "postgresql":
        questions = [_locking(org), *questions]
    *_, held, last = ask(tx, *questions)
    return {key: (one, deal, bytes(raw)) for key, one, deal, raw in held}, next(map(Domain._make, last), None)


def append(tx: Connection, sources: Sequence[Source], chained: Iterable[Domain], latest: Mapping[str, Deal]) -> None:
    """Insert source events whose keys were free when `look` looked, under this lock, and their domain events; insert
    or overwrite the deals. An iterator is run to its end, and `latest` read only then.

    Should somebody have written past the lock, the indexes refuse the whole batch: it is then sent again.
    """
    if tx.dialect.name == "postgresql" and len(sources) <= AT_ONCE:
        domains = list(chained)
        tell(tx, (_APPEND, tuple(_objects(rows) for rows in (sources, domains, list(latest.values())))))
        return
    bulk.insert(tx, source_events, sources)
    bulk.insert(tx, domain_events, chained)
    project(tx, list(latest.values()))


def project(tx: Connection, rows: Sequence[Deal]) -> None:
    """Insert deals or overwrite them, under the org's lock."""
    bulk.upsert(tx, deals, rows, locked=True)


def holders(tx: Connection, org: str, keys: Sequence[str]) -> Holders:
    """Who holds these keys; nobody is kept from taking others meanwhile."""
    [held] = ask(tx, _among(tx, _HOLDERS, keys, org))
    return {key: (one, deal, bytes(raw)) for key, one, deal, raw in held}


def states(tx: Connection, ids: Sequence[str]) -> dict[str, str]:
    """The states of those of these deals that there are, by external id."""
    [found] = ask(tx, _among(tx, _STATES, ids))
    return dict(found)


def keys_in_force(tx: Connection, digests: Sequence[str]) -> list[tuple[str, str, str, str, str, int]]:
    """For each of these digests that is a key's in force: digest, key id, org, prefix, scopes, requests a minute."""
    [found] = ask(tx, _among(tx, _KEYS, digests))
    return found


def _locking(org: str) -> Statement:
    return f"{bulk.BY_INDEX}, pg_advisory_xact_lock(hashtextextended(?, 0))", (f"ledger of {org}",)


def _among(tx: Connection, sql: str, values: Sequence[str], *before: str) -> Statement:
    """A statement that ends with a text column, which is to be one of these values."""
    if tx.dialect.name == "postgresql":
        return f"{sql} = ANY(?)", (*before, list(values))
    return f"{sql} IN (SELECT value FROM json_each(?))", (*before, json.dumps(list(values)))  # noqa: S608


def _objects(rows: Sequence[Any]) -> str:
    """Rows as a JSON array: one value to send, where an array for each column costs ten times as much to encode."""
    return _json([row._asdict() for row in rows]).decode()


def _insert(table: Table, tail: str = "") -> str:
    """The insert of such an array; bytes are in base64."""
    columns = table.columns.items()
    kinds = [f"{name} {'int8' if isinstance(column.type, BigInteger) else 'text'}" for name, column in columns]
    values = [f"decode({name}, 'base64')" if isinstance(column.type, LargeBinary) else name for name, column in columns]
    return (
        f"INSERT INTO {table.name} ({', '.join(table.columns.keys())}) SELECT {', '.join(values)} "  # noqa: S608
        f"FROM json_to_recordset(?::json) AS row ({', '.join(kinds)}) {tail}"
    )


_OVERWRITE = ", ".join(f"{column.name} = excluded.{column.name}" for column in deals.columns if column.name != "id")
_APPEND = (
    f"WITH taken AS ({_insert(source_events)}), recorded AS ({_insert(domain_events)}) "
    f"{_insert(deals, f'ON CONFLICT (id) DO UPDATE SET {_OVERWRITE}')}"
)
