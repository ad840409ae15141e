"""Incidents: look at what the ledger answered that is no retry of ours, and acknowledge it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, Json, Limit, Quiet
from edge.cli.terminal import Terminal
from edge.words import moment

group = typer.Typer(no_args_is_help=True, help="Answers of the ledger that need a person.")

Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="An incident by its id.")]

_WIDTHS = {"ID": 6, "RUN": 6, "EVENTS": 8, "LATEST": 23, "DEAL": 34, "STATE": 13, "WHAT": 0}
_EVENTS = {"CONNECTION": 16, "DEAL": 34, "REV": 4, "HELD AS": 36, "SETTLED": 23}


@group.command("list")
def list_(
    ctx: typer.Context,
    acknowledged: Annotated[bool, typer.Option("--all", help="Also those that were acknowledged.")] = False,
    limit: Limit = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this incident.")] = 0,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """The incidents that nobody has acknowledged."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.incidents import list_incidents

    with terminal.app() as opened:
        found = list_incidents(opened, acknowledged=acknowledged, limit=limit, after=after)
    if terminal.json:
        terminal.document({"incidents": found})
    elif not terminal.table(_WIDTHS, map(_row, found)):
        terminal.note("there are no incidents")


@group.command()
def show(
    ctx: typer.Context, number: Number, as_json: Json = False, config: Config = None, quiet: Quiet = False
) -> None:
    """One incident with its events, and what the ledger holds for each."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.incidents import show_incident

    with terminal.app() as opened:
        found = show_incident(opened, number)
        one = next(found)
        if terminal.json:
            terminal.stream("met", found, of=one)
            return
        terminal.fields(one)
        terminal.table(_EVENTS, map(_event, found))


@group.command()
def acknowledge(
    ctx: typer.Context,
    number: Number,
    why: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What was found, for whoever asks later.")],
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Say that store and ledger were compared: the incident is closed, and monitors are quiet again."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    person = operator(who, why, must_say_why=True)
    from pipeline.incidents import acknowledge_incident

    with terminal.app() as opened:
        count = acknowledge_incident(opened, number, person)
    if terminal.json:
        terminal.document({"acknowledged": count})
    elif not terminal.quiet:
        terminal.line(f"incident {number} with {count:,} events is acknowledged")


def _row(one: dict[str, Any]) -> list[object]:
    deal = f"{one['connection']}:{one['source_id']}"
    return [one["id"], one["run"], f"{one['events']:,}", moment(one["latest"]), deal, one["state"], one["meaning"]]


def _event(one: dict[str, Any]) -> list[object]:
    return [one["connection"], one["source_id"], one["revision"], one["domain_event_id"], moment(one["settled_at"])]
