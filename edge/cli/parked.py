"""Parked: look at what is held back, send it on, or put it aside for good."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, Json, Limit, OfConnection, Quiet, Why
from edge.cli.terminal import Terminal
from edge.exits import DONE, PARKED, USAGE, Failed
from edge.words import moment, summary_line

group = typer.Typer(no_args_is_help=True, help="Records and events that need a person.")

Numbers = Annotated[list[int], typer.Argument(metavar="ID", min=1, help="Entries by their ids.")]

_WIDTHS = {"ID": 6, "CONNECTION": 16, "DEAL": 26, "REASON": 18, "SINCE": 23, "WHY": 0}


@group.command("list")
def list_(
    ctx: typer.Context,
    connection: OfConnection = None,
    limit: Limit = None,
    after: Annotated[int | None, typer.Option(metavar="ID", min=0, help="Begin behind this entry.")] = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """What is parked, and why."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.redrive import list_parked

    with terminal.app() as opened:
        found = list_parked(opened, connection=connection, limit=limit, after=after)
        if terminal.json:
            terminal.stream("parked", found)
        elif not terminal.table(_WIDTHS, map(row, found)):
            terminal.note("nothing is parked")


@group.command()
def show(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="ID", min=1)],
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """One entry with the bytes it was parked with."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.redrive import show_parked

    with terminal.app() as opened:
        entry = show_parked(opened, number)
    if terminal.json:
        terminal.document(entry)
        return
    terminal.fields(entry, whole=("raw",))


@group.command()
def retry(
    ctx: typer.Context,
    numbers: Annotated[list[int] | None, typer.Argument(metavar="ID", min=1, help="Entries by their ids.")] = None,
    connection: OfConnection = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is parked.")] = False,
    code: Annotated[
        str | None,
        typer.Option(
            "--code", metavar="REASON", help="Parked for this reason (UNKNOWN_STAGE ...).", show_default=False
        ),
    ] = None,
    field: Annotated[
        str | None, typer.Option("--field", metavar="FIELD", help="Parked for this field.", show_default=False)
    ] = None,
    why: Why = None,
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Try entries again: records under today's mapping, refused events with the next publish."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    filtered = connection is not None or code is not None or field is not None
    if sum((bool(numbers), filtered, everything)) != 1:
        raise Failed("say which entries: their ids, or --connection, --code or --field, or --all", USAGE)
    from pipeline.redrive import Which, retry_parked

    with terminal.app() as opened, terminal.progress("parked retry") as progress:
        if connection is not None:
            opened.settings.connection(connection)
        like, person = Which(code, field), operator(who, why)
        summaries = retry_parked(opened, numbers or None, connection, like=like, operator=person, progress=progress)
    if terminal.json:
        terminal.document({"retried": [summary.as_json() for summary in summaries]})
    elif not terminal.quiet:
        for summary in summaries:
            terminal.line(summary_line(f"retry {summary.connection}", summary))
        if not summaries:
            terminal.note("there is nothing to retry: `dealsync parked list` shows what is parked, and why")
    raise typer.Exit(DONE if all(summary.clean for summary in summaries) else PARKED)


@group.command()
def discard(
    ctx: typer.Context,
    numbers: Numbers,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks later.")],
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Put records aside for good; reason and user are kept."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    person = operator(who, reason, must_say_why=True)
    from pipeline.redrive import discard_parked

    with terminal.app() as opened:
        count = discard_parked(opened, numbers, person)
    if terminal.json:
        terminal.document({"discarded": count})
    elif not terminal.quiet:
        terminal.line(f"{count} discarded{'' if count == len(numbers) else '; the others were closed already'}")


def row(entry: dict[str, Any]) -> list[object]:
    """An entry as a line of a table."""
    since = moment(entry["since"])
    return [entry["id"], entry["connection"], entry["source_id"], entry["reason"], since, why(entry)]


def why(entry: dict[str, Any]) -> str:
    """The message of an entry, which begins with its field."""
    field, message = entry["field"], str(entry["message"])
    return message if not field or message.startswith(f"{field}:") else f"{field}: {message}"
