"""Planhat's check: what a person setting up a connection wants to know, each as one finding with its advice."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.faults import Fault, Refused
from connectors.findings import of_clocks, of_fault, of_spoiled
from connectors.paging import Fetched
from connectors.planhat.cursor import Kind
from connectors.planhat.lists import KINDS, Lists, Probe
from connectors.source import Finding

_FIRST_PAGE = 100


def findings(lists: Lists) -> Iterator[Finding]:
    """Try the address, the credentials, the rights, the model, a first page, the order and the clocks, in this order.

    It ends at the first finding that leaves nothing to try further.
    """
    wanted = KINDS if lists.options.revenue_model == "auto" else (lists.options.revenue_model,)
    probes: dict[Kind, Probe] = {}
    try:
        for kind in wanted:
            probes[kind] = lists.probe(kind, accept=frozenset({403, 404}))
    except Fault as fault:
        yield from _failed(lists, fault)
        return
    answer = next(iter(probes.values())).answer
    yield Finding("address", True, f"{lists.transport.host} answers, in {answer.took_ms:.0f} ms")
    yield Finding("credentials", True, "the token is accepted")
    yield from _rights(probes)
    yield of_clocks("Planhat", answer.requested_at, answer.source_time)
    if any(probe.answer.status == 200 for probe in probes.values()):
        filled = [kind for kind, probe in probes.items() if probe.has_rows]
        yield _model(filled, probes)
        if filled:
            yield from _first_page(lists, filled[0], probes[filled[0]])


def _failed(lists: Lists, fault: Fault) -> Iterator[Finding]:
    if isinstance(fault, Refused):
        yield Finding("address", True, f"{lists.transport.host} answers")
        yield Finding("credentials", False, str(fault), "refused")
    else:
        yield of_fault("address", fault)


def _rights(probes: dict[Kind, Probe]) -> Iterator[Finding]:
    read = [kind for kind, probe in probes.items() if probe.answer.status == 200]
    if read:
        yield Finding("rights", True, f"may read {' and '.join(read)}")
        return
    refused = [kind for kind, probe in probes.items() if probe.answer.status == 403]
    if refused:
        advice = "give its Private App the read permission in Planhat"
        yield Finding("rights", False, f"the token may not read {' or '.join(refused)}; {advice}", "refused")
    else:
        missing = " nor ".join(probes)
        yield Finding(
            "rights", False, f"the tenant has no {missing}; check base_url and revenue_model", "unintelligible"
        )


def _model(filled: list[Kind], probes: dict[Kind, Probe]) -> Finding:
    if not filled:
        return Finding("model", True, f"no rows yet in {' or '.join(probes)}; an empty list never deletes anything")
    if len(filled) > 1:
        advice = "set the option revenue_model so that sweeps can tell what is gone"
        return Finding("model", False, f"deals and opportunities both have rows; {advice}", "misconfigured")
    return Finding("model", True, f"the tenant keeps its pipeline in {filled[0]}")


def _first_page(lists: Lists, kind: Kind, probe: Probe) -> Iterator[Finding]:
    try:
        fetched = lists.page(kind, "_id", 0, _FIRST_PAGE)
    except Fault as fault:
        yield of_fault("first page", fault)
        return
    yield _shape(lists, kind, fetched)
    versions = [record.version for record in probe.rows.records if record.version is not None]
    if versions == sorted(versions, reverse=True):
        yield Finding("order", True, "sort=-updatedAt is kept, so a pull reads only what changed")
    else:
        yield Finding("order", True, "sort=-updatedAt is not kept, so each pull reads everything")


def _shape(lists: Lists, kind: Kind, fetched: Fetched) -> Finding:
    rows = fetched.rows
    if spoiled := of_spoiled(rows):
        return spoiled
    unversioned = sum(record.version is None for record in rows.records)
    told = f", {unversioned} of them without a usable updatedAt" if unversioned else ""
    asked = len(lists.claimed(kind))
    return Finding("first page", True, f"{len(rows.keys)} rows of {kind} read{told}; {asked} fields asked for")
