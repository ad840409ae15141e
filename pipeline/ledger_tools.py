"""Ledger tools: what an operator does with the embedded ledger."""

from __future__ import annotations

from typing import Any

from ledger import keys
from ledger.embedded import ORG
from ledger.service import create_app
from ledger.verify import rebuild as rebuilt
from ledger.verify import verify as verified
from pipeline.faults import SettingsError
from pipeline.settings import Settings
from pipeline.wiring import open_store


def verify(settings: Settings) -> dict[str, Any]:
    """Check chain, gaps, keys and fold of the embedded ledger: `{"ok", "events", "deals", "first_bad"}`."""
    store = open_store(_embedded(settings))
    try:
        verdict = verified(store.engine, ORG)
    finally:
        store.engine.dispose()
    return {"ok": verdict.ok, "events": verdict.events, "deals": verdict.deals, "first_bad": verdict.first_bad}


def rebuild(settings: Settings) -> int:
    """Compute the ledger's projection anew from its events; the number of deals."""
    store = open_store(_embedded(settings))
    try:
        return rebuilt(store.engine, ORG)
    finally:
        store.engine.dispose()


def service_app(settings: Settings) -> Any:
    """The ledger's HTTP service over the embedded ledger, as an ASGI application."""
    return create_app(open_store(_embedded(settings)).engine)


def keys_create(settings: Settings, name: str, scopes: list[str], org: str | None, rpm: int | None) -> dict[str, Any]:
    """A new API key; its text is shown this once."""
    return keys.create(open_store(settings).engine, name=name, scopes=scopes, org=org or ORG, rpm=rpm)


def keys_list(settings: Settings) -> list[dict[str, Any]]:
    """Every key, without its text."""
    return keys.listed(open_store(settings).engine)


def keys_revoke(settings: Settings, key_id: str) -> bool:
    """Revoke a key at once; whether it was in force."""
    return keys.revoke(open_store(settings).engine, key_id)


def _embedded(settings: Settings) -> Settings:
    if settings.ledger.kind != "embedded":
        raise SettingsError(["ledger.kind is 'openquota': its own operators verify that ledger, not this command"])
    return settings
