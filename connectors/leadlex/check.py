"""LeadLex's check: what a person setting up a connection wants to know, each as one finding with its advice."""

from __future__ import annotations

from collections.abc import Iterator

from connectors.faults import Denied, Fault, Refused
from connectors.findings import of_clocks, of_fault, of_spoiled
from connectors.leadlex.lists import Listed, Lists
from connectors.leadlex.whole import left_out
from connectors.single_reads import SingleReads
from connectors.source import Finding


def findings(lists: Lists) -> Iterator[Finding]:
    """Try the address, the key, the right to read, the first page, the clocks, the rights to options, the webhooks.

    It ends at the first finding that leaves nothing to try further, and costs six requests at most.
    """
    try:
        first = lists.page({}, 1)
    except Fault as fault:
        yield from _failed(lists, fault)
        return
    yield Finding("address", True, f"{lists.transport.host} answers")
    yield Finding("credentials", True, "the key is accepted")
    yield Finding("rights", True, "may read deals")
    yield _quota(lists)
    yield _shape(first)
    try:
        yield from _left_out(lists, first)
    except Fault as fault:
        yield of_fault("whole rows", fault)
    untold = "so the newest updated_date stands in for it"
    yield of_clocks("LeadLex", first.requested_at, first.source_time, untold=untold)
    try:
        if lists.options.use_audit_log:
            yield _audit_log(lists, first)
        yield _webhooks(lists)
    except Fault as fault:
        yield of_fault("webhooks", fault)


def _failed(lists: Lists, fault: Fault) -> Iterator[Finding]:
    if not isinstance(fault, Refused):
        yield of_fault("address", fault)
        return
    yield Finding("address", True, f"{lists.transport.host} answers")
    if isinstance(fault, Denied):
        yield Finding("credentials", True, "the key is accepted")
        yield Finding("rights", False, str(fault), "refused")
    else:
        yield Finding("credentials", False, str(fault), "refused")


def _quota(lists: Lists) -> Finding:
    options, quota = lists.options, lists.quota
    hours = options.least_interval().total_seconds() / 3600
    pace = f"pulls by schedule are at least {hours:.1f} h apart"
    if quota.limit is None:
        return Finding("quota", True, f"LeadLex does not say how many requests are left; plan {options.plan}: {pace}")
    if quota.limit != options.booked:
        advice = f"set the option plan to what is booked, or requests_per_day; it says {options.plan}"
        return Finding("quota", False, f"the workspace has {quota.limit:,} requests a day; {advice}", "misconfigured")
    return Finding("quota", True, f"{quota.left:,} of {quota.limit:,} requests are left today; {pace}")


def _shape(first: Listed) -> Finding:
    rows = first.rows
    if spoiled := of_spoiled(rows):
        return spoiled
    if not rows.keys:
        return Finding("first page", True, "no deals yet; an empty list never deletes anything")
    if first.meta.total is None:
        message = "the list does not say how many deals it has, so no sweep can witness that one is gone"
        return Finding("first page", False, message, "unintelligible")
    undated = sum(created is None for created in first.created)
    told = f", {undated} of them without a usable created_date" if undated else ""
    return Finding("first page", True, f"{len(rows.keys)} of {first.meta.total:,} deals read{told}")


def _left_out(lists: Lists, first: Listed) -> Iterator[Finding]:
    """Which of the mapping's keys the list leaves out, and what that costs or loses."""
    if not lists.claimed or not first.rows.records:
        return
    found = left_out(SingleReads(lists.one), lists.claimed, first.rows.records)
    if not found:
        yield Finding("whole rows", True, "the list shows every key that the mapping asks for")
        return
    keys = ", ".join(sorted(found))
    if not lists.options.get_one_fallback:
        message = f"the list leaves out {keys}, and get_one_fallback is off: deals go without, by whatever road"
        yield Finding("whole rows", True, message)
        return
    total, day = first.meta.total or len(first.rows.keys), max(1, lists.options.day)
    days = -(-total // day)
    lasts = f", so it takes about {days:,} days, and what it has read lands meanwhile" if days > 1 else ""
    message = (
        f"the list leaves out {keys}, so each deal costs a request once and whenever it changes: about {total:,} for "
        f"the first pull, of {day:,} a day{lasts}. To go without, take these keys out of a table of your own, or set "
        "get_one_fallback = false"
    )
    yield Finding("whole rows", True, message)


def _audit_log(lists: Lists, first: Listed) -> Finding:
    if lists.deletions(first.requested_at, 1) is None:
        message = "the audit log takes an admin key; give one, or switch use_audit_log off"
        return Finding("audit log", False, message, "misconfigured")
    return Finding("audit log", True, "deletions can be read from the audit log")


def _webhooks(lists: Lists) -> Finding:
    hooks = lists.webhooks()
    if hooks is None:
        return Finding("webhooks", True, "the key may not see webhooks, so nobody notices when one is switched off")
    silent = [hook for hook in hooks if hook.get("active") is False]
    if silent:
        message = f"{len(silent)} of {len(hooks)} webhooks are switched off; switch them on again in LeadLex"
        return Finding("webhooks", False, message, "misconfigured")
    return Finding("webhooks", True, f"{len(hooks)} webhooks, none of them switched off")
