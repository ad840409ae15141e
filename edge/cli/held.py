"""Held: look at the events of a run that deleted too much, then release or discard them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, Json, Limit, OfConnection, Quiet, Why
from edge.cli.terminal import Terminal
from edge.words import moment

group = typer.Typer(no_args_is_help=True, help="Change sets that need a person.")

Number = Annotated[int, typer.Argument(metavar="ID", min=1, help="A change set by its id.")]

_WIDTHS = {"ID": 6, "CONNECTION": 16, "RUN": 6, "EVENTS": 8, "SINCE": 23, "WHY": 0}
_EVENTS = {"DEAL": 34, "REV": 4, "EVENT": 13, "STAGE": 16, "AMOUNT": 14}


@group.command("list")
def list_(
    ctx: typer.Context,
    connection: OfConnection = None,
    limit: Limit = None,
    after: Annotated[int, typer.Option(metavar="ID", min=0, help="Begin behind this change set.")] = 0,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """The change sets that wait, and why."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.held import list_held

    with terminal.app() as opened:
        found = list_held(opened, connection=connection, limit=limit, after=after)
    if terminal.json:
        terminal.document({"held": found})
    elif not terminal.table(_WIDTHS, map(_row, found)):
        terminal.note("nothing is held")


@group.command()
def show(
    ctx: typer.Context, number: Number, as_json: Json = False, config: Config = None, quiet: Quiet = False
) -> None:
    """One change set with the events it holds."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.held import show_held

    with terminal.app() as opened:
        found = show_held(opened, number)
        one = next(found)
        if terminal.json:
            terminal.stream("waiting", found, of=one)
            return
        terminal.fields(one)
        terminal.table(_EVENTS, map(_event, found))


@group.command()
def release(
    ctx: typer.Context,
    number: Number,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Let the events go to the ledger with the next publish."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.held import release_held

    with terminal.app() as opened:
        count = release_held(opened, number, operator(who, why))
    if terminal.json:
        terminal.document({"released": count})
    elif not terminal.quiet:
        terminal.line(f"{count:,} events released; `dealsync publish` sends them")


@group.command()
def discard(
    ctx: typer.Context,
    number: Number,
    why: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks later.")],
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Never send the events; the deals stay as the ledger has them until a read shows them anew."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    person = operator(who, why, must_say_why=True)
    from pipeline.held import discard_held

    with terminal.app() as opened:
        summary = discard_held(opened, number, person)
    if terminal.json:
        terminal.document({"discarded": summary.applied, "let_go": summary.unchanged, "put_back": summary.events})
    elif not terminal.quiet:
        terminal.line(f"{summary.applied:,} events discarded, {summary.events:,} deals put back")
    if summary.unchanged:
        terminal.note(f"{summary.unchanged:,} events may have reached the ledger before they were held: they are sent")


def _row(one: dict[str, Any]) -> list[object]:
    return [one["id"], one["connection"], one["run"], f"{one['events']:,}", moment(one["since"]), one["reason"]]


def _event(one: dict[str, Any]) -> list[object]:
    state = one["state"]
    return [one["external_id"], one["revision"], one["event_type"], state["stage"], state["amount_cents"]]
