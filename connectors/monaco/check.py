"""Monaco's check: what a person setting up a connection wants to know, each as one finding with its advice."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import msgspec

from connectors.faults import Denied, Fault, Refused
from connectors.findings import of_clocks, of_fault, of_spoiled
from connectors.monaco.lists import KIND, Listed, Lists, Which
from connectors.monaco.schema import Schema
from connectors.source import Absent, Finding, Record
from connectors.whole_rows import said_by
from deals.money import AmountUnit, currency_code, exponent, minor_units

_FIRST_PAGE = 100


class _Value(msgspec.Struct):
    amount: int | Decimal | None = None
    currency_code: str | None = None


class _Deal(msgspec.Struct):
    name: str | None = None
    estimated_value: _Value | None = None


_deal = msgspec.json.Decoder(_Deal, float_hook=Decimal)


def findings(lists: Lists) -> Iterator[Finding]:
    """Try the address, the credentials, the rights, the clocks, a first page, one amount, how changes are read, the
    stages and single reads, in this order. It ends at the first finding that leaves nothing to try further."""
    try:
        listed = lists.page(Which(), 1, min(_FIRST_PAGE, lists.options.page_size))
    except Fault as fault:
        yield from _failed(lists, fault)
        return
    yield _reached(lists, f", in {listed.answer.took_ms:.0f} ms")
    yield Finding("credentials", True, "the key is accepted")
    yield Finding("rights", True, f"may read {listed.total} opportunities; only an admin's key is sure to see all")
    yield of_clocks("Monaco", listed.answer.requested_at, listed.answer.source_time)
    yield _first_page(listed)
    yield _amount(lists, listed)
    try:
        schema = lists.schema(KIND)
        yield _changes(lists, schema, listed)
        yield _stages(lists, schema or Schema())
        if listed.rows.records:
            yield _single(lists, max(listed.rows.records, key=_fullness))
    except Fault as fault:
        yield of_fault("schema", fault)


def _reached(lists: Lists, how: str = "") -> Finding:
    return Finding("address", True, f"{lists.transport.host} answers{how}")


def _failed(lists: Lists, fault: Fault) -> Iterator[Finding]:
    if not isinstance(fault, Refused):
        yield of_fault("address", fault)
        return
    yield _reached(lists)
    yield Finding("rights" if isinstance(fault, Denied) else "credentials", False, str(fault), "refused")


def _first_page(listed: Listed) -> Finding:
    rows = listed.rows
    if spoiled := of_spoiled(rows):
        return spoiled
    undated = sum(record.version is None for record in rows.records)
    told = f", {undated} of them without a usable updated_at" if undated else ""
    return Finding("first page", True, f"{len(rows.keys)} rows read{told}")


def _amount(lists: Lists, listed: Listed) -> Finding:
    """One amount as it would be read, for a person to compare with what Monaco's own page shows."""
    for record in listed.rows.records:
        try:
            deal = _deal.decode(record.raw)
        except msgspec.DecodeError:
            continue
        value = deal.estimated_value
        if value is None or not value.amount:
            continue
        meant = _meant(Decimal(value.amount), value.currency_code, lists.options.amount_unit)
        message = f"{(deal.name or record.source_id)[:80]!r} has {value.amount}, read as {meant}; compare with Monaco"
        return Finding("amount", True, f"{message}, and correct amount_unit before anything is published")
    return Finding("amount", True, "no opportunity with an amount was seen, so amount_unit cannot be confirmed yet")


def _meant(amount: Decimal, currency: str | None, unit: AmountUnit) -> str:
    try:
        code = currency_code(currency or "")
        units = Decimal(minor_units(amount, code, unit).units).scaleb(-exponent(code))
    except ValueError:
        return f"{unit} units of {(currency or 'no currency_code')[:20]}"
    return f"{code} {units:,f}"


def _changes(lists: Lists, schema: Schema | None, listed: Listed) -> Finding:
    wanted = lists.options.incremental
    if schema is None:
        ok = wanted in ("auto", "scan")
        message = "the schema cannot be read, so each pull reads everything and custom fields go by their keys"
        return Finding("changes", ok, message, None if ok else "misconfigured")
    bound, sorts = schema.lower_bound("updated_at"), schema.sorts("updated_at")
    ways = {"filter": bool(bound), "sort": sorts, "scan": True}
    if wanted != "auto" and not ways[wanted]:
        message = f"incremental is {wanted!r}, but Monaco does not {wanted} by updated_at; set it to 'auto'"
        return Finding("changes", False, message, "misconfigured")
    way = next(way for way in ways if ways[way]) if wanted == "auto" else wanted
    if way != "scan" and any("updated_at" not in said_by(record.raw) for record in listed.rows.records):
        return Finding("changes", True, "rows without updated_at were seen, so each pull reads everything")
    meaning = {
        "filter": f"a pull filters on updated_at ({bound})",
        "sort": "a pull walks sort=-updated_at",
        "scan": "each pull reads everything",
    }
    return Finding("changes", True, meaning[way])


def _stages(lists: Lists, schema: Schema) -> Finding:
    options, stages = lists.options, schema.words("stage")
    if not stages:
        return Finding("stages", True, "the schema lists no stages; see that won_stages and lost_stages are right")
    unknown = [stage for stage in (*options.won_stages, *options.lost_stages) if stage not in stages]
    if unknown:
        known = ", ".join(stages)[:300]
        message = f"{unknown[0]!r} is no stage here; correct won_stages or lost_stages. Known are {known}"
        return Finding("stages", False, message, "misconfigured")
    opened = [stage for stage in stages if stage not in (*options.won_stages, *options.lost_stages)]
    message = f"won: {', '.join(options.won_stages)}; lost: {', '.join(options.lost_stages)}"
    message = f"{message}; the mapping has to name every other one: {', '.join(opened) or 'there is none'}"
    return Finding("stages", True, message[:1000])


def _fullness(row: Record) -> tuple[bool, int]:
    """A closed opportunity has the most to show: an open one lacks what the published single read leaves out."""
    keys = said_by(row.raw)
    return "actual_close_date" in keys, len(keys)


def _single(lists: Lists, row: Record) -> Finding:
    answer = lists.one(row.source_id)
    if isinstance(answer, Absent):
        message = f"the list shows an opportunity that a single read answers {answer.answer}; is it being deleted?"
        return Finding("single reads", answer.proof, message, None if answer.proof else "refused")
    if thinner := sorted(said_by(row.raw) - said_by(answer.record.raw)):
        message = f"a single read leaves out {', '.join(thinner)[:200]}, so the list is asked for each as well"
        return Finding("single reads", True, message)
    return Finding("single reads", True, "a single read shows as much as the list")
