"""Checkpoint: see how far a connection has been read, and have it read from its beginning."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from edge.cli.operator import operator
from edge.cli.options import As, Config, ConnectionName, Json, Quiet
from edge.cli.terminal import Terminal
from edge.words import moment

group = typer.Typer(no_args_is_help=True, help="How far a connection has been read.")

_WIDTHS = {"STREAM": 10, "RUN": 8, "MOVED": 23, "CURSOR": 0}


@group.command()
def show(
    ctx: typer.Context, connection: ConnectionName, as_json: Json = False, config: Config = None, quiet: Quiet = False
) -> None:
    """The committed cursor of each stream: the pulls', and that of a sweep or reconcile under way."""
    terminal = Terminal.of(ctx, as_json, config, quiet)
    from pipeline.checkpoint import show_checkpoints

    with terminal.app() as opened:
        found = show_checkpoints(opened, connection)
    if terminal.json:
        terminal.document({"connection": connection, "checkpoints": found})
        return
    rows = ([one["stream"], one["run"], moment(one["moved_at"]), json.dumps(one["cursor"])] for one in found)
    if not terminal.table(_WIDTHS, rows):
        terminal.note(f"{connection} was not read yet: its next pull reads everything")


@group.command()
def reset(
    ctx: typer.Context,
    connection: ConnectionName,
    why: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for whoever asks later.")],
    who: As = None,
    as_json: Json = False,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Have the next pull read everything; deals that have not changed make no event.

    Ends with 7 while the connection is read.
    """
    terminal = Terminal.of(ctx, as_json, config, quiet)
    person = operator(who, why, must_say_why=True)
    from pipeline.checkpoint import reset_checkpoint

    with terminal.app() as opened:
        had_begun = reset_checkpoint(opened, connection, person)
    if terminal.json:
        terminal.document({"connection": connection, "reset": had_begun})
    elif not terminal.quiet:
        terminal.line(f"{connection}: {'the next pull reads everything' if had_begun else 'was not read yet'}")
