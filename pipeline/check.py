"""Check: try a connection and the ledger without writing anything, and say what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx

from connectors.faults import Fault
from connectors.findings import of_fault
from connectors.hints import Webhooks
from connectors.registry import source
from connectors.source import Finding
from ledger.clock import utc_now
from ledger.port import LedgerFault, LedgerRefused
from pipeline.faults import SettingsError
from pipeline.receive import segments_of
from pipeline.sections import Webhook
from pipeline.settings import Settings
from pipeline.wiring import connected, open_remote


def check(
    settings: Settings, connection: str | None = None, *, transports: Mapping[str, httpx.BaseTransport] | None = None
) -> Iterator[tuple[str, Finding]]:
    """Findings, each with the connection's name (or `ledger`): every connection, or one; then the ledger.

    Needs no store. Raises `Unknown` for a connection that is not configured.
    """
    names = sorted(settings.connections) if connection is None else [connection]
    for name in names:
        transport = (transports or {}).get(name)
        yield from ((name, finding) for finding in _connection(settings, name, transport))
    if settings.ledger.kind == "openquota":
        yield "ledger", _ledger(settings)


def _connection(settings: Settings, name: str, transport: httpx.BaseTransport | None) -> Iterator[Finding]:
    try:
        chosen = connected(settings, name, transport)
    except SettingsError as error:
        yield Finding("mapping", False, str(error), "misconfigured")
        return
    yield Finding("mapping", True, f"version {chosen.mapper.version[:12]}")
    if (webhook := settings.connections[name].webhook) is not None:
        yield _webhook(name, webhook, source(settings.connections[name].source).webhooks)
    reader = None
    try:
        reader = chosen.open_reader(utc_now)
        yield from reader.check()
    except Fault as fault:
        yield of_fault("connection", fault)
    finally:
        if reader is not None:
            reader.close()


def _webhook(name: str, webhook: Webhook, declared: Webhooks) -> Finding:
    """Which address to paste at the source. A segment of it is a secret: where it stands is said, never what it is."""
    try:
        segments_of(webhook)
    except (SettingsError, ValueError) as error:
        return Finding("webhook address", False, str(error), "misconfigured")
    kept = " or ".join(
        f"the file {one.file}" if one.file else f"the variable {one.env}" for one in webhook.path_segments
    )
    address = f"https://YOUR-HOST/webhooks/{name}"
    where = f"{address}/SEGMENT, where SEGMENT is what {kept} holds" if kept else address
    without = ", ".join(webhook.without_effect(declared))
    ignored = f"; of its settings, {without} can go: nothing is decided by it here" if without else ""
    return Finding("webhook address", True, f"the source sends its deliveries to {where}{ignored}")


def _ledger(settings: Settings) -> Finding:
    ledger = open_remote(settings)
    try:
        return Finding("ledger", True, ledger.check())
    except LedgerRefused as fault:
        return Finding("ledger", False, str(fault), "refused")
    except LedgerFault as fault:
        return Finding("ledger", False, str(fault), "unavailable")
    finally:
        ledger.close()
