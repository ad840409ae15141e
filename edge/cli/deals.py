"""Deals: what we hold of each deal, and why it has the values it has."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge.cli.options import Config, ExternalId, Json, Limit, OfConnection, Quiet
from edge.cli.terminal import Terminal
from edge.words import moment, money, shown

group = typer.Typer(no_args_is_help=True, help="The deals as we know them.")
app = typer.Typer()

_WIDTHS = {"DEAL": 36, "REV": 4, "STAGE": 16, "AMOUNT": 20, "CLOSE": 10, "OWNER": 24}


@group.command("list")
def list_(
    ctx: typer.Context,
    connection: OfConnection = None,
    limit: Limit = None,
    after: Annotated[str | None, typer.Option(metavar="CONNECTION:ID", help="Begin behind this deal.")] = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Every deal with its latest state."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.browse import list_deals

    with terminal.app() as opened:
        found = list_deals(opened, connection=connection, limit=limit, after=after)
        if terminal.json:
            terminal.stream("deals", found)
            return
        currency = opened.settings.ledger.currency
        if not terminal.table(_WIDTHS, (_row(deal, currency) for deal in found)):
            terminal.note("there are no deals; `dealsync pull CONNECTION` reads them")


@group.command()
def show(
    ctx: typer.Context, external_id: ExternalId, as_json: Json = False, config: Config = None, quiet: Quiet = False
) -> None:
    """One deal with its history."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.browse import show_deal

    with terminal.app() as opened:
        deal = show_deal(opened, external_id)
        currency = opened.settings.ledger.currency
    if terminal.json:
        terminal.document(deal)
        return
    terminal.line(f"{deal['external_id']}, revision {deal['revision']}{', deleted' if deal['deleted'] else ''}")
    for name, value in deal["state"].items():
        terminal.line(f"  {name.ljust(24)} {_value(name, value, currency)}")
    for event in deal["history"]:
        terminal.line(
            f"  revision {event['revision']}: {event['event_type']} because of {event['cause']}, "
            f"{moment(event['recorded_at'])}, {_receipt(event['receipt'], event['domain_event_id'])}"
        )


@app.command()
def explain(
    ctx: typer.Context, external_id: ExternalId, as_json: Json = False, config: Config = None, quiet: Quiet = False
) -> None:
    """Say why each field of a deal has its value.

    Each is followed from the source's own bytes to the ledger's receipt.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.explain import explain as verb

    with terminal.app() as opened:
        explained = verb(opened, external_id)
        currency = opened.settings.ledger.currency
    if terminal.json:
        terminal.document(explained)
    else:
        tell(terminal, explained, currency)


def tell(terminal: Terminal, explained: dict[str, Any], currency: str) -> None:
    """Print an explanation for a person."""
    terminal.line(f"{explained['external_id']}, revision {explained['revision']}")
    for name, field in explained["fields"].items():
        terminal.line(f"  {name.ljust(20)} {_value(name, field['value'], currency)}")
        if field["from"] or field["rule"]:
            source = f"{field['from']} = {shown(field['raw'])}: " if field["from"] else ""
            terminal.line(f"  {' ' * 20}   {source}{field['rule']}")
        since, mapping = moment(field["observed_at"]), field["mapping_version"][:12]
        terminal.line(f"  {' ' * 20}   since {since}, {field['cause']}, mapping {mapping}")
    event, receipt = explained["event"], explained["receipt"]
    terminal.line(f"  event {event['event_type']}, key {event['dedup_key']}")
    for flag in event["flags"]:
        terminal.line(f"  flagged {flag}")
    terminal.line(f"  ledger: {_receipt(receipt.get('outcome'), receipt.get('domain_event_id'))}")


def _row(deal: dict[str, Any], currency: str) -> list[object]:
    state = deal["state"]
    amount = money(state["amount_cents"], currency)
    stage = "(deleted)" if deal["deleted"] else state["stage"]
    return [deal["external_id"], deal["revision"], stage, amount, state["close_date"], state["owner_external_id"]]


def _value(name: str, value: Any, currency: str) -> str:
    if name == "amount_cents" and (value is None or isinstance(value, int)):
        return money(value, currency)
    return "-" if value is None else shown(value)


def _receipt(outcome: str | None, domain_event_id: str | None) -> str:
    return "not sent yet" if outcome is None else f"{outcome.replace('_', ' ')} as {domain_event_id}"
