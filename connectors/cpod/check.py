"""cPod's check: what a person setting up a connection wants to know, each as one finding with its advice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from connectors.cpod.cursor import Place, Scan, State
from connectors.cpod.lists import DEALS, Lists, Sheet, TurnedDown
from connectors.cpod.visibility import bound, counted, doubts
from connectors.faults import Denied, Fault, Refused
from connectors.findings import of_clocks, of_fault, of_spoiled
from connectors.source import Finding, Record
from connectors.times import iso, shifted
from connectors.transport import Answer, Ask

WEBHOOKS = "/api/v1/integration/webhooks"

_BOTH = {"include_deleted": "true", "includeDeleted": "true"}


class _Stamped(msgspec.Struct):
    updated_at: str | None = None
    value: msgspec.Raw = msgspec.Raw(b"null")
    currency: str | None = None


class _Webhook(msgspec.Struct):
    name: str | None = None
    enabled: bool = True
    paused_at: str | None = None
    consecutive_failures: int = 0


def findings(lists: Lists) -> Iterator[Finding]:
    """Try the address, the credentials, the rights, the clocks, the shape of pages and cPod's traps, in this order.

    It ends at the first finding that leaves nothing to try further.
    """
    host = lists.transport.host
    try:
        claims = lists.tokens.claims()
        sheet = lists.page(_path(lists), {}, None, Place())
    except TurnedDown as no:
        message = f"the list answered {no.status} to the plainest of requests; check crm_path and page_size"
        yield Finding("address", False, message, "unintelligible")
        return
    except Refused as fault:
        yield Finding("address", True, f"{host} answers")
        yield Finding("rights" if isinstance(fault, Denied) else "credentials", False, str(fault), "refused")
        return
    except Fault as fault:
        yield of_fault("address", fault)
        return
    yield Finding("address", True, f"{host} answers, in {sheet.took_ms:.0f} ms")
    yield Finding("credentials", True, "the token is accepted")
    yield Finding("rights", True, "may read deals")
    yield of_clocks("cPod", sheet.requested_at, sheet.source_time)
    yield _envelope(sheet)
    yield _first_page(sheet)
    if sheet.rows.records:
        yield _amounts(lists, sheet.rows.records)
    for tried in (_deleted, _changed_since):
        try:
            yield from tried(lists, sheet)
        except Fault as fault:
            yield of_fault(tried.__name__.strip("_").replace("_", " "), fault)
    yield _visibility(lists, claims, sheet)
    yield from _webhooks(lists)


def _path(lists: Lists) -> str:
    return f"{lists.options.crm_path}/{DEALS}"


def _envelope(sheet: Sheet) -> Finding:
    shape = sheet.shape
    paging = {"cursor": "pages follow a cursor", "page": "pages are numbered", None: "one page holds everything"}
    return Finding("envelope", True, f"rows lie under {shape.rows}, {paging[shape.style]} (envelope {shape.word})")


def _first_page(sheet: Sheet) -> Finding:
    rows = sheet.rows
    if spoiled := of_spoiled(rows):
        return spoiled
    if not rows.keys:
        message = "no deals can be seen; an empty list never deletes anything. Does the app show any?"
        return Finding("first page", True, message)
    unversioned = sum(record.version is None for record in rows.records)
    told = f", {unversioned} of them without a usable version" if unversioned else ""
    total = "" if sheet.total is None else f" of {sheet.total:,} in all"
    return Finding("first page", True, f"{len(rows.keys)} deals read{total}{told}; compare the total with the app")


def _amounts(lists: Lists, records: list[Record]) -> Finding:
    """The unit is stated nowhere (section 9), so a person is shown what an amount will be read as."""
    unit = lists.options.amount_unit
    for record in records:
        said = _stamped(record)
        value = bytes(said.value).decode("utf-8", "replace").strip()[:40]
        if value != "null":
            if value.startswith('"'):
                message = f"amounts come as text ({value}), which is parked: the contract has numbers"
                return Finding("amounts", False, message, "unintelligible")
            message = f"value {value} {said.currency or '(no currency)'} is read in {unit} units; amount_unit decides"
            return Finding("amounts", True, message)
    return Finding("amounts", True, f"no deal has a value yet; they will be read in {unit} units")


def _deleted(lists: Lists, plain: Sheet) -> Iterator[Finding]:
    """Whether deleted rows can be asked for: only one that was seen proves it."""
    named = lists.options.include_deleted_param
    params = _BOTH if named == "auto" else {named: "true"} if named else {}
    if not params:
        yield Finding("deleted rows", True, "not asked for; deletes are found by sweeps and single reads")
        return
    try:
        sheet = lists.page(_path(lists), params, None, Place())
    except TurnedDown as no:
        message = f"{' and '.join(params)} is answered {no.status}; each name is tried by itself when deals are read"
        yield Finding("deleted rows", named == "auto", message, None if named == "auto" else "misconfigured")
        return
    shown = sum(record.deleted for record in sheet.rows.records)
    more = (sheet.total or 0) - (plain.total or 0)
    if shown and shown == len(sheet.rows.records) and plain.rows.records:
        yield Finding("deleted rows", True, "the parameter shows deleted deals only, so it is not used")
    elif shown or more > 0:
        yield Finding("deleted rows", True, f"shown ({max(shown, more):,} seen), so a delete is found by the next pull")
    else:
        advice = "until one is, deletes are found by two sweeps and a single read as well"
        yield Finding("deleted rows", True, f"none was seen, so the parameter is not proven; {advice}")


def _changed_since(lists: Lists, plain: Sheet) -> Iterator[Finding]:
    """Whether the changed-since parameter narrows, and does not narrow too much."""
    name = lists.options.since
    if name is None:
        yield Finding("changed since", True, "changed_since_param is off, so each pull reads everything")
        return
    stamps = sorted(filter(None, (_stamped(record).updated_at for record in plain.rows.records)))
    if not stamps:
        yield Finding("changed since", True, f"{name} cannot be tried yet: no deal was seen")
        return
    newest = iso(datetime.fromisoformat(stamps[-1].replace("Z", "+00:00")))
    try:
        near = lists.page(_path(lists), {name: shifted(newest, -timedelta(seconds=1))}, None, Place())
        none = lists.page(_path(lists), {name: shifted(newest, timedelta(days=3660))}, None, Place())
    except TurnedDown as no:
        message = f"{name} is answered {no.status}; unset changed_since_param"
        yield Finding("changed since", False, message, "misconfigured")
        return
    if none.rows.keys:
        message = f"{name} is ignored: deals older than what was asked for came; unset changed_since_param"
        yield Finding("changed since", False, message, "misconfigured")
    elif not near.rows.keys:
        message = f"{name} hides deals that have changed since; unset changed_since_param"
        yield Finding("changed since", False, message, "misconfigured")
    else:
        yield Finding("changed since", True, f"{name} is kept, so a pull reads only what changed")


def _visibility(lists: Lists, claims: Any, sheet: Sheet) -> Finding:
    """The trap of section 2: an application's client, or one that lists only its own records."""
    scan = counted(Scan(sheet.requested_at, whole=True), sheet.rows.records, stamped=False)
    found = doubts(claims, State(), scan)
    if not found:
        return Finding("visibility", True, "nothing speaks for hidden deals")
    if lists.options.own_records_ok:
        return Finding("visibility", True, "own_records_ok is set: what the list shows is taken for everything")
    return Finding("visibility", False, "; ".join(found), "refused" if bound(claims) else "misconfigured")


def _webhooks(lists: Lists) -> Iterator[Finding]:
    """A webhook pauses itself after failures, and stays silent until somebody notices (section 13)."""

    def read(answer: Answer) -> list[_Webhook] | None:
        if answer.status != 200:
            return None
        try:
            return msgspec.json.decode(answer.body, type=dict[Literal["data"], list[_Webhook]])["data"]
        except (msgspec.DecodeError, KeyError):
            return None

    try:
        hooks = lists.tokens.ask(Ask(path=WEBHOOKS, accept=frozenset({400, 403, 404, 405, 422})), read)
    except Fault:
        hooks = None
    if hooks is None:
        yield Finding("webhooks", True, "cannot be looked at with these rights; a paused one is noticed by nobody else")
    for hook in hooks or ():
        if hook.paused_at is not None or not hook.enabled:
            message = f"{(hook.name or 'a webhook')[:60]} is silent after {hook.consecutive_failures} failures in a row"
            yield Finding("webhooks", False, f"{message}; enable it again in cPod", "misconfigured")


def _stamped(record: Record) -> _Stamped:
    try:
        return msgspec.json.decode(record.raw, type=_Stamped)
    except (msgspec.DecodeError, RecursionError):
        return _Stamped()
