"""Ledger tools: what an operator does with the embedded ledger."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, Engine

from ledger import keys
from ledger.embedded import ORG
from ledger.export import CsvSheet, Sheet
from ledger.export import export as exported
from ledger.service import create_app
from ledger.verify import org_of, orgs
from ledger.verify import rebuild as rebuilt
from ledger.verify import verify as verified
from pipeline.audit import NOBODY, Operator
from pipeline.faults import SettingsError, Unknown
from pipeline.settings import Settings
from pipeline.store.session import translated
from pipeline.wiring import open_store


def verify(settings: Settings, expect: str | None = None, org: str | None = None) -> dict[str, Any]:
    """Check chain, gaps, keys and fold of the embedded ledger:
    `{"ok", "events", "deals", "first_bad", "head", "orgs"}`.

    All organisations are checked, or one: `orgs` has the verdict on each, the rest speaks of all of them together.
    `expect` is the head of an earlier verdict, which must be in a chain; `head` is that chain's, or our own.
    Raises `Unknown` for an `org` of which the ledger holds nothing.
    """
    with _opened(settings) as engine:
        asked = _orgs(engine, org)
        holder = org_of(engine, expect) if expect is not None else ORG
        chain = holder if holder in asked else asked[0]
        verdicts = {one: verified(engine, one, expect if one == chain else None) for one in asked}
    first_bad = next((one.first_bad for one in verdicts.values() if not one.ok), None)
    return {
        "ok": all(one.ok for one in verdicts.values()),
        "events": sum(one.events for one in verdicts.values()),
        "deals": sum(one.deals for one in verdicts.values()),
        "first_bad": first_bad,
        "head": verdicts[chain].head,
        "orgs": {name: asdict(one) for name, one in verdicts.items()},
    }


def export(settings: Settings, file: Path, since: str, until: str, org: str | None) -> dict[str, Any]:
    """Write a period's events as Parquet where the file's name ends so, else as CSV:
    `{"events", "digest", "before", "head", "sha256", "file"}`.

    `digest` is the same for both formats, `sha256` that of the file's bytes. A file is replaced only by a complete one.
    Raises `SettingsError` where what Parquet needs is not installed.
    """
    sheet_of = _parquet() if file.suffix.lower() == ".parquet" else CsvSheet
    part = file.with_name(f".{file.name}.part")
    with _opened(settings) as engine:
        try:
            with part.open("w+b") as out:
                found = exported(engine, org or ORG, sheet_of(out), since=since, until=until)
                out.seek(0)
                sha256 = hashlib.file_digest(out, "sha256").hexdigest()
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    return {**asdict(found), "sha256": sha256, "file": str(file)}


def _parquet() -> Callable[[BinaryIO], Sheet]:
    try:
        from ledger.parquet import ParquetSheet
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "pyarrow":
            raise
        raise SettingsError(
            ["Parquet needs an extra that is not installed: pip install 'dealsync[parquet]', or name a .csv file"]
        ) from None
    return ParquetSheet


def rebuild(settings: Settings, operator: Operator = NOBODY, org: str | None = None) -> int:
    """Compute the projection of an organisation, or of our own, anew from its events; the number of deals.

    Raises `Unknown` for an `org` of which the ledger holds nothing.
    """

    def witness(tx: Connection, deals: int) -> None:
        operator.did(tx, "ledger rebuild", target=org or ORG, outcome=f"{deals} deals made anew")

    with _opened(settings) as engine:
        if org is not None:
            _orgs(engine, org)
        return rebuilt(engine, org or ORG, witness=witness)


def _orgs(engine: Engine, org: str | None) -> list[str]:
    """The organisation asked for, or all that the ledger holds anything of, or our own in an empty one."""
    there = orgs(engine)
    if org is not None and org not in (*there, ORG):
        raise Unknown(f"the ledger holds nothing of {org}: it has {', '.join(there) or 'nothing yet'}")
    return [org] if org is not None else there or [ORG]


def service_app(settings: Settings) -> Any:
    """The ledger's HTTP service over the embedded ledger, as an ASGI application."""
    ledger = _embedded(settings).ledger
    return create_app(open_store(settings).engine, choices=ledger.choices(), max_waiting=ledger.max_waiting)


def keys_create(
    settings: Settings, name: str, scopes: list[str], org: str | None, rpm: int | None, operator: Operator = NOBODY
) -> dict[str, Any]:
    """A new API key; its text is shown this once."""

    def witness(tx: Connection, key_id: str) -> None:
        operator.did(tx, "ledger keys create", outcome=f"made for {name}: {' '.join(scopes)}", target=key_id)

    with _opened(settings) as engine:
        return keys.create(engine, name=name, scopes=scopes, org=org or ORG, rpm=rpm, witness=witness)


def keys_list(settings: Settings) -> list[dict[str, Any]]:
    """Every key, without its text."""
    with _opened(settings) as engine:
        return keys.listed(engine)


def keys_audit(settings: Settings, key_id: str | None) -> list[dict[str, Any]]:
    """What was done with a key, or with every key, the oldest first."""
    with _opened(settings) as engine:
        return keys.audited(engine, key_id)


def keys_revoke(settings: Settings, key_id: str, operator: Operator = NOBODY) -> bool:
    """Revoke a key at once; whether it was in force."""

    def witness(tx: Connection, key_id: str) -> None:
        operator.did(tx, "ledger keys revoke", outcome="revoked", target=key_id)

    with _opened(settings) as engine:
        return keys.revoke(engine, key_id, witness=witness)


@contextmanager
def _opened(settings: Settings) -> Iterator[Engine]:
    store = open_store(_embedded(settings))
    try:
        with translated():
            yield store.engine
    finally:
        store.engine.dispose()


def _embedded(settings: Settings) -> Settings:
    if settings.ledger.kind != "embedded":
        raise SettingsError(
            ["ledger.kind is 'openquota': whoever runs that ledger serves it, verifies it and gives out its keys"]
        )
    return settings
