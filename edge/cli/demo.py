"""Demo: the main job on simulated CRMs, told step by step, and proven at the end."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.cli import parked
from edge.cli.options import Config, Json, Quiet
from edge.cli.terminal import Terminal
from edge.exits import DONE, INTEGRITY

if TYPE_CHECKING:
    from pipeline.demo import Report
    from pipeline.summary import Summary

app = typer.Typer()

_STANDARD = ("amount_cents", "stage", "close_date", "owner_external_id")


@app.command()
def demo(
    ctx: typer.Context,
    deals: Annotated[
        int, typer.Option("--deals", metavar="N", min=10, max=100_000, help="How many deals each CRM has.")
    ] = 60,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="The same seed tells the same story.")] = 1,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Show the main job on a simulated CRM of every source, and prove it.

    It pulls, publishes, lets the CRMs change, pulls again, is told of more by webhook, and proves that nothing was
    lost or doubled.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from edge.asgi import Served
    from pipeline.demo import run

    def say(step: str, summary: Summary | None) -> None:
        if terminal.json or terminal.quiet:
            return
        terminal.line(f"  {step}")
        if summary is not None:
            terminal.line(f"      {_told(summary)}")

    with tempfile.TemporaryDirectory(prefix="dealsync-demo-") as folder:
        report = run(Path(folder), say, Served, deals=deals, seed=seed)
    if terminal.json:
        terminal.document({"proven": report.proven, **asdict(report)})
    else:
        _show(terminal, report)
    raise typer.Exit(DONE if report.proven else INTEGRITY)


def _told(summary: Summary) -> str:
    from edge.words import counts, events

    if summary.connection is None:
        return f"{summary.published:,} in the ledger"
    return f"{counts(summary)}; {events(summary)}"


def _explain(terminal: Terminal, report: Report) -> None:
    """Where the four standard fields of one deal come from, and each of its events."""
    from edge.words import money, shown

    explained = report.explained
    terminal.line(f"{explained['external_id']}, revision {explained['revision']}")
    for name in _STANDARD:
        field = explained["fields"][name]
        value = money(field["value"], "USD") if name == "amount_cents" else shown(field["value"])
        terminal.line(f"  {name.ljust(20)} {value}")
        terminal.line(f"  {' ' * 20}   {field['from']} = {shown(field['raw'])}: {field['rule']}")
    terminal.line(f"  and {len(explained['fields']) - len(_STANDARD)} custom fields, each explained likewise")
    for event in report.history:
        amount = money(event["state"]["amount_cents"], "USD")
        receipt = f"{(event['receipt'] or 'not sent').replace('_', ' ')} as {event['domain_event_id']}"
        terminal.line(f"  event {event['revision']}: {event['event_type'].ljust(14)} {amount.rjust(12)}  {receipt}")


def _show(terminal: Terminal, report: Report) -> None:
    from edge.words import money

    events = ", ".join(f"{number:,} {kind}" for kind, number in sorted(report.events.items()))
    terminal.line()
    terminal.line(f"The ledger holds {report.deals:,} deals, {report.deleted:,} of them deleted, made by: {events}")
    terminal.line()
    terminal.line("Money by stage")
    for stage, currency, count, cents in report.money:
        terminal.line(f"  {stage.ljust(24)} {count:6,} deals {money(cents, currency).rjust(24)}")
    terminal.line()
    terminal.line("Parked, because a person must look" if report.parked else "Nothing is parked")
    for entry in report.parked:
        terminal.line(f"  {entry['source_id']} {entry['reason']}: {parked.why(entry)}")
    terminal.line()
    terminal.line("Why one deal is paid on what it is")
    _explain(terminal, report)
    terminal.line()
    terminal.line("The proof")
    for check in report.proof:
        terminal.line(f"  {'ok  ' if check.ok else 'FAIL'} {check.name}: {check.message}")
    terminal.line()
    terminal.line(
        "Proven: nothing lost, nothing doubled." if report.proven else "NOT PROVEN: see the lines marked FAIL."
    )
