"""Acme's check: what a person setting up a connection wants to know."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.acme.lists import Lists
from connectors.faults import Denied, Fault, Refused
from connectors.findings import of_clocks, of_fault, of_spoiled
from connectors.source import Finding


def findings(lists: Lists) -> Iterator[Finding]:
    """Try the address, the credentials, the right to read, the first page and the clocks."""
    host = lists.transport.host
    try:
        page = lists.changes(0)
    except Refused as fault:
        yield Finding("address", True, f"{host} answers")
        yield Finding("rights" if isinstance(fault, Denied) else "credentials", False, str(fault), "refused")
        return
    except Fault as fault:
        yield of_fault("address", fault)
        return
    yield Finding("address", True, f"{host} answers")
    yield Finding("credentials", True, "the token is accepted")
    yield Finding("rights", True, f"may read {page.count:,} deals; compare that with what the app says")
    yield of_spoiled(page.rows) or Finding("first page", True, f"{len(page.rows.keys)} rows read")
    yield of_clocks("Acme", page.answer.requested_at, page.answer.source_time)
